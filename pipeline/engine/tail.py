"""Following one file that others append to: complete lines, each exactly once.

Nothing is held open. A file is looked at with `stat`; when something changed it is opened, read in slices
of at most 120 KiB and closed again, which also makes network file systems revalidate. What was read is
identified by device, inode, offset and the last bytes before the offset (the mark), so that rotation,
deletion with reuse of the inode, truncation and truncation with regrowth all start the file again from
its beginning. A last line without a newline is held back until it gets one.
"""

from __future__ import annotations

import os
import stat as stat_module
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec

#: Most bytes of one read, parsed in a millisecond or two. Buffers below 128 KiB come from the C heap; larger
#: ones are mapped and unmapped for every read, which costs a fifth of a replay in page faults.
SLICE = 120 * 1024

#: Longest line that is parsed. A longer one is skipped and counted as bad; memory stays bounded.
MAX_LINE = 16 * 1024 * 1024

#: Bytes before the offset that must not change.
MARK = 96

#: File systems whose attributes are cached: there the file is opened for every look.
NETWORK_TYPES = ("nfs", "nfs4", "cifs", "smb3", "ceph", "lustre", "gpfs", "beegfs", "9p", "afs")


class Position(msgspec.Struct, frozen=True):
    """What has been read of which file; enough to go on after a restart.

    Attributes:
        dev, ino: the file's identity.
        offset: bytes consumed, always at the start of a line.
        mark: the bytes just before the offset.
    """

    dev: int = 0
    ino: int = 0
    offset: int = 0
    mark: bytes = b""


class Slice(NamedTuple):
    """One read.

    Attributes:
        data: whole lines, the last with its newline; may be empty.
        reset: the file is another one than before: forget what came from it.
        more: there is more to read now.
        oversize: lines longer than `MAX_LINE` that were skipped.
    """

    data: bytes
    reset: bool
    more: bool
    oversize: int


class Tail:
    """Reads one growing file; see the module's text.

    Attributes:
        path: the file.
        position: what has been consumed.
        size: bytes in the file at the last look.
        problem: why the file cannot be read now (`missing`, `permission denied`, ...); empty if it can.
    """

    __slots__ = ("_scanned", "_seen", "path", "position", "problem", "size")

    def __init__(self, path: Path, position: Position | None = None) -> None:
        self.path = path
        self.position = position or Position()
        self.size = 0
        self.problem = ""
        self._scanned = 0
        self._seen: tuple[int, int, int, int] | None = None

    @property
    def pending(self) -> int:
        """Bytes after the last newline: a line still being written, or torn."""
        return max(0, self.size - self.position.offset)

    def read(self, budget: int = SLICE) -> Slice | None:
        """The next lines, or None when nothing changed. Never raises for what the file system does."""
        try:
            status = _look(self.path)
            seen = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            if seen == self._seen:
                return None
            if not stat_module.S_ISREG(status.st_mode):
                self._cannot("not a regular file")
                return None
            return self._read(budget)
        except FileNotFoundError:
            self._cannot("missing")
        except OSError as error:
            self._cannot((error.strerror or type(error).__name__).lower())
        return None

    def remainder(self) -> bytes:
        """The unfinished last line, at most `MAX_LINE` bytes; empty if it cannot be read."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.position.offset)
                return file.read(min(self.pending, MAX_LINE))
        except OSError:
            return b""

    def _cannot(self, problem: str) -> None:
        self.problem = problem
        self._seen = None

    def _read(self, budget: int) -> Slice:
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(fd)
            self.problem, self.size = "", status.st_size
            reset = self._is_another(fd, status)
            if reset:
                self.position, self._scanned = Position(), 0
            data, oversize, more = self._take(fd, budget, status.st_size)
        finally:
            os.close(fd)
        self._advance(status, data)
        if not more:
            self._seen = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        return Slice(data, reset, more, oversize)

    def _is_another(self, fd: int, status: os.stat_result) -> bool:
        was = self.position
        same = (status.st_dev, status.st_ino) == (was.dev, was.ino)
        if not same or status.st_size < was.offset + self._scanned:
            self._scanned = 0
        if not was.offset:
            return False
        if not same or status.st_size < was.offset:
            return True
        return os.pread(fd, len(was.mark), was.offset - len(was.mark)) != was.mark

    def _take(self, fd: int, budget: int, size: int) -> tuple[bytes, int, bool]:
        """Whole lines from the offset on, how many oversized ones were passed over, and if there is more."""
        start = self.position.offset
        chunk = os.pread(fd, budget, start + self._scanned)
        reached = start + self._scanned + len(chunk)
        end = chunk.rfind(b"\n")
        if end < 0:
            # Only full slices of a long line are remembered as scanned: a writer may cut a short tail off.
            if len(chunk) == budget:
                self._scanned += budget
            return b"", 0, reached < size
        if not self._scanned:
            return chunk[: end + 1], 0, reached < size
        length = self._scanned + chunk.find(b"\n") + 1
        self._scanned = 0
        if length <= MAX_LINE:
            return os.pread(fd, length, start), 0, start + length < size
        self._move(fd, start + length)
        return b"", 1, start + length < size

    def _move(self, fd: int, offset: int) -> None:
        mark = os.pread(fd, MARK, offset - MARK)
        self.position = msgspec.structs.replace(self.position, offset=offset, mark=mark)

    def _advance(self, status: os.stat_result, data: bytes) -> None:
        was = self.position
        self.position = Position(
            status.st_dev, status.st_ino, was.offset + len(data), (was.mark + data[-MARK:])[-MARK:]
        )


def _look(path: Path) -> os.stat_result:
    status = os.stat(path)  # noqa: PTH116 - four times cheaper than Path.stat, and called all the time
    if status.st_dev not in network_devices():
        return status
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


@cache
def network_devices() -> frozenset[int]:
    """Device numbers of mounted network and FUSE file systems, as of the first call."""
    found = set()
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            for line in file:
                before, _, after = line.partition(" - ")
                kind = after.split(" ", 1)[0]
                if kind.startswith("fuse") or kind in NETWORK_TYPES:
                    major, minor = before.split(" ")[2].split(":")
                    found.add(os.makedev(int(major), int(minor)))
    except (OSError, ValueError, IndexError):
        return frozenset(found)
    return frozenset(found)
