"""Leaving: the terminal is given back as it was found, in bounded time, whatever happened.

Signals ask the app to leave. If it has not left when the `Deadline` passes (a blocked loop, a hanging
worker thread, a terminal nobody reads), the terminal is restored from here and the process ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from screens.terminal.writer import give_back, open_again

#: Exit status by signal, as a shell reports it.
SIGNAL_CODES = {signal.SIGHUP: 129, signal.SIGINT: 130, signal.SIGTERM: 143}
HANGUP = 129
#: Seconds from the wish to leave to the end of the process.
DEADLINE_S = 1.2


class TtyState:
    """How the terminal was before anything touched it."""

    def __init__(self) -> None:
        self._attributes: list[Any] | None = None
        with contextlib.suppress(termios.error, ValueError, AttributeError):
            self._attributes = termios.tcgetattr(sys.__stdin__.fileno())  # type: ignore[union-attr]

    def restore(self) -> None:
        """Give the terminal back; waits for nothing."""
        if self._attributes is None:
            return
        stdin, stderr = sys.__stdin__.fileno(), sys.__stderr__.fileno()  # type: ignore[union-attr]
        with contextlib.suppress(OSError):
            give_back(open_again(stderr))
        with contextlib.suppress(termios.error, OSError):
            termios.tcsetattr(stdin, termios.TCSANOW, self._attributes)
            termios.tcflush(stdin, termios.TCIFLUSH)


class Deadline:
    """Ends the process if it has not ended by itself.

    Args:
        tty: what to restore first.
        seconds: how long to wait.
    """

    def __init__(self, tty: TtyState, seconds: float = DEADLINE_S) -> None:
        self._tty = tty
        self._seconds = seconds
        self._timer: threading.Timer | None = None

    def arm(self, code: int) -> None:
        """Start the clock; later calls change nothing."""
        if self._timer is None:
            self._timer = threading.Timer(self._seconds, self._end, (code,))
            self._timer.daemon = True
            self._timer.start()

    def disarm(self) -> None:
        """Stop the clock if nothing is left that could keep the process: no thread but daemons."""
        others = [t for t in threading.enumerate() if t is not threading.current_thread() and not t.daemon]
        if self._timer is not None and not others:
            self._timer.cancel()

    def _end(self, code: int) -> None:
        self._tty.restore()
        os._exit(code)


@contextlib.contextmanager
def leaving_on_signals(leave: Callable[[int], None]) -> Iterator[None]:
    """Call `leave(exit code)` on SIGHUP, SIGINT and SIGTERM, also where they were ignored (nohup)."""

    def handle(number: int, _frame: FrameType | None) -> None:
        leave(SIGNAL_CODES[signal.Signals(number)])

    before = {number: signal.signal(number, handle) for number in SIGNAL_CODES}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
