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

#: Exit status by signal, as a shell reports it.
SIGNAL_CODES = {signal.SIGHUP: 129, signal.SIGINT: 130, signal.SIGTERM: 143}
HANGUP = 129
#: Seconds from the wish to leave to the end of the process.
DEADLINE_S = 1.2
#: Leaves the alternate screen, mouse and focus reports, bracketed paste, kitty keys and synchronised output;
#: shows the cursor, wraps lines, resets colours. CAN first ends whatever sequence was cut off.
RESET = (
    "\x18\x1b[<u\x1b[?2026l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?1016l\x1b[?2048l"
    "\x1b[?2004l\x1b[?1004l\x1b[?7h\x1b[?1049l\x1b[?25h\x1b[0m"
)


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
        with contextlib.suppress(termios.error, OSError):
            termios.tcflush(stderr, termios.TCOFLUSH)
            termios.tcsetattr(stdin, termios.TCSANOW, self._attributes)
            termios.tcflush(stdin, termios.TCIFLUSH)
        writing = threading.Thread(target=_write_reset, args=(stderr,), daemon=True)
        writing.start()
        writing.join(0.1)


def _write_reset(fd: int) -> None:
    with contextlib.suppress(OSError):
        os.write(fd, RESET.encode())


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
