"""Textual's Linux driver with an output that never waits and an input that notices the end.

Differences from `LinuxDriver`: pictures go through a `Painter`, sequences through an `IdleWriter`; end of
file or a hangup on stdin (also one that no signal announced) makes the app leave; terminals that know no
kitty keys or mode queries are not sent any.
"""

from __future__ import annotations

import asyncio
import os
import select
import sys
import time
from codecs import getincrementaldecoder
from typing import TYPE_CHECKING, Any

from textual import events
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

from screens.terminal.painter import Painter
from screens.terminal.private import XTermParser
from screens.terminal.writer import IdleWriter

if TYPE_CHECKING:
    from screens.base import ConsoleApp

#: Seconds that the last sequences may take; then the terminal's backlog is thrown away.
CLOSE_S = 0.5
#: Seconds to wait for the answer to the last frame, so that it does not appear on the shell's prompt.
ANSWER_S = 0.25
_MODERN_ONLY = ("\x1b[>", "\x1b[<u", "\x1b[?2026$p", "\x1b[?2048$p")
_BASIC_TERMS = ("linux", "vt", "ansi", "cons25", "")
_HANGUP = select.POLLHUP | select.POLLERR | select.POLLNVAL


class ConsoleDriver(LinuxDriver):
    """Draws for a `ConsoleApp` on the terminal behind stdin and stderr."""

    def __init__(self, app: ConsoleApp, **options: Any) -> None:
        super().__init__(app, **options)
        self._console = app
        self._basic = os.environ.get("TERM", "").startswith(_BASIC_TERMS[:-1]) or not os.environ.get("TERM")
        self._output: IdleWriter | None = None
        self._answers = 0
        self.painter = Painter(asyncio.get_running_loop(), app.capabilities.colour)

    def start_application_mode(self) -> None:
        """Take the terminal over, at the start and after a suspension."""
        self._output = IdleWriter(sys.__stderr__.fileno(), self.painter.wake)  # type: ignore[union-attr]
        self._output.start()
        self.painter.attach(self._output)
        super().start_application_mode()  # type: ignore[no-untyped-call]
        self.painter.greet()  # the line is raw now: the answer is not echoed

    def write(self, data: str) -> None:
        """Queue a control sequence; never waits."""
        if self._output is not None and not (self._basic and data.startswith(_MODERN_ONLY)):
            self._output.write(data)

    def disable_input(self) -> None:
        """Stop reading keys, once the terminal has answered the last frame."""
        self.painter.detach()
        until = time.monotonic() + ANSWER_S
        while (
            self.painter.pace.awaiting and self._answers < self.painter.questions and time.monotonic() < until
        ):
            time.sleep(0.01)
        super().disable_input()

    def stop_application_mode(self) -> None:
        """Give the terminal back."""
        self.write("\x1b[m")
        super().stop_application_mode()

    def close(self) -> None:
        """Give the last sequences a moment to leave."""
        super().close()
        if self._output is not None:
            self._output.stop(CLOSE_S)
            self._output = None

    def process_message(self, message: Message) -> None:
        """Keep the terminal's answers to frames, pass everything else on."""
        if isinstance(message, events.CursorPosition):
            self._answers += 1
            self._to_loop(self.painter.answered)
        else:
            super().process_message(message)

    def run_input_thread(self) -> None:
        """Read keys until told to stop or the terminal is gone."""
        parser = XTermParser(self._debug)
        decode = getincrementaldecoder("utf-8")("replace").decode
        poll = select.poll()
        poll.register(self.fileno, select.POLLIN)
        while not self.exit_event.is_set():
            for _, mask in poll.poll(100):
                data = self._read() if mask & select.POLLIN else b""
                if not data and mask & (_HANGUP | select.POLLIN):
                    self._to_loop(self._console.hang_up)
                    return
                for event in parser.feed(decode(data)):
                    self.process_message(event)
            for event in parser.tick():
                self.process_message(event)

    def _read(self) -> bytes:
        try:
            return os.read(self.fileno, 4096)
        except OSError:  # EIO: the terminal hung up
            return b""

    def _to_loop(self, call: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:  # the loop ended; so does this thread
            self.exit_event.set()
