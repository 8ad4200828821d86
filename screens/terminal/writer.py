"""Writing to a terminal that may stall, without ever waiting for it.

One thread owns the file descriptor. Control sequences queue up; pictures are only asked for when nothing
is left to write (`on_idle`), so that a slow line always gets the newest one. A terminal that went away
swallows everything: nobody downstream has to know.
"""

from __future__ import annotations

import contextlib
import os
import select
import termios
import threading
import time
from collections import deque
from collections.abc import Callable

#: Bytes handed to the kernel at a time: what a terminal that stops reading may still hold of us.
CHUNK = 2048
#: Characters that may wait; a terminal that stalls for hours is told less, not remembered more.
BACKLOG = 1 << 20
#: How often a stalled terminal is looked at (ms).
LOOK_MS = 50
#: Leaves the alternate screen, mouse and focus reports, bracketed paste, kitty keys and synchronised output;
#: shows the cursor, wraps lines, resets colours. CAN first ends whatever sequence was cut off.
RESET = (
    "\x18\x1b[<u\x1b[?2026l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?1016l\x1b[?2048l"
    "\x1b[?2004l\x1b[?1004l\x1b[?7h\x1b[?1049l\x1b[?25h\x1b[0m"
)


def open_again(fd: int) -> int:
    """Return a descriptor for the terminal behind `fd` whose writes never wait.

    Where the terminal may not be opened again (after `su` it belongs to somebody else and is not ours to
    control), a duplicate is returned, whose writes do wait.
    """
    flags = os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(_name(fd), flags)
    except OSError:
        return os.dup(fd)


def _name(fd: int) -> str:
    """A path of the terminal, the one whose permissions never matter if it controls this process."""
    try:
        os.tcgetpgrp(fd)
    except OSError:
        return os.ttyname(fd)
    return "/dev/tty"


class IdleWriter(threading.Thread):
    """Writes text to the terminal behind `fd`.

    Args:
        fd: a terminal; never closed here.
        on_idle: called in this thread whenever everything has been written.

    Attributes:
        gone: the terminal hung up.
    """

    def __init__(self, fd: int, on_idle: Callable[[], None]) -> None:
        super().__init__(daemon=True, name="xops-terminal")
        self._fd = open_again(fd)
        self._on_idle = on_idle
        self._queue: deque[str] = deque()
        self._waiting = 0
        self._writing = False
        self._until: float | None = None
        self._wake = threading.Condition()
        self.gone = False

    @property
    def idle(self) -> bool:
        """Whether everything has been written."""
        return not self._waiting and not self._writing

    def write(self, text: str) -> None:
        """Queue `text`; returns at once."""
        with self._wake:
            if self._waiting + len(text) <= BACKLOG and not self.gone:
                self._queue.append(text)
                self._waiting += len(text)
                self._wake.notify()

    def run(self) -> None:
        """Write until stopped."""
        try:
            while text := self._next():
                self._send(text.encode("utf-8", "replace"))
        except OSError:  # EIO after a hangup: there is nobody left to tell
            self.gone = True
        finally:
            os.close(self._fd)

    def stop(self, timeout: float) -> None:
        """Write what is queued and end, within `timeout` seconds.

        What the terminal does not read in that time is thrown away, except the sequences that give it
        back: they reach it when somebody wakes it up.
        """
        with self._wake:
            self._until = time.monotonic() + timeout
            self._wake.notify()
        self.join(timeout + 4 * LOOK_MS / 1000)

    def _next(self) -> str:
        """Wait for text; empty when stopped and done."""
        with self._wake:
            self._writing = False
            if not self._queue and self._until is None:
                self._on_idle()
            while not self._queue and self._until is None:
                self._wake.wait()
            text = "".join(self._queue)
            self._queue.clear()
            self._waiting = 0
            self._writing = True
            return text

    def _send(self, data: bytes) -> None:
        view = memoryview(data)
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        while view:
            if poll.poll(LOOK_MS):
                with contextlib.suppress(BlockingIOError):
                    view = view[os.write(self._fd, view[:CHUNK]) :]
            elif self._until is not None and time.monotonic() > self._until:
                give_back(self._fd)
                return


def give_back(fd: int) -> None:
    """Throw away what the terminal has not read and write `RESET` instead."""
    with contextlib.suppress(OSError, termios.error):
        termios.tcflush(fd, termios.TCOFLUSH)
        os.write(fd, RESET.encode())
