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
from pipeline.hub.names import place
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
        while self.free() - self.promised - size < self._mark(paused=paused):
            if not paused:
                paused = True
                reason = (
                    f"batch {batch} needs {size} bytes above the water mark of {self._marks.low}, "
                    f"{self.free() - self.promised} are free on the relay; free some, or take smaller "
                    "batches: --set relay.batch_max_gib=N"
                )
                self._emit("paused", side="download", kind="space", reason=reason)
            await asyncio.sleep(_LOOK_S)
        if paused:
            self._emit("continued", side="download")
        self.promised += size

    def _mark(self, *, paused: bool) -> int:
        """Bytes that must stay free: once paused, so many that it does not pause again at once."""
        return self._marks.high if paused and not self._empty() else self._marks.low

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

    def sweep(self, abandoned: Collection[str], wanted: Collection[str]) -> tuple[str, ...]:
        """Remove files that are ours and no longer wanted; whatever else lies here is left alone.

        Args:
            abandoned: relative paths that xops may have put here.
            wanted: relative paths that may still come.

        Returns:
            The relative paths removed.
        """
        kept = set(wanted)
        removed = []
        for name in sorted(set(abandoned) - kept):
            target = place(self.root, name)
            unfinished = temporaries(target)
            for path in (target, unfinished.part, unfinished.journal):
                if path.is_file() or path.is_symlink():
                    path.unlink()
                    removed.append(path.relative_to(self.root).as_posix())
            for folder in target.relative_to(self.root).parents:
                with contextlib.suppress(OSError):  # not empty, or not there
                    (self.root / folder).rmdir() if folder.name else None
        return tuple(removed)

    def to_come(self, name: str, size: int) -> int:
        """Bytes of a file that are not on disk yet, finished or not."""
        target = self.root / name
        for path in (target, temporaries(target).part):
            with contextlib.suppress(OSError):
                return max(0, size - path.stat().st_blocks * 512)
        return size

    def _empty(self) -> bool:
        """Whether nothing of ours is here or promised, so that waiting brings no room."""
        return self.promised == 0 and self.used() == 0
