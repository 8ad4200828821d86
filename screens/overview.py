"""The Overview: every stage of a run, what needs a human, and the selected stage in detail."""

from __future__ import annotations

import time
from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widget import Widget

from pipeline.engine.claim import spoken_seconds
from pipeline.engine.digest import Digest
from pipeline.engine.gates import Verdict
from pipeline.engine.snapshot import Disk, Row, RunSnapshot
from pipeline.engine.state import AttemptInfo, StageState, StageStatus
from screens.actions import command_line
from screens.feed import Picture
from screens.frame import Frame
from screens.pane import Line, Pane
from screens.terminal.glyphs import Glyphs
from screens.widgets.columns import Column, Shown
from screens.widgets.table import Table
from screens.widgets.units import spoken_amount, spoken_bytes, spoken_duration, spoken_number

#: Attempts of a stage that the detail lists, newest first.
ATTEMPTS = 5
#: Things that need a human listed at once; `n` walks through all.
NEEDS = 4
_BAR = 9


def _state(state: StageState, glyphs: Glyphs) -> Shown:
    mark = glyphs.state(state)
    return f"{mark.glyph} {mark.letter} {state}", mark.tone


def shown_gate(verdict: Verdict | None, glyphs: Glyphs) -> Shown:
    """A verdict as a cell: glyph, letter and word."""
    if verdict is None:
        return "-", "muted"
    mark = glyphs.verdict(verdict)
    return f"{mark.glyph}{mark.letter} {verdict}", mark.tone


def _progress(value: tuple[float | None, float | None], glyphs: Glyphs) -> Shown:
    done, total = value
    if not total or done is None:
        return f"{spoken_number(done)} done" if done else "-", "muted"
    return f"{glyphs.bar(done / total, _BAR)} {int(min(1.0, done / total) * 100):3}%", "primary"


def _age(seconds: int | None, _glyphs: Glyphs) -> Shown:
    return "-" if seconds is None else (short_age(seconds), "muted")


def short_age(seconds: float) -> str:
    """`12s`, `5m`, `3h`, `2d`: one unit, so that it changes rarely."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(max(0.0, seconds))}s"


def _eta(value: tuple[float | None, float | None, float | None], _glyphs: Glyphs) -> Shown:
    middle, low, high = value
    if middle is None:
        return "-", "muted"
    return f"{spoken_duration(low if low is not None else middle)}..{spoken_duration(high)}", "text"


COLUMNS = (
    Column("stage", "Stage", 10, grows=True),
    Column("state", "State", 14, show=_state),
    Column("gate", "Gate", 11, show=shown_gate),
    Column("progress", "Progress", _BAR + 5, show=_progress),
    Column("eta", "ETA", 13, show=_eta, priority=1),
    Column("age", "Age", 6, right=True, show=_age),
    Column("rate", "Rate", 14, right=True, priority=2),
    Column("attempt", "Try", 3, right=True, priority=3),
    Column("amount", "Done", 20, right=True, priority=4),
    Column("event", "Last event", 18, priority=5),
)


def _seconds_ago(when: float | None) -> int | None:
    """Age in whole seconds below a minute, in whole minutes above: what its display can tell apart."""
    if when is None:
        return None
    age = max(0, int(time.time() - when))
    return age if age < 60 else age // 60 * 60


def row_values(row: Row) -> tuple[Any, ...]:
    """The values of a stage's row, in the order of `COLUMNS`."""
    attempts = row.status.attempts
    amount = None if row.done is None else f"{spoken_number(row.done)}/{spoken_number(row.total)} {row.unit}"
    return (
        row.stage,
        row.status.state,
        row.status.verdict,
        (row.done, row.total),
        (row.eta_s, row.eta_low_s, row.eta_high_s),
        _seconds_ago(row.last_time),
        None if row.rate is None else f"{spoken_amount(row.rate, row.unit)}/s",
        attempts[-1].number if attempts else None,
        amount,
        row.phase or row.last_event or None,
    )


