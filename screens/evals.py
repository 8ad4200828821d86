"""The Eval screen: a lane per shard, live quality beside what no look would score, newest bad answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.widget import Widget

from pipeline.engine.snapshot import Row
from pipeline.engine.state import StageState
from pipeline.views.evals import EvalFold
from screens.dialogs import ReadDialog
from screens.following import FollowingFrame
from screens.pane import Line, Pane
from screens.widgets.bars import Bar, Bars
from screens.widgets.units import spoken_duration, spoken_number

#: Invalid answers and errors that are shown.
_SHOWN = 5

#: Bytes of a prediction file's end that hold its last row.
_TAIL = 1 << 20

#: Seconds without an event after which a running shard's silence is worth a word.
_QUIET_S = 20.0


class EvalScreen(FollowingFrame[EvalFold]):
    """Key 5."""

    called = "eval"
    stages = ("eval", "eval_smoke")
    DEFAULT_CSS = """
    EvalScreen #all { height: 1fr; scrollbar-size: 0 0; }
    EvalScreen Bars { margin-bottom: 1; }
    EvalScreen #quality { margin-bottom: 1; }
    """

    BINDINGS: ClassVar[list[Any]] = [Binding("o", "sample", "One sample", show=False)]

    def __init__(self) -> None:
        super().__init__(EvalFold)

    def body(self) -> ComposeResult:
        """Headline, lanes, quality, bad answers."""
        yield Pane(id="headline")
        with VerticalScroll(id="all"):
            yield Bars(id="lanes", empty="no shard has begun")
            yield Pane(id="quality", fold=True)
            yield Pane(id="bad", fold=True)

    def main(self) -> Widget:
        """The part that scrolls."""
        return self.query_one("#all", VerticalScroll)

    def action_sample(self) -> None:
        """Show the newest answer of each shard beside the truth."""
        lines = [line for log in self._logs for line in sample_lines(newest_row(log.path))]
        told = lines or [[("no answer is written yet", "muted")]]
        self.app.push_screen(ReadDialog("Newest answers, true and said", told))

    def draw(self, folds: Sequence[EvalFold]) -> None:
        """Draw what is known."""
        begun = [(place, fold) for place, fold in enumerate(folds) if fold.last is not None]
        self.query_one("#headline", Pane).show(headline([fold for _, fold in begun], self.row))
        self.query_one("#lanes", Bars).show([_lane(place, fold, self.row) for place, fold in begun])
        known = [fold for _, fold in begun]
        self.query_one("#quality", Pane).show(quality_lines(known, self.row, time.time()))
        self.query_one("#bad", Pane).show(bad_lines(known))


def headline(folds: Sequence[EvalFold], row: Row | None) -> list[Line]:
    """How many rows are answered, and when all will be."""
    if not folds:
        why = row.status.reason if row else "this run does not evaluate"
        return [[("no evaluation has begun", "text bold"), (f"  {why}", "muted")]]
    done, total = sum(fold.done for fold in folds), _total(folds)
    rates = [fold.rate for fold in folds if fold.rate and not fold.ended]
    pieces: list[tuple[str, str]] = [(f"{done} of {total} rows answered", "text bold")]
    if rates and done < total:
        left = spoken_duration((total - done) / sum(rates))
        pieces.append((f"  all of them in about {left}", "accent"))
    absorbed = sum(fold.absorbed for fold in folds)
    if absorbed:
        pieces.append((f"  {absorbed} taken over from other shards", "warning"))
    identities = {fold.identity for fold in folds if fold.identity}
    if len(identities) > 1:
        pieces.append((f"  {len(identities)} different models: they cannot be merged", "error bold"))
    return [pieces]


def quality_lines(folds: Sequence[EvalFold], row: Row | None, now: float) -> list[Line]:
    """What the answers so far are worth, beside the most frequent label alone."""
    rows = sum(fold.told for fold in folds)
    lines: list[Line] = []
    if rows:
        right, valid = sum(f.right for f in folds) / rows, sum(f.valid for f in folds) / rows
        baseline = next((f.baseline for f in folds if f.baseline is not None), None)
        better = baseline is not None and right > baseline
        lines.append(
            [
                ("so far  ", "muted"),
                (f"action {right:.3f}", "success" if better else "warning"),
                (f" (without looking {spoken_number(baseline)})", "muted"),
                (f"  valid JSON {valid:.3f}", "text"),
                (f"  cut at the longest length {sum(f.truncated for f in folds)}", "text"),
                (f"  without an answer {sum(f.errors for f in folds)}", "text"),
                (f"  of {rows} rows of these attempts", "muted"),
            ]
        )
    active = row.status.state.active if row else False
    for fold in folds:
        quiet = now - (fold.last or now)
        if active and not fold.ended and quiet > _QUIET_S:
            told = f"shard {fold.offset}: last event {spoken_duration(quiet)} ago"
            lines.append([(told, "warning bold")])
    return lines


def bad_lines(folds: Sequence[EvalFold]) -> list[Line]:
    """Newest errors and invalid answers."""
    errors = [text for fold in folds for text in fold.troubles][-_SHOWN:]
    invalid = [found for fold in folds for found in fold.invalid][-_SHOWN:]
    lines: list[Line] = [[("error  ", "error bold"), (text, "text")] for text in errors]
    lines += [[("not valid  ", "warning"), (f"{name}: ", "muted"), (text, "text")] for name, text in invalid]
    return lines


def newest_row(log: Path) -> dict[str, Any]:
    """The last whole prediction beside a shard's log; empty where there is none."""
    try:
        with (log.parent / "work" / "predictions.partial.jsonl").open("rb") as stream:
            stream.seek(max(0, stream.seek(0, 2) - _TAIL))
            lines = [line for line in stream.read().split(b"\n")[:-1] if line.strip()]
        row = msgspec.json.decode(lines[-1])
    except (OSError, IndexError, msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return row if isinstance(row, dict) else {}


def sample_lines(row: dict[str, Any]) -> list[Line]:
    """Every field of the truth beside what was said."""
    if not row:
        return []
    true, said = row.get("true_json"), row.get("pred_json")
    true, said = (value if isinstance(value, dict) else {} for value in (true, said))
    told = "" if said else f"  no valid answer: {str(row.get('raw_prediction'))[:200]}"
    lines: list[Line] = [[(str(row.get("id")), "text bold"), (told, "error")]]
    for field, value in true.items():
        same = said.get(field) == value
        lines.append(
            [
                (f"  {field:<16} ", "muted"),
                (f"{value!s:.40}", "text"),
                ("  =  " if same else "  /  ", "muted"),
                (f"{said.get(field, '-')!s:.60}", "success" if same else "error"),
            ]
        )
    return [*lines, []]


def _total(folds: Sequence[EvalFold]) -> int:
    """Rows of all shards: their own shares, or what one that took over says it did."""
    return max(sum(fold.total for fold in folds), sum(fold.done for fold in folds))


def _lane(place: int, fold: EvalFold, row: Row | None) -> Bar:
    shards = row.status.shards if row else ()
    part = shards[place] if place < len(shards) else row.status if row else None
    eta = fold.eta_s
    return Bar(
        key=str(place),
        label=f"shard {fold.offset} of {fold.stride}",
        done=fold.done,
        total=max(fold.total, fold.done),
        unit="rows",
        rate=fold.rate if not fold.ended else None,
        eta=(eta, eta) if eta is not None else None,
        state=part.state if part else StageState.RUNNING,
    )
