"""Which process answers which row: one lock per row, which the kernel frees when its holder dies.

A lock of byte i of one file stands for row i. Nothing expires and nothing has to be cleaned up; the rows of a
shard that was killed are free at once for those that live.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self


class RowLeases:
    """Leases of rows in one evaluation.

    Args:
        path: the file that all shards of the evaluation share; made if missing.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def take(self, positions: Iterable[int], most: int) -> list[int]:
        """Lease up to `most` of the rows, passing over those that others hold."""
        taken: list[int] = []
        for position in positions:
            if len(taken) == most:
                break
            try:
                fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, position)
            except OSError:
                continue
            taken.append(position)
        return taken

    def free(self, positions: Iterable[int]) -> None:
        """Give rows back; done or not."""
        for position in positions:
            fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, position)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)
