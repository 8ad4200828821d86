"""Following one event log into a fold: only new bytes are read, only whole lines are folded.

The log may be read in one thread and drawn in another; whoever looks at the fold holds `FoldedLog.lock`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import msgspec

#: Bytes folded in one look, so that nobody who waits for the lock waits for long.
SLICE = 1 << 20

_DECODER = msgspec.json.Decoder(dict[str, Any])


class Fold(Protocol):
    """What events add up to."""

    def feed(self, event: dict[str, Any]) -> None:
        """Take one event."""


F = TypeVar("F", bound=Fold)


class FoldedLog(Generic[F]):
    """One progress log and what it says.

    Args:
        path: `progress.jsonl`; may not exist yet.
        make: an empty fold.

    Attributes:
        fold: everything told so far.
        damaged: lines that are no events.
        lock: held while the fold changes.
    """

    def __init__(self, path: Path, make: Callable[[], F]) -> None:
        self.path = path
        self.fold = make()
        self.damaged = 0
        self.lock = threading.Lock()
        self._make = make
        self._offset = 0
        self._inode = 0

    def read(self) -> bool:
        """Fold what was written since the last look; whether anything was."""
        try:
            with self.path.open("rb") as log:
                state = self.path.stat()
                anew = state.st_size < self._offset or bool(self._inode and state.st_ino != self._inode)
                log.seek(0 if anew else self._offset)
                data = log.read(SLICE)
        except OSError:
            return False
        with self.lock:
            if anew:  # another log under the same name
                self.fold, self._offset = self._make(), 0
            self._inode = state.st_ino
            return self._take(data)

    def _take(self, data: bytes) -> bool:
        end = data.rfind(b"\n") + 1
        self._offset += end
        for line in data[:end].splitlines():
            try:
                self.fold.feed(_DECODER.decode(line))
            except (msgspec.MsgspecError, UnicodeDecodeError):
                self.damaged += bool(line.strip())
        return end > 0
