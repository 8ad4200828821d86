"""Which chunks of a file in the making are on disk, and their hashes: the resume map of a download.

The journal lies beside the part file as JSON lines: first what is being made, then one line per finished
chunk, written after the chunk's bytes. A line torn by a crash counts for nothing, and a chunk counts only
if its bytes still have the recorded hash, so nothing has to be forced to disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

from msgspec import Struct

from pipeline.engine.errors import DiskFullError, UsageError
from pipeline.engine.files import FULL
from pipeline.hub.types import RemoteFile


class Temporaries(Struct, frozen=True):
    """The two files that exist beside a destination while it is being made."""

    part: Path
    journal: Path

    def remove(self) -> None:
        """Delete both."""
        self.part.unlink(missing_ok=True)
        self.journal.unlink(missing_ok=True)


def temporaries(destination: Path) -> Temporaries:
    """Where the unfinished bytes of `destination` and their journal are."""
    return Temporaries(
        destination.with_name(f".{destination.name}.part"),
        destination.with_name(f".{destination.name}.chunks"),
    )


class PartFile:
    """A file in the making: space reserved, chunks written at their offsets, each one journalled.

    Opening finds what an earlier call left and keeps the chunks whose bytes still have their hash.

    Attributes:
        done: chunk -> sha256 of its bytes on disk.

    Raises:
        DiskFullError: there is no room for the whole file.
        UsageError: a symbolic link lies where the part belongs.
    """

    def __init__(self, file: RemoteFile, destination: Path, chunk_size: int) -> None:
        self.file = file
        self.chunk_size = chunk_size
        self.paths = temporaries(destination)
        self._head = {"path": file.path, "size": file.size, "sha256": file.sha256, "chunk": chunk_size}
        self.done: dict[int, str] = {}
        self._lock = threading.Lock()
        self._open = True
        self._hash_lock = threading.Lock()
        self._forget_hash()
        destination.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._fd = os.open(self.paths.part, flags, 0o644)
            self._journal = os.open(self.paths.journal, flags | os.O_APPEND, 0o644)
        except OSError as error:
            raise UsageError(f"{self.paths.part} cannot be opened: {error.strerror}") from None
        try:
            self._recover()
            if file.size and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self._fd, 0, file.size)
        except OSError as error:
            self.close()
            if not self.done:
                self.paths.remove()
            raise self._explained(error) from error

    @property
    def count(self) -> int:
        """Chunks of the whole file."""
        return -(-self.file.size // self.chunk_size)

    def span(self, chunk: int) -> tuple[int, int]:
        """First byte of a chunk, and the byte after its last."""
        start = chunk * self.chunk_size
        return start, min(start + self.chunk_size, self.file.size)

    def missing(self) -> list[int]:
        """Chunks still to be had, in order."""
        return [chunk for chunk in range(self.count) if chunk not in self.done]

    def kept(self) -> int:
        """Bytes of the finished chunks."""
        return sum(end - start for start, end in map(self.span, self.done))

    def write(self, chunk: int, data: bytes | bytearray) -> None:
        """Put a chunk's bytes on disk and journal them; DiskFullError if there is no room."""
        start, _ = self.span(chunk)
        digest = hashlib.sha256(data).hexdigest()
        view = memoryview(data)
        with self._lock:
            if not self._open:  # a cancelled download closes the file while a thread may still be writing
                return
            try:
                while view:
                    written = os.pwrite(self._fd, view, start)
                    start, view = start + written, view[written:]
                self._append({"chunk": chunk, "sha256": digest})
            except OSError as error:
                raise self._explained(error) from error
            self.done[chunk] = digest

    def hash_on(self) -> None:
        """Hash further, from disk, what is finished without a gap; so that little is left at the end."""
        if self._hash_lock.acquire(blocking=False):
            try:
                self._hash_finished()
            finally:
                self._hash_lock.release()

    def sha256(self) -> str:
        """Hash of the whole part file, read back from disk; every chunk must be finished."""
        with self._hash_lock:
            self._hash_finished()
            return self._digest.hexdigest()

    def _hash_finished(self) -> None:
        while self._hashed in self.done:
            start, end = self.span(self._hashed)
            with self._lock:
                if not self._open:
                    return
                data = os.pread(self._fd, end - start, start)
            self._digest.update(data)
            self._hashed += 1

    def _forget_hash(self) -> None:
        self._digest = hashlib.sha256()
        self._hashed = 0

    def publish(self, destination: Path) -> None:
        """Force the bytes to disk, give the file its name, and drop the journal."""
        os.ftruncate(self._fd, self.file.size)
        os.fsync(self._fd)
        self.paths.part.replace(destination)
        self.paths.journal.unlink(missing_ok=True)

    def restart(self) -> None:
        """Forget every chunk: what is on disk is not the file that was wanted."""
        self.done.clear()
        self._forget_hash()
        os.ftruncate(self._journal, 0)
        self._append(self._head)

    def close(self) -> None:
        """Close both files; what they hold stays for the next call."""
        with self._lock:
            self._open = False
            os.close(self._fd)
            os.close(self._journal)

    def _recover(self) -> None:
        lines = _json_lines(os.pread(self._journal, os.fstat(self._journal).st_size, 0))
        if not lines or lines[0] != self._head:
            self.restart()
            return
        self._append_raw(b"\n")  # closes a torn last line
        for line in lines[1:]:
            chunk, digest = line.get("chunk"), line.get("sha256")
            if isinstance(chunk, int) and 0 <= chunk < self.count and isinstance(digest, str):
                start, end = self.span(chunk)
                if hashlib.sha256(os.pread(self._fd, end - start, start)).hexdigest() == digest:
                    self.done[chunk] = digest

    def _append(self, record: dict[str, Any]) -> None:
        self._append_raw(json.dumps(record, separators=(",", ":")).encode() + b"\n")

    def _append_raw(self, data: bytes) -> None:
        if os.write(self._journal, data) != len(data):
            raise OSError(FULL[0], os.strerror(FULL[0]))

    def _explained(self, error: OSError) -> Exception:
        if error.errno in FULL:
            return DiskFullError(
                f"no room on the file system of {self.paths.part.parent} for {self.file.path} "
                f"({self.file.size} bytes)",
                hint="free space there, then continue; finished chunks are kept",
            )
        return error


def _json_lines(data: bytes) -> list[dict[str, Any]]:
    found = []
    for line in data.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found
