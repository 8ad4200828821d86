"""The lines of the Relay screen, made from what a relay's log says. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from pipeline.transfer.view import Batch, Disk, RelayFold
from screens.terminal.glyphs import Glyphs
from screens.widgets.lines import Piece
from screens.widgets.units import spoken_bytes, spoken_duration

Line = list[Piece]

_LIMITS = {
    "hub": "the Hub: the connection to the training host waits for downloads",
    "link": "the connection to the training host",
    "cap": "the bandwidth cap",
    "paused": "a pause",
    "none": "nothing to do",
}
_TONES = {"proved": "success", "failed": "error", "waiting": "muted"}
_STATE_CELLS = 12
#: A forecast beyond a week is no forecast.
_FORECAST_S = 7 * 86400


def headline(fold: RelayFold, now: float) -> list[Line]:
    """What is moved where, how far it is, what holds it up, what a stop would cost."""
    if not fold.plan:
        return [[("the relay has not begun; start it with r on the Overview", "muted")]]
    share = f"{100 * fold.done // fold.total} %" if fold.total else "-"
    lines: list[Line] = [
        [
            (f"{fold.plan.get('relay_root', '?')} -> {fold.plan.get('destination', '?')}", "text bold"),
            (f"  {fold.plan.get('mode', '')}, {fold.plan.get('files', '?')} files", "muted"),
        ],
        [
            (f"proved {spoken_bytes(fold.done)} of {spoken_bytes(fold.total)} ({share})", "text"),
            (f"   ends in {_range(fold.eta())}" if not fold.ended else f"   {fold.ended}", "accent"),
            (f"   {_age(fold, now)}", "muted"),
        ],
    ]
    if not fold.ended:
        lines.append(
            [
                ("held up by: ", "muted"),
                (_LIMITS.get(fold.limit, fold.limit or "not known yet"), "text"),
            ]
        )
        cost = spoken_bytes(fold.cost_of_stopping)
        lines.append([(f"a stop now sends again at most {cost}", "muted")])
    for side, (kind, reason, since) in fold.paused.items():
        lines.append(
            [(f"{side} paused for {spoken_duration(now - since)}: {kind}: {reason}", "warning bold")]
        )
    return lines


def batch_lines(fold: RelayFold, width: int, now: float, glyphs: Glyphs) -> list[Line]:
    """Two lanes per batch over one time axis that ends now."""
    if not fold.batches or fold.began is None:
        return []
    room = max(10, width - 34)
    axis = Axis(fold.began, fold.last if fold.ended and fold.last else now, room)
    lines: list[Line] = [
        [
            (f"{'batch':>5} {'bytes':>9}  {'state':<{_STATE_CELLS}} ", "muted"),
            (f"{_clock(fold.began)}  {_legend(glyphs)}", "muted"),
        ]
    ]
    for batch in fold.batches.values():
        state = batch.state
        tone = _TONES.get(state, "primary")
        head = f"{batch.number:>5} {spoken_bytes(batch.bytes):>9}  {state:<{_STATE_CELLS}} "
        lines.append([(head, tone), *_lane(batch, axis, glyphs)])
    return lines


class Axis(NamedTuple):
    """Time from left to right: Unix seconds at both ends, and cells between them."""

    began: float
    ended: float
    room: int

    def cell(self, when: float) -> int:
        """The cell of a moment."""
        share = (when - self.began) / max(1.0, self.ended - self.began)
        return max(0, min(self.room - 1, int(share * (self.room - 1))))


def _lane(batch: Batch, axis: Axis, glyphs: Glyphs) -> Iterable[Piece]:
    """Both lanes of a batch in one row: `d` while it is downloaded, `t` while transferred, `b` both."""
    cells = [" "] * axis.room
    for letter, first, last in (
        ("d", batch.download_began, batch.download_ended),
        ("t", batch.transfer_began, batch.transfer_ended),
    ):
        if first is not None:
            for cell in range(axis.cell(first), axis.cell(axis.ended if last is None else last) + 1):
                cells[cell] = letter if cells[cell] == " " else "b"
    looks = _looks(glyphs)
    for letter in cells:
        yield looks[letter]


def _looks(glyphs: Glyphs) -> dict[str, Piece]:
    if glyphs.name == "ascii":
        return {"d": ("-", "primary"), "t": ("=", "accent"), "b": ("#", "success"), " ": (" ", "muted")}
    return {"d": ("░", "primary"), "t": ("█", "accent"), "b": ("▓", "success"), " ": (" ", "muted")}


def _legend(glyphs: Glyphs) -> str:
    looks = _looks(glyphs)
    return f"{looks['d'][0]} download  {looks['t'][0]} transfer  {looks['b'][0]} both, up to now"


def disk_lines(fold: RelayFold, width: int, glyphs: Glyphs) -> list[Line]:
    """What is free on both sides, with the water marks and where it is going."""
    lines: list[Line] = []
    for name in ("relay", "destination"):
        disk = fold.disks.get(name)
        if disk is None:
            lines.append([(f"{name:<12} not looked at yet", "muted")])
            continue
        tone = "error bold" if disk.low and disk.free < disk.low else "text"
        marks = (
            f", low mark {spoken_bytes(disk.low)}, goes on at {spoken_bytes(disk.high)}" if disk.low else ""
        )
        own = f", {spoken_bytes(disk.used)} are the relay's" if disk.used is not None else ""
        lines.append(
            [
                (f"{name:<12}", "muted"),
                (f"{spoken_bytes(disk.free)} free", tone),
                (f"{own}{marks}{_forecast(disk)}", "muted"),
            ]
        )
        lines[-1].append((f"  {glyphs.text(disk.path, max(4, width // 3))}", "muted"))
    return lines


def rate_lines(fold: RelayFold, width: int, glyphs: Glyphs) -> list[Line]:
    """Both rates now and lately."""
    room = max(8, width - 34)
    lines: list[Line] = []
    for name, values in (
        ("download", [rate.download for rate in fold.rates]),
        ("transfer", [rate.transfer for rate in fold.rates]),
    ):
        now = values[-1] if values else None
        lines.append(
            [
                (f"{name:<12}", "muted"),
                (f"{spoken_bytes(now) + '/s' if now is not None else '-':>12}  ", "text"),
                (sparkline(values[-room:], glyphs), "primary"),
            ]
        )
    up = sum(lane.since is not None for lane in fold.lanes.values())
    lost = sum(lane.lost for lane in fold.lanes.values())
    cap = int(fold.limits.get("bandwidth") or 0)
    lines.append(
        [
            ("connections ", "muted"),
            (f"{up} up", "text"),
            (f", lost {lost} times" if lost else "", "warning"),
            (f", cap {spoken_bytes(cap)}/s" if cap else "", "muted"),
        ]
    )
    return lines


def trouble_lines(fold: RelayFold, count: int, now: float) -> list[Line]:
    """The newest things that went wrong, the newest first."""
    newest = list(fold.troubles)[-count:][::-1]
    return [
        [(f"{spoken_duration(now - when):>6} ago  ", "muted"), (text, "warning")] for when, text in newest
    ]


def sparkline(values: Sequence[float], glyphs: Glyphs) -> str:
    """Values as columns of one cell, the greatest full."""
    most = max(values, default=0.0)
    levels = glyphs.levels
    if most <= 0:
        return levels[0] * len(values)
    return "".join(levels[min(len(levels) - 1, int(value / most * len(levels)))] for value in values)


def _forecast(disk: Disk) -> str:
    """When the low mark is reached at the pace of the last minutes."""
    if len(disk.history) < 2 or not disk.low:
        return ""
    (first, before), (last, after) = disk.history[0], disk.history[-1]
    falling = (before - after) / max(1.0, last - first)
    if falling <= 0 or disk.free <= disk.low:
        return ""
    seconds = (disk.free - disk.low) / falling
    return f", low mark in {spoken_duration(seconds)}" if seconds < _FORECAST_S else ""


def _range(eta: tuple[float, float] | None) -> str:
    if eta is None:
        return "-"
    low, high = (spoken_duration(seconds) for seconds in eta)
    return low if low == high else f"{low} to {high}"


def _age(fold: RelayFold, now: float) -> str:
    if fold.last is None or fold.ended:
        return ""
    quiet = now - fold.last
    return f"last event {spoken_duration(quiet)} ago" if quiet > 5 else ""


def _clock(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%H:%M:%SZ")
