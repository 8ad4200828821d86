"""Following a relay's log: only new bytes are read, only whole lines are folded.

The log may be read in one thread and drawn in another; whoever looks at the fold holds `RelayLog.lock`.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import msgspec

from pipeline.transfer.view import RelayFold

#: Bytes folded in one look, so that nobody who waits for the lock waits for long.
SLICE = 1 << 20

_DECODER = msgspec.json.Decoder(dict[str, Any])


class RelayLog:
    """One progress log and what it says.

    Args:
        path: `progress.jsonl`; may not exist yet.

    Attributes:
        fold: everything told so far.
        damaged: lines that are no events.
        lock: held while the fold changes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fold = RelayFold()
        self.damaged = 0
        self.lock = threading.Lock()
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
                self.fold, self._offset = RelayFold(), 0
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
