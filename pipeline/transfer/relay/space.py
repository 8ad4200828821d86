"""The relay's disk: who uses it, how much may still come, and what is left over from earlier attempts.

Downloads run ahead of the transfer only while the disk stays above its low water mark with everything that
was let in; once below, nothing more is let in before the high mark is reached.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Collection
from pathlib import Path

from msgspec import Struct

from pipeline.engine.errors import XopsError
from pipeline.engine.log import Emit
from pipeline.hub.journal import temporaries
from pipeline.transfer.sender import Sender

_LOOK_S = 0.5
_ANSWER_S = 1.0


async def report_destination(sender: Sender, emit: Emit) -> None:
    """Say how much is free below the destination root; nothing while the host does not answer."""
    with contextlib.suppress(XopsError, TimeoutError):
        async with asyncio.timeout(_ANSWER_S):
            room = await sender.room()
        emit("space", root="destination", path=sender.root, free=room.bytes, low=0, high=0)


class Marks(Struct, frozen=True):
    """Free bytes that must stay, and free bytes at which downloads go on."""

    low: int
    high: int


class Space:
    """The ledger of one relay directory.

    Args:
        root: the directory; every file below it is the relay's own.
        marks: water marks of its file system.
        emit: `space`, `paused`, `continued`.

    Attributes:
        promised: bytes let in that are not on disk yet.
    """

    def __init__(self, root: Path, marks: Marks, emit: Emit) -> None:
        self.root = root
        self.promised = 0
        self._marks = marks
        self._emit = emit

    def free(self) -> int:
        """Bytes an ordinary account may still write."""
        state = os.statvfs(self.root)
        return state.f_bavail * state.f_frsize

    def used(self) -> int:
        """Bytes on disk below the root."""
        total = 0
        for folder, _, names in os.walk(self.root):
            for name in names:
                with contextlib.suppress(FileNotFoundError):  # renamed or removed while we look
                    total += Path(folder, name).lstat().st_blocks * 512
        return total

    def arrived(self, size: int) -> None:
        """So many promised bytes are on disk now, or will not come."""
        self.promised = max(0, self.promised - size)

    async def admit(self, size: int, *, batch: int) -> None:
        """Wait until `size` more bytes fit; says so when it has to wait."""
        paused = False
        while self.free() - self.promised - size < (self._marks.high if paused else self._marks.low):
            if not paused:
                paused = True
                reason = (
                    f"batch {batch} needs {size} bytes, {self.free() - self.promised} are free on the relay"
                )
                self._emit("paused", side="download", kind="space", reason=reason)
            await asyncio.sleep(_LOOK_S)
        if paused:
            self._emit("continued", side="download")
        self.promised += size

    async def wait_for_room(self, size: int, reason: str) -> None:
        """The disk is full although it should not be: wait until `size` bytes are free."""
        self._emit("paused", side="download", kind="disk full", reason=reason)
        while self.free() < max(size, 1 << 20):  # noqa: ASYNC110 - nobody tells when a disk has room
            await asyncio.sleep(_LOOK_S)
        self._emit("continued", side="download")

    def report(self) -> None:
        """Say how the disk stands."""
        self._emit(
            "space",
            root="relay",
            path=str(self.root),
            free=self.free(),
            used=self.used(),
            reserved=self.promised,
            low=self._marks.low,
            high=self._marks.high,
        )

    def sweep(self, wanted: Collection[str]) -> tuple[str, ...]:
        """Remove what earlier attempts left of files that are no longer wanted.

        Args:
            wanted: relative paths that may still come.

        Returns:
            The relative paths removed.
        """
        kept: set[Path] = set()
        for name in wanted:
            unfinished = temporaries(self.root / name)
            kept |= {self.root / name, unfinished.part, unfinished.journal}
        removed = []
        for found in sorted(self.root.rglob("*"), reverse=True):
            if found.is_dir() and not found.is_symlink():
                if not any(found.iterdir()):
                    found.rmdir()
            elif found not in kept:
                found.unlink()
                removed.append(found.relative_to(self.root).as_posix())
        return tuple(reversed(removed))
