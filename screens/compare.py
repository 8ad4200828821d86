"""The Compare screen: this run against another one, metric by metric, with what changed and where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.worker import Worker

from pipeline.compare.compare import Comparison, MetricDelta, compare
from pipeline.compare.evidence import of_run
from pipeline.engine.errors import XopsError
from pipeline.engine.paths import WorkspacePaths
from screens.feed import Picture, WorkspaceFeed
from screens.frame import Frame
from screens.pane import Line, Pane

#: Resamples of the intervals on the screen; the command line takes more.
_RESAMPLES = 300

_TONES = {"better": "success bold", "worse": "error bold", "tie": "muted", "unknown": "muted"}
_NAME = 26
_SHOWN = 12


class CompareScreen(Frame):
    """Key 7."""

    called = "compare"
    DEFAULT_CSS = "CompareScreen #all { height: 1fr; scrollbar-size: 0 0; }"
    BINDINGS: ClassVar[list[Any]] = [
        Binding("escape", "app.do('overview')", show=False),
        Binding("left_square_bracket", "other(-1)", "Older run", show=False),
        Binding("right_square_bracket", "other(1)", "Newer run", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._others: tuple[str, ...] = ()
        self._other = ""
        self._of: tuple[str, str] = ("", "")
        self._found: Comparison | None = None
        self._problem = ""
        self._work: Worker[None] | None = None

    def body(self) -> ComposeResult:
        """Which two, then everything found."""
        yield Pane(id="headline", fold=True)
        with VerticalScroll(id="all"):
            yield Pane(id="found")

    def main(self) -> Widget:
        """The part that scrolls."""
        return self.query_one("#all", VerticalScroll)

    def narrow(self, word: str) -> None:
        """There are no rows to narrow."""

    def show(self, picture: Picture) -> None:
        """Compare the run that is shown with the other one, once."""
        run_id = picture.snapshot.run_id if picture.snapshot else ""
        if isinstance(self.console.feed, WorkspaceFeed) and self.is_current:
            self._others = _evaluated(self.console.feed.workspace, picture, run_id)
            if self._other not in self._others:
                self._other = self._others[0] if self._others else ""
            if run_id and self._other and (self._other, run_id) != self._of:
                self._of = self._other, run_id
                self._found, self._problem = None, ""
                self._work = self.run_worker(self._compare, thread=True, exclusive=True)
        self._draw(run_id)

    def action_other(self, step: int) -> None:
        """Take another run to compare with."""
        if len(self._others) > 1:
            at = self._others.index(self._other)
            self._other = self._others[(at - step) % len(self._others)]
            self.show(self.console.shown)

    def _compare(self) -> None:
        feed = self.console.feed
        if not isinstance(feed, WorkspaceFeed):
            return
        one, other = self._of
        try:
            sides = [of_run(feed.workspace.run(name)) for name in (one, other)]
            found: Comparison | None = compare(*sides, common=True, resamples=_RESAMPLES)
            problem = ""
        except XopsError as error:
            found, problem = None, f"{error} - {error.hint}" if error.hint else str(error)
        if (one, other) == self._of:
            self._found, self._problem = found, problem
            self.app.call_from_thread(self._draw, other)

    def _draw(self, run_id: str) -> None:
        self.query_one("#headline", Pane).show(self._headline(run_id))
        self.query_one("#found", Pane).show(found_lines(self._found, self.size.width) if self._found else [])

    def _headline(self, run_id: str) -> list[Line]:
        if not isinstance(self.console.feed, WorkspaceFeed):
            return [[("evaluations of foreign logs: xops compare A B", "muted")]]
        if not self._other:
            return [[("no other run of this workspace is evaluated yet", "text bold")]]
        pieces = [("A ", "muted"), (self._other, "text bold"), ("   B ", "muted"), (run_id, "text bold")]
        pieces.append((f"   [ ] another A ({len(self._others)})", "muted"))
        lines: list[Line] = [pieces]
        if self._problem:
            lines.append([(self._problem, "error bold")])
        elif self._found is None:
            lines.append([("comparing ...", "muted")])
        return lines


def found_lines(found: Comparison, width: int) -> list[Line]:
    """Everything, metrics first."""
    lines: list[Line] = [_coverage(found)]
    if not found.results:
        lines.append([("NOT RESULTS: a smoke or overfit run is among them", "error bold")])
    lines += [[], *_metric_lines(found.metrics, width), []]
    lines += _setting_lines(found)
    lines += _flip_lines(found)
    lines += _slice_lines(found)
    return lines


def _coverage(found: Comparison) -> Line:
    told = f"{found.rows} common rows of {found.rows_a} and {found.rows_b}, {found.episodes} episodes"
    partial = found.rows < found.rows_a or found.rows < found.rows_b
    return [(told, "warning" if partial else "text")]


def _metric_lines(metrics: Sequence[MetricDelta], width: int) -> list[Line]:
    wide = width >= 100
    head = f"{'metric':<{_NAME}} {'A':>7} {'B':>7} {'B - A':>8}  verdict"
    lines: list[Line] = [[(head + ("  95 % by episode     without looking" if wide else ""), "muted")]]
    for one in metrics:
        values = f"{one.name:<{_NAME}} {_number(one.a):>7} {_number(one.b):>7} {_signed(one.delta):>8}  "
        line: Line = [(values, "text"), (f"{one.verdict:<7}", _TONES[one.verdict])]
        if wide:
            interval = f"{_signed(one.low)} to {_signed(one.high)}" if one.low is not None else ""
            line = [*line, (f"  {interval:<20} {_number(one.baseline)}", "muted")]
        lines.append(line)
    return lines


def _setting_lines(found: Comparison) -> list[Line]:
    if not found.settings:
        return [[("no recorded setting differs", "muted")], []]
    lines: list[Line] = [[("settings that differ", "muted")]]
    for name, (one, other) in found.settings.items():
        lines.append([(f"  {name:<{_NAME}} ", "muted"), (f"{one} -> {other}", "text")])
    return [*lines, []]


def _flip_lines(found: Comparison) -> list[Line]:
    fields = dict.fromkeys((*found.gained, *found.lost))
    counts = ", ".join(f"{f} +{found.gained.get(f, 0)} -{found.lost.get(f, 0)}" for f in fields)
    lines: list[Line] = [[("rows that flipped  ", "muted"), (counts or "none", "text")]]
    for flip in found.flips[:_SHOWN]:
        tone = "success" if flip.b == flip.true else "error"
        told = f"{flip.field}: {flip.true!r}: A said {flip.a!r}, B {flip.b!r}"
        lines.append([(f"  {flip.id}  ", "muted"), (told, tone)])
    return [*lines, []]


def _slice_lines(found: Comparison) -> list[Line]:
    moved = sorted((s for s in found.slices if s.a != s.b), key=lambda s: -abs(s.b - s.a) * s.rows)
    lines: list[Line] = [[("where the action changed most", "muted")]]
    for one in moved[:_SHOWN]:
        told = f"{one.a:.3f} -> {one.b:.3f} of {one.rows} rows"
        lines.append(
            [(f"  {one.by:<14} {one.name:<40} ", "muted"), (told, "success" if one.b > one.a else "error")]
        )
    return lines if moved else []


def _evaluated(workspace: WorkspacePaths, picture: Picture, shown: str) -> tuple[str, ...]:
    """Other runs that have a merged evaluation, newest first."""
    names = [run.run_id for run in picture.runs if run.run_id != shown]
    return tuple(
        name for name in names if (workspace.run(name).stage("merge").out / "metrics.json").is_file()
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.4f}"
