"""Following a relay's log: only new bytes are read, only whole lines are folded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from pipeline.transfer.view import RelayFold

#: Bytes folded in one look, so that a long log does not hold a thread for long.
SLICE = 4 << 20

_DECODER = msgspec.json.Decoder(dict[str, Any])


class RelayLog:
    """One progress log and what it says.

    Args:
        path: `progress.jsonl`; may not exist yet.

    Attributes:
        fold: everything told so far.
        damaged: lines that are no events.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fold = RelayFold()
        self.damaged = 0
        self._offset = 0
        self._inode = 0

    def read(self) -> bool:
        """Fold what was written since the last look; whether anything was."""
        try:
            with self.path.open("rb") as log:
                state = self.path.stat()
                if state.st_size < self._offset or (self._inode and state.st_ino != self._inode):
                    self.fold, self._offset = RelayFold(), 0  # another log under the same name
                self._inode = state.st_ino
                log.seek(self._offset)
                data = log.read(SLICE)
        except OSError:
            return False
        end = data.rfind(b"\n") + 1
        self._offset += end
        for line in data[:end].splitlines():
            try:
                self.fold.feed(_DECODER.decode(line))
            except msgspec.MsgspecError:
                self.damaged += bool(line.strip())
        return end > 0
