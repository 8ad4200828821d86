"""Writing to a terminal that may stall, without ever waiting for it.

One thread owns the file descriptor. Control sequences queue up; pictures are only asked for when nothing
is left to write (`on_idle`), so that a slow line always gets the newest one. A terminal that went away
swallows everything: nobody downstream has to know.
"""

from __future__ import annotations

import os
import termios
import threading
from collections import deque
from collections.abc import Callable

#: Bytes handed to the kernel at a time: what a terminal that stops reading may still hold of us.
CHUNK = 2048
#: Characters that may wait; a terminal that stalls for hours is told less, not remembered more.
BACKLOG = 1 << 20


class IdleWriter(threading.Thread):
    """Writes text to `fd`.

    Args:
        fd: a terminal; never closed here.
        on_idle: called in this thread whenever everything has been written.
    """

    def __init__(self, fd: int, on_idle: Callable[[], None]) -> None:
        super().__init__(daemon=True, name="xops-terminal")
        self._fd = fd
        self._on_idle = on_idle
        self._queue: deque[str] = deque()
        self._waiting = 0
        self._writing = False
        self._stopping = False
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
        while True:
            with self._wake:
                self._writing = False
                if not self._queue:
                    self._announce()
                while not self._queue and not self._stopping:
                    self._wake.wait()
                if not self._queue:
                    return
                text = "".join(self._queue)
                self._queue.clear()
                self._waiting = 0
                self._writing = True
            self._send(text.encode("utf-8", "replace"))

    def _announce(self) -> None:
        if not self._stopping:
            self._on_idle()

    def _send(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view and not self.gone:
                view = view[os.write(self._fd, view[:CHUNK]) :]
        except OSError:  # EIO after a hangup, EBADF after a close: there is nobody left to tell
            self.gone = True

    def stop(self, timeout: float) -> bool:
        """Write what is queued and end; return whether that took less than `timeout` seconds.

        After half the time, whatever the terminal has not read is thrown away, so that the last
        sequences (which give the terminal back) still reach it when somebody wakes it up.
        """
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self.join(timeout / 2)
        if self.is_alive():
            try:
                termios.tcflush(self._fd, termios.TCOFLUSH)
            except termios.error:
                self.gone = True
            self.join(timeout / 2)
        return not self.is_alive()
