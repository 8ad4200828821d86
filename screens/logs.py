"""The Log screen: events of the run or stage, what operators did, and what the stage printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.widget import Widget
from textual.worker import Worker

from pipeline.engine.journal import read_journal
from pipeline.engine.snapshot import RunSnapshot
from pipeline.engine.textlog import read_end
from screens.feed import Picture, WorkspaceFeed
from screens.frame import Frame
from screens.logtail import LogTail, journal_piece
from screens.pane import Pane
from screens.widgets.journal_log import JournalLog
from screens.widgets.lines import Piece

#: What tab goes through.
KINDS = ("events", "journal", "output")

#: Last lines shown of what a stage printed.
OUTPUT_LINES = 500


class LogScreen(Frame):
    """Keys 0 and l."""

    called = "log"
    DEFAULT_CSS = "LogScreen #log { height: 1fr; }"
    BINDINGS: ClassVar[list[Any]] = [
        Binding("tab", "kind(1)", "Events, journal, output", show=False, priority=True),
        Binding("shift+tab", "kind(-1)", show=False, priority=True),
        Binding("a", "whole_run", "Stage or whole run", show=False),
        Binding("escape", "app.do('overview')", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._kind = 0
        self._all = False
        self._of: tuple[object, ...] = ()
        self._tail = LogTail(())
        self._seen: list[Piece] = []
        self._reading: Worker[None] | None = None

    def body(self) -> ComposeResult:
        """A line that says what is shown, and the lines."""
        yield Pane(id="what")
        yield JournalLog(id="log", empty="nothing was written yet")

    def main(self) -> Widget:
        """The lines."""
        return self.query_one("#log", JournalLog)

    def on_mount(self) -> None:
        """Follow four times a second."""
        super().on_mount()
        self.set_interval(0.25, self._read)

    def narrow(self, word: str) -> None:
        """Only lines with the word."""
        self.query_one("#log", JournalLog).filter((lambda text: word in text.lower()) if word else None)

    def action_kind(self, step: int) -> None:
        """Show the next kind of lines."""
        self._kind = (self._kind + step) % len(KINDS)
        self.show(self.console.shown)

    def action_whole_run(self) -> None:
        """Events of the whole run, or of the selected stage only."""
        self._all = not self._all
        self.show(self.console.shown)

    def show(self, picture: Picture) -> None:
        """Follow what the operator looks at now."""
        snapshot = picture.snapshot
        stage = "" if self._all else self.console.stage
        rows = [row for row in (snapshot.rows if snapshot else ()) if stage in ("", row.stage)]
        number = rows[0].status.attempts[-1].number if len(rows) == 1 and rows[0].status.attempts else 0
        logs = tuple((Path(log), row.stage) for row in rows for log in row.logs)
        of = (snapshot.run_id if snapshot else "", stage, KINDS[self._kind], logs, number)
        self._describe(snapshot, stage)
        if of == self._of:
            return
        self._of = of
        self._tail, self._seen = LogTail(logs), []
        self.query_one("#log", JournalLog).clear()
        self._read()

    def _describe(self, snapshot: RunSnapshot | None, stage: str) -> None:
        pieces: list[Piece] = []
        for index, kind in enumerate(KINDS):
            pieces.append(
                (
                    f"[{kind}] " if index == self._kind else f" {kind}  ",
                    "accent" if index == self._kind else "muted",
                )
            )
        what = stage or "the whole run"
        pieces.append((f" of {what}  (tab: next, a: stage/run, f: follow, /: filter)", "muted"))
        self.query_one("#what", Pane).show([pieces] if snapshot else [[("no run is selected", "muted")]])

    def _read(self) -> None:
        """Start one look in a thread, unless the last one still goes on."""
        if self.console.paused or not self.is_current or (self._reading and not self._reading.is_finished):
            return
        self._reading = self.run_worker(self._look, thread=True)

    def _look(self) -> None:
        of = self._of
        if not of or not of[0]:
            return
        run_id, stage, kind, _, number = of
        if kind == "events":
            lines = self._tail.read()
        else:
            every = (
                self._journal(str(run_id))
                if kind == "journal"
                else self._output(str(run_id), str(stage), number)
            )
            same = every[: len(self._seen)] == self._seen
            lines = every[len(self._seen) :] if same else every
            if not same:
                self.app.call_from_thread(self._restart, of)
            self._seen = every
        if lines:
            self.app.call_from_thread(self._add, of, lines)

    def _restart(self, of: tuple[object, ...]) -> None:
        if of == self._of:
            self.query_one("#log", JournalLog).clear()

    def _add(self, of: tuple[object, ...], lines: list[Piece]) -> None:
        if of == self._of:
            self.query_one("#log", JournalLog).append(lines)

    def _journal(self, run_id: str) -> list[Piece]:
        feed = self.console.feed
        if not isinstance(feed, WorkspaceFeed):
            return [("foreign logs have no journal of operators", "muted")]
        return [journal_piece(line) for line in read_journal(feed.workspace.run(run_id))]

    def _output(self, run_id: str, stage: str, number: object) -> list[Piece]:
        feed = self.console.feed
        if not isinstance(feed, WorkspaceFeed) or not stage:
            return [("choose one stage of a run of ours to see what it printed", "muted")]
        paths = feed.workspace.run(run_id).stage(stage)
        if not isinstance(number, int) or not number:
            return [(f"{stage} has no attempt yet", "muted")]
        shards = paths.list_shards() or [paths]
        pieces: list[Piece] = []
        for part in shards:
            attempts = part.list_attempts()
            end = read_end(attempts[-1].stdout, OUTPUT_LINES) if attempts else None
            if end is not None and end.problem:
                pieces.append((f"{end.path}: {end.problem}", "error"))
            pieces += [(line, "text") for line in (end.lines if end else ())]
        return pieces
