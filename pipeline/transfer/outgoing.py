"""One file on its way: which of its chunks the destination has, and what was sent for it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from pathlib import Path

from msgspec import Struct

from pipeline.transfer.delivered import Record
from pipeline.transfer.errors import SourceDamagedError
from pipeline.transfer.remote import Span


class Outgoing(Struct, frozen=True):
    """A file to send.

    Attributes:
        path: relative to the source root and to the destination root.
        size: bytes.
        sha256: as the Hub states it; None to take the local file's.
        batch: number of its relay batch; 0 for none.
    """

    path: str
    size: int
    sha256: str | None = None
    batch: int = 0


class Delivered(Struct, frozen=True):
    """A file that lies on the destination under its name, proved by reading it back there.

    Attributes:
        path, size, sha256: which.
        sent: bytes sent for it in this call, again-sent ones included.
        kept: bytes that were there already.
        seconds: from its first byte to its name.
    """

    path: str
    size: int
    sha256: str
    sent: int
    kept: int
    seconds: float


class Parcel:
    """An `Outgoing` being sent.

    Args:
        file: what.
        source: root directory of the local copy.
        chunk_bytes: size of all chunks but the last.

    Attributes:
        missing: chunks the destination does not have yet.
        sent, kept: bytes, as in `Delivered`.
        sha256: expected of the whole; empty until it is known.
        hashed: bytes the destination was asked to hash ahead.
        digests: sha256 of the local chunks read so far.
        done: resolved with the result, or the reason it cannot be sent.
    """

    def __init__(self, file: Outgoing, source: Path, chunk_bytes: int) -> None:
        self.file = file
        self.local = source / file.path
        self.chunk_bytes = chunk_bytes
        self.chunks = max(1, -(-file.size // chunk_bytes))
        self.missing = set(range(self.chunks))
        self.attempts: dict[int, int] = {}
        self.sent = 0
        self.kept = 0
        self.sha256 = file.sha256 or ""
        self.hashed = 0
        self.digests: dict[int, str] = {}
        self.done: asyncio.Future[Delivered] = asyncio.get_running_loop().create_future()
        self.began = time.monotonic()

    @property
    def path(self) -> str:
        """Relative path."""
        return self.file.path

    @property
    def size(self) -> int:
        """Bytes."""
        return self.file.size

    def span(self, chunk: int) -> Span:
        """Where a chunk lies."""
        offset = chunk * self.chunk_bytes
        return Span(offset, min(self.chunk_bytes, self.size - offset))

    def spans(self) -> list[Span]:
        """All chunks' places, in order."""
        return [self.span(chunk) for chunk in range(self.chunks)]

    @property
    def complete_up_to(self) -> int:
        """Bytes from the beginning that are all there."""
        return min(self.missing) * self.chunk_bytes if self.missing else self.size

    def check_source(self) -> None:
        """Raise SourceDamagedError unless the local file has the size it should have."""
        try:
            size = self.local.stat().st_size
        except OSError as error:
            raise SourceDamagedError(f"{self.local}: {error.strerror}", self.path) from None
        if size != self.size:
            raise SourceDamagedError(f"{self.local} has {size} bytes, not {self.size}", self.path)

    def read(self, chunk: int) -> tuple[bytes, bytes]:
        """A chunk's bytes and their sha256; blocks.

        Raises:
            SourceDamagedError: the file is shorter than it was, or cannot be read.
        """
        offset, length = self.span(chunk)
        try:
            handle = os.open(self.local, os.O_RDONLY)
            try:
                data = os.pread(handle, length, offset)
                while len(data) < length and (
                    more := os.pread(handle, length - len(data), offset + len(data))
                ):
                    data += more
            finally:
                os.close(handle)
        except OSError as error:
            raise SourceDamagedError(f"{self.local}: {error.strerror}", self.path) from None
        if len(data) < length:
            raise SourceDamagedError(f"{self.local} became shorter while it was sent", self.path)
        digest = hashlib.sha256(data).digest()
        self.digests[chunk] = digest.hex()
        return data, digest

    def hash_chunks(self) -> list[bytes]:
        """The sha256 of every local chunk; blocks."""
        return [self.read(chunk)[1] for chunk in range(self.chunks)]

    def record(self, stamp: str) -> Record:
        """What is remembered of it, proved and published under `stamp`."""
        known = len(self.digests) == self.chunks
        chunks = tuple(self.digests[chunk] for chunk in range(self.chunks)) if known else ()
        return Record(self.path, self.size, self.sha256, stamp, self.chunk_bytes, chunks)

    def local_sha256(self) -> str:
        """The sha256 of the local file; blocks."""
        with self.local.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def delivered(self) -> Delivered:
        """The result."""
        seconds = round(time.monotonic() - self.began, 3)
        return Delivered(self.path, self.size, self.sha256, self.sent, self.kept, seconds)

    def fail(self, error: Exception) -> None:
        """Give the file up."""
        if not self.done.done():
            self.done.set_exception(error)
