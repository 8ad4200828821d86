"""The Runs screen: every run of the workspace with what its stages are doing."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widget import Widget

from pipeline.engine.state import StageState
from screens.feed import Picture, RunLine
from screens.frame import Frame
from screens.pane import Pane
from screens.terminal.glyphs import Glyphs
from screens.widgets.columns import Column, Shown
from screens.widgets.table import Table


def _rail(states: tuple[StageState, ...], glyphs: Glyphs) -> Shown:
    """One letter per stage, in order."""
    return "".join(glyphs.state(state).letter for state in states) or "-"


def _needs(count: int, _glyphs: Glyphs) -> Shown:
    return (f"! {count}", "error bold") if count else ("-", "muted")


def _when(created: float | None, _glyphs: Glyphs) -> Shown:
    return "-" if created is None else time.strftime("%m-%d %H:%M", time.localtime(created))


COLUMNS = (
    Column("run", "Run", 28, grows=True),
    Column("rail", "Stages", 14, show=_rail),
    Column("word", "State", 10),
    Column("needs", "Human", 5, show=_needs),
    Column("kind", "Kind", 8, priority=1),
    Column("created", "Created", 11, show=_when, priority=2),
    Column("recipe", "Recipe", 12, priority=3),
)

#: Which state stands for a run: the first of these that a stage has.
_FIRST = (
    *(StageState.ORPHANED, StageState.STALLED, StageState.FAILED, StageState.LOST, StageState.CANCELLING),
    *(StageState.RUNNING, StageState.QUEUED, StageState.CANCELLED, StageState.STALE, StageState.READY),
    StageState.BLOCKED,
)


def run_values(run: RunLine) -> tuple[Any, ...]:
    """The values of a run's row, in the order of `COLUMNS`."""
    return (run.run_id, run.states, run_word(run), run.needs_human, run.kind or None, run.created, run.recipe)


def run_word(run: RunLine) -> str:
    """One word for a run."""
    if run.problem:
        return "unreadable"
    return next((str(state) for state in _FIRST if state in run.states), "done" if run.states else "-")


class RunsScreen(Frame):
    """Key 9."""

    called = "runs"
    DEFAULT_CSS = "RunsScreen #runs { height: 1fr; }"

    BINDINGS: ClassVar[list[Any]] = [Binding("escape", "app.do('overview')", show=False)]

    def __init__(self) -> None:
        super().__init__()
        self._ids: set[str] = set()

    def body(self) -> ComposeResult:
        """The runs, and what is wrong with the one under the cursor."""
        yield Table(COLUMNS, id="runs", empty="no run yet; make one with: xops run new RECIPE")
        yield Pane(id="problem", fold=True)

    def main(self) -> Widget:
        """The table of runs."""
        return self.query_one("#runs", Table)

    def show(self, picture: Picture) -> None:
        """Draw the list; only rows that changed."""
        table = self.query_one("#runs", Table)
        rows = {run.run_id: run_values(run) for run in picture.runs}
        if set(rows) != self._ids or table.total != len(rows):
            self._ids = set(rows)
            table.set_rows(rows.items())
        else:
            for run_id, values in rows.items():
                table.update_row(run_id, values)
        self._tell(picture)

    def narrow(self, word: str) -> None:
        """Only runs with the word in id, state, kind or recipe."""
        wanted = (lambda _, values: word in " ".join(map(str, values)).lower()) if word else None
        self.query_one("#runs", Table).filter(wanted)

    @on(Table.Highlighted)
    def _moved(self) -> None:
        self._tell(self.console.shown)

    @on(Table.Selected)
    def _opened(self, event: Table.Selected) -> None:
        run = next((run for run in self.console.shown.runs if run.run_id == event.row_id), None)
        if run is not None and run.problem:
            self.console.say(run.problem, "error")
        else:
            self.console.open_run(event.row_id)

    def _tell(self, picture: Picture) -> None:
        run_id = self.query_one("#runs", Table).cursor_id
        run = next((run for run in picture.runs if run.run_id == run_id), None)
        problem = run.problem if run else ""
        self.query_one("#problem", Pane).show([[(problem, "error")]] if problem else [])