class OverviewScreen(Frame):
    """Key 1."""

    called = "overview"
    DEFAULT_CSS = """
    OverviewScreen #stages { height: auto; max-height: 50vh; }
    OverviewScreen #scroll { height: 1fr; background: $background; }
    OverviewScreen #needs, OverviewScreen #news { margin-top: 0; }
    """

    def body(self) -> ComposeResult:
        """Stages, what needs a human, detail, news."""
        yield Table(COLUMNS, id="stages", empty="no run yet; make one with: xops run new RECIPE")
        yield Pane(id="needs")
        with VerticalScroll(id="scroll", can_focus=False):
            yield Pane(id="detail", fold=True)
        yield Pane(id="news")

    def main(self) -> Widget:
        """The table of stages."""
        return self.query_one("#stages", Table)

    @property
    def stage(self) -> str:
        """Name of the selected stage; empty without one."""
        return self.query_one("#stages", Table).cursor_id or ""

    def choose(self, stage: str) -> None:
        """Put the cursor on a stage."""
        self.query_one("#stages", Table).move_to(stage)

    def show(self, picture: Picture) -> None:
        """Draw the run."""
        snapshot = picture.snapshot
        self.query_one("#news", Pane).show(news_lines(picture))
        if snapshot is None:
            self.query_one("#stages", Table).set_rows([])
            self.query_one("#needs", Pane).show([])
            self.query_one("#detail", Pane).show(empty_lines(picture))
            return
        self._show_rows(snapshot)
        self.query_one("#needs", Pane).show(need_lines(snapshot))
        self._show_detail(snapshot)

    def narrow(self, word: str) -> None:
        """Only stages whose name or state contains the word."""
        wanted = (lambda _, values: word in f"{values[0]} {values[1]} {values[2]}".lower()) if word else None
        self.query_one("#stages", Table).filter(wanted)

    @on(Table.Highlighted)
    def _moved(self) -> None:
        self.console.choose_stage(self.stage)
        if self.console.shown.snapshot is not None:
            self._show_detail(self.console.shown.snapshot)

    @on(Table.Selected)
    def _opened(self) -> None:
        self.console.action_do("explain")

    def _show_rows(self, snapshot: RunSnapshot) -> None:
        table = self.query_one("#stages", Table)
        wanted = [row.stage for row in snapshot.rows]
        if table.total != len(wanted) or any(not _known(table, stage) for stage in wanted):
            table.set_rows((row.stage, row_values(row)) for row in snapshot.rows)
            table.styles.height = len(wanted) + 1
            self.choose(self.console.stage or most_urgent(snapshot))
            self.console.choose_stage(self.stage)
            return
        for row in snapshot.rows:
            table.update_row(row.stage, row_values(row))

    def _show_detail(self, snapshot: RunSnapshot) -> None:
        row = snapshot.row(self.stage)
        self.query_one("#detail", Pane).show(detail_lines(row, snapshot) if row else [])


def most_urgent(snapshot: RunSnapshot) -> str:
    """The stage to look at first: one that needs a human, else one that works, else the first."""
    needs = [need.stage for need in snapshot.needs_human]
    active = [row.stage for row in snapshot.rows if row.status.state.active]
    return next(iter((*needs, *active)), "")


def _known(table: Table, stage: str) -> bool:
    try:
        table.values(stage)
    except KeyError:
        return False
    return True


def empty_lines(picture: Picture) -> list[Line]:
    """What to do where there is nothing to show."""
    if not picture.ready:
        return [[("reading ...", "muted")]]
    if picture.problem:
        return [[(picture.problem, "error")]]
    return [
        [("This workspace has no run yet.", "text bold")],
        [("make one:        ", "muted"), ("xops run new RECIPE", "accent")],
        [("see recipes:     ", "muted"), ("xops spec", "accent")],
        [("try everything:  ", "muted"), ("xops demo", "accent")],
    ]


