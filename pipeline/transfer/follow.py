"""The log of a relay, folded."""

from __future__ import annotations

from pathlib import Path

from pipeline.engine.folded import FoldedLog
from pipeline.transfer.view import RelayFold


class RelayLog(FoldedLog[RelayFold]):
    """One progress log of a relay; see `FoldedLog`."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, RelayFold)
