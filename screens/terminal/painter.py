"""From Textual's pictures to bytes: intended cells go in at any rate, frames go out as the line allows."""

from __future__ import annotations

import asyncio
import time
from itertools import repeat

from rich.cells import cell_len
from textual.strip import Strip

from screens.terminal.display import Colour
from screens.terminal.grid import Cell, Grid
from screens.terminal.pace import QUESTION, Pace
from screens.terminal.private import SYNC_END, SYNC_START, ChopsUpdate, LayoutUpdate, placed_strips
from screens.terminal.sgr import encoder
from screens.terminal.writer import IdleWriter

#: Frames shorter than this arrive in one piece anyway (bytes).
WORTH_A_BATCH = 256


class Painter:
    """Draws on one terminal. All methods but `wake` belong to the event loop's thread.

    Args:
        loop: where frames are made.
        colour: what the terminal may get.

    Attributes:
        pace: link meter: round trip, rate, skipped frames.
        questions: answers the terminal still owes or gave, for the driver to collect.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, colour: Colour) -> None:
        self._loop = loop
        self._sgr = encoder(colour)
        self._grid = Grid(0, 0)
        self._timer: asyncio.TimerHandle | None = None
        self._cursor = (0, 0)
        self._writer: IdleWriter | None = None
        self.pace = Pace()
        self.batches = False
        self.questions = 0
        self.closed = False

    def attach(self, writer: IdleWriter) -> None:
        """Draw through `writer` from now on; whatever was on the screen is gone."""
        self._writer = writer
        self.closed = False
        self._grid.forget()

    def greet(self) -> None:
        """Ask the terminal whether it answers, before there is anything to draw."""
        if self._writer is not None and self.pace.asks:
            self._writer.write(QUESTION)
            self.questions += 1
            self.pace.greeted(time.monotonic())

    def detach(self) -> None:
        """Draw no more: the terminal is being given back."""
        self.closed = True

    def wake(self) -> None:
        """Send what is pending, from any thread; called by the writer when it is idle."""
        if self._grid.pending and not self.closed:
            try:
                self._loop.call_soon_threadsafe(self.flush)
            except RuntimeError:  # the loop ended between the test and the call
                self.closed = True

    def draw(
        self, update: ChopsUpdate | LayoutUpdate, size: tuple[int, int], cursor: tuple[int, int]
    ) -> None:
        """Intend a picture.

        Args:
            update: what changed.
            size: columns and rows of the terminal.
            cursor: column and row of the (hidden) cursor, for input methods.
        """
        if (self._grid.width, self._grid.height) != size:
            self._grid = Grid(*size)
        put = self._grid.put
        for x, y, strip in placed_strips(update):
            put(x, y, self._cells(strip))
        self._cursor = cursor
        self.flush()

    def answered(self) -> None:
        """Note the terminal's answer to a frame."""
        if self.pace.answered(time.monotonic()):
            self.flush()

    def flush(self) -> None:
        """Write a frame if something is pending, the writer idle and the line ready."""
        writer = self._writer
        if self.closed or writer is None or not self._grid.pending:
            return
        if not writer.idle:
            self.pace.skipped += 1
            return
        now = time.monotonic()
        if not self.pace.ready(now):
            self._retry(now)
            return
        if text := self._grid.frame(self.pace.budget()):
            writer.write(self._framed(text, now))

    def _framed(self, text: str, now: float) -> str:
        if self._cursor != (0, 0):
            text += f"\x1b[{self._cursor[1] + 1};{self._cursor[0] + 1}H"
            self._grid.moved()
        if self.batches and len(text) > WORTH_A_BATCH:
            text = SYNC_START + text + SYNC_END
        if self.pace.asks:
            text += QUESTION
            self.questions += 1
            self.pace.sent(len(text), now)
        return text

    def _retry(self, now: float) -> None:
        delay = self.pace.retry_in(now)
        if delay is not None and (
            self._timer is None or self._timer.cancelled() or self._timer.when() < self._loop.time()
        ):
            self._timer = self._loop.call_later(delay + 0.01, self.flush)

    def _cells(self, strip: Strip) -> list[Cell]:
        """The cells of a strip: combining marks join the character before, wide ones take two."""
        cells: list[Cell] = []
        for text, style, control in strip:
            if control:
                continue
            sgr = self._sgr(style)
            if text.isascii() or cell_len(text) == len(text):
                cells.extend(zip(text, repeat(sgr)))
            else:
                _append_wide(cells, text, sgr)
        return cells


def _append_wide(cells: list[Cell], text: str, sgr: str) -> None:
    for char in text:
        width = cell_len(char)
        if width:
            cells.append((char, sgr))
            cells.extend([("", sgr)] * (width - 1))
        elif cells:
            owner = next(i for i in range(len(cells) - 1, -1, -1) if cells[i][0] or i == 0)
            cells[owner] = (cells[owner][0] + char, cells[owner][1])
