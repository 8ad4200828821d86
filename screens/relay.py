"""The Relay screen: batches on two lanes, rates, disks, what holds it up, what a stop would cost."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.worker import Worker

from pipeline.engine.snapshot import RunSnapshot
from pipeline.transfer.follow import RelayLog
from pipeline.transfer.view import RelayFold
from screens import relay_lines
from screens.feed import Picture
from screens.frame import Frame
from screens.pane import Pane

#: Stages whose logs tell of batches and chunks.
STAGES = ("relay", "transfer", "download")
TROUBLES = 6


def relay_log(snapshot: RunSnapshot | None, stage: str) -> Path | None:
    """The log to show: the selected stage's if it moves files, else the first that does."""
    rows = [row for row in (snapshot.rows if snapshot else ()) if row.stage in STAGES and row.logs]
    chosen = next((row for row in rows if row.stage == stage), rows[0] if rows else None)
    logs = [Path(log) for log in chosen.logs] if chosen else []
    return next((log for log in logs if log.name.startswith("progress")), logs[0] if logs else None)


class RelayFrame(Frame):
    """What the Relay and the Transfer screen share: they follow the same log in a thread."""

    BINDINGS: ClassVar[list[Any]] = [Binding("escape", "app.do('overview')", show=False)]

    def __init__(self) -> None:
        super().__init__()
        self._log: RelayLog | None = None
        self._reading: Worker[None] | None = None

    @property
    def fold(self) -> RelayFold:
        """What the log says."""
        return self._log.fold if self._log else RelayFold()

    def on_mount(self) -> None:
        """Follow four times a second; ages move once a second."""
        super().on_mount()
        self.set_interval(0.25, self._look)
        self.set_interval(1.0, self._draw_current)

    def show(self, picture: Picture) -> None:
        """Follow the run that the operator looks at now."""
        path = relay_log(picture.snapshot, self.console.stage)
        if path != (self._log.path if self._log else None):
            self._log = RelayLog(path) if path else None
            self._look()
        self._draw()

    def draw(self) -> None:
        """Draw what is known."""
        raise NotImplementedError

    def narrow(self, word: str) -> None:
        """Nothing to narrow, unless a screen has rows."""

    def _draw_current(self) -> None:
        if self.is_current and not self.console.paused:
            self._draw()

    def _draw(self) -> None:
        """Draw while nobody changes what is drawn."""
        with self._log.lock if self._log else nullcontext():
            self.draw()

    def _look(self) -> None:
        """Read on in a thread, unless the last look still goes on."""
        busy = self._reading and not self._reading.is_finished
        if self._log and self.is_current and not busy and not self.console.paused:
            self._reading = self.run_worker(self._read, thread=True)

    def _read(self) -> None:
        log = self._log
        if log is not None and log.read():
            self.app.call_from_thread(self._draw_current)


class RelayScreen(RelayFrame):
    """Key 2."""

    called = "relay"
    DEFAULT_CSS = """
    RelayScreen VerticalScroll { height: 1fr; scrollbar-size: 0 0; }
    RelayScreen Pane { margin-bottom: 1; }
    """

    def body(self) -> ComposeResult:
        """Headline, rates, disks, batches, troubles."""
        yield Pane(id="headline")
        with VerticalScroll(id="all"):
            yield Pane(id="rates")
            yield Pane(id="disks")
            yield Pane(id="batches")
            yield Pane(id="troubles")

    def main(self) -> Widget:
        """The part that scrolls."""
        return self.query_one("#all", VerticalScroll)

    def draw(self) -> None:
        """Draw what is known."""
        fold, now = self.fold, time.time()
        width, glyphs = self.size.width, self.console.glyphs
        shown = {
            "headline": relay_lines.headline(fold, now),
            "rates": relay_lines.rate_lines(fold, width, glyphs) if fold.plan else [],
            "disks": relay_lines.disk_lines(fold, width, glyphs) if fold.plan else [],
            "batches": relay_lines.batch_lines(fold, width, now, glyphs),
            "troubles": relay_lines.trouble_lines(fold, TROUBLES, now),
        }
        for name, lines in shown.items():
            self.query_one(f"#{name}", Pane).show(lines)