def need_lines(snapshot: RunSnapshot) -> list[Line]:
    """What only a person can decide."""
    lines: list[Line] = [
        [(f"! {need.stage}: ", "error bold"), (need.sentence, "text")]
        for need in snapshot.needs_human[:NEEDS]
    ]
    more = len(snapshot.needs_human) - NEEDS
    return [*lines, [(f"  and {more} more (n)", "warning")]] if more > 0 else lines


def news_lines(picture: Picture) -> list[Line]:
    """Trouble, news since this user left, and disks."""
    lines: list[Line] = []
    if picture.problem and picture.snapshot is not None:
        lines.append([(picture.problem, "error")])
    said = digest_line(picture.digest)
    if said:
        lines.append([(said, "warning"), ("  (0: journal)", "muted")])
    disks = picture.snapshot.disks if picture.snapshot else ()
    return [*lines, *([_disk(disk)] for disk in disks)]


def digest_line(digest: Digest | None) -> str:
    """`since you left (9 h): ...`; empty if nothing happened."""
    return digest.line(time.time()) if digest else ""


def _disk(disk: Disk) -> tuple[str, str]:
    low = disk.free < 5 * 1024**3
    text = f"disk: {spoken_bytes(disk.free)} free of {spoken_bytes(disk.total)}"
    return (f"{text}, LOW: stages will fail when it is full", "error") if low else (text, "muted")


def detail_lines(row: Row, snapshot: RunSnapshot) -> list[Line]:
    """One stage: why it is so, gate checks, attempts, and the command that goes on."""
    status = row.status
    lines: list[Line] = [[(f"{row.stage}: ", "text bold"), (f"{status.state}", "text")]]
    if status.reason:
        lines[0] = [*lines[0], (f" - {status.reason}", "text")]
    need = next((need for need in snapshot.needs_human if need.stage == row.stage), None)
    if need is not None:
        lines.append([("next: ", "muted"), (command_line(need.argv), "accent")])
    lines += [[(f"stale because {why}", "warning")] for why in status.stale_because]
    if row.phase:
        lines.append([(f"phase {row.phase}", "muted")])
    lines += _gate_lines(status)
    lines += _shard_lines(status)
    lines += [_attempt_line(attempt) for attempt in reversed(status.attempts[-ATTEMPTS:])]
    last = status.attempts[-1] if status.attempts else None
    if last is not None and last.hint and status.state.resumable:
        lines.append([("hint: ", "muted"), (last.hint, "accent")])
    if not status.attempts and status.needs:
        lines.append([(f"needs {', '.join(status.needs)}", "muted")])
    return lines


def _gate_lines(status: StageStatus) -> list[Line]:
    gates = [part.gate for part in status.shards or (status,) if part.gate is not None]
    words = {True: ("pass", "success"), False: ("FAIL", "error"), None: ("sign", "warning")}
    lines: list[Line] = []
    for gate in gates:
        for check in gate.checks:
            word, tone = words[check.ok]
            lines.append([(f"gate {word} ", tone), (f"{check.name}: {check.detail}", "text")])
        for made in gate.decisions:
            old = "" if made.digest == gate.digest else " (about older evidence)"
            lines.append([(f"gate {made.kind} by {made.who}: {made.why}{old}", "muted")])
    return lines


def _shard_lines(status: StageStatus) -> list[Line]:
    return [[(f"shard {part.shard}: {part.state} {part.reason}", "muted")] for part in status.shards]


def _attempt_line(attempt: AttemptInfo) -> Line:
    started = (
        "" if attempt.started is None else time.strftime(" %m-%d %H:%M", time.localtime(attempt.started))
    )
    took = ""
    if attempt.started is not None and attempt.ended is not None:
        took = f" {spoken_seconds(attempt.ended - attempt.started)}"
    tone = {"done": "success", "failed": "error"}.get(attempt.outcome, "muted")
    outcome = attempt.outcome or "no end recorded"
    told = f" {attempt.message}" if attempt.message else ""
    return [(f"attempt {attempt.number}{started}{took} ", "muted"), (outcome, tone), (told, "text")]
