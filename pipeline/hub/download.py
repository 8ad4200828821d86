"""Downloading one file from the Hub in verified, resumable chunks.

Chunks are fetched in parallel by range, written at their offset and journalled (`pipeline.hub.journal`),
so that a killed download loses at most the chunks in flight. The file gets its name only when the hash of
the whole equals the Hub's LFS hash.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from pipeline.engine.errors import (
    CancelledByOperatorError,
    DamagedFileError,
    UnreachableError,
    UsageError,
)
from pipeline.engine.files import sync_directory
from pipeline.engine.log import Emit
from pipeline.hub.journal import PartFile, temporaries
from pipeline.hub.source import TransientError
from pipeline.hub.types import RemoteFile

DEFAULT_CHUNK = 8 << 20
DEFAULT_PARALLEL = 4


class Limiter(Protocol):
    """A bandwidth cap shared by any number of downloads."""

    async def acquire(self, size: int) -> None:
        """Wait until `size` more bytes may be moved."""


class Cancel(Protocol):
    """Asks a download to stop; `threading.Event`, `asyncio.Event` and the stage's flag all fit."""

    def is_set(self) -> bool:
        """Whether to stop."""


class Source(Protocol):
    """Where ranges of a file can be had from; `pipeline.hub.source.HubSource` is the real one."""

    def range(
        self, file: RemoteFile, start: int, end: int
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Bytes `start` to `end` (excluded) in blocks; TransientError where another try may help."""

    async def sha256(self, path: str) -> str | None:
        """The hash the source gives for a file, if any."""


class Retry(Struct, frozen=True):
    """How failures of a request are met.

    Attributes:
        attempts: tries per chunk before giving up.
        base_s, cap_s: the wait before try n is drawn from 0 to `min(cap_s, base_s * 2 ** n)`.
    """

    attempts: int = 8
    base_s: float = 0.5
    cap_s: float = 60.0

    def wait(self, failures: int) -> float:
        """Seconds to wait after so many failures of the same chunk."""
        return random.uniform(0, min(self.cap_s, self.base_s * 2**failures))


class FetchResult(Struct, frozen=True):
    """What one download did.

    Attributes:
        path: the finished file.
        received: bytes that came over the network in this call, including those thrown away.
        kept: bytes found from an earlier, interrupted call.
        retries: requests made again after a failure.
        seconds: wall time, verification included.
        sha256: of the finished file; None if neither listing nor Hub gave one, so only the size is sure.
    """

    path: Path
    received: int
    kept: int
    retries: int
    seconds: float
    sha256: str | None


async def fetch(
    file: RemoteFile,
    destination: Path,
    *,
    source: Source,
    emit: Emit,
    limiter: Limiter | None = None,
    cancel: Cancel | None = None,
    parallel: int = DEFAULT_PARALLEL,
    chunk_size: int = DEFAULT_CHUNK,
    retry: Retry | None = None,
) -> FetchResult:
    """Bring `file` to `destination` (the file's final path, from `pipeline.hub.names.place`).

    A finished destination with the right bytes is left as it is. Events: `download_start`, per chunk
    `chunk_downloaded` or `download_retry`, `download_mismatch`, `download_done`.

    Raises:
        CancelledByOperatorError: `cancel` was set; finished chunks are kept for the next call.
        DiskFullError: no room; finished chunks are kept.
        NoPermissionError, NotFoundError: the Hub refuses, or has no such file.
        UnreachableError: a chunk could not be had after all tries; finished chunks are kept.
        DamagedFileError: the bytes are not those of the selection, also on a second download.
        UsageError: `destination` is a symbolic link.
    """
    began = time.monotonic()
    if file.sha256 is None:
        file = msgspec.structs.replace(file, sha256=await _stated_hash(source, file, retry or Retry()))
    if await asyncio.to_thread(_finished, file, destination):
        await asyncio.to_thread(temporaries(destination).remove)
        emit("download_done", file=file.path, bytes=file.size, seconds=0.0, received=0, kept=file.size)
        return FetchResult(destination, 0, file.size, 0, 0.0, file.sha256)
    part = await asyncio.to_thread(PartFile, file, destination, chunk_size)
    download = _Download(part, source, emit, limiter, retry or Retry())
    kept = part.kept()
    try:
        emit("download_start", file=file.path, bytes=file.size, kept=kept, total=part.count, unit="chunk")
        await _unless(cancel, download.run(destination, parallel))
    finally:
        await asyncio.to_thread(part.close)
    seconds = time.monotonic() - began
    result = FetchResult(destination, download.received, kept, download.retries, seconds, file.sha256)
    emit(
        "download_done",
        file=file.path,
        bytes=file.size,
        seconds=round(seconds, 3),
        received=result.received,
        kept=kept,
        retries=result.retries,
    )
    return result


class _Download:
    """One call of `fetch`: the queue of missing chunks and what the workers count."""

    def __init__(
        self, part: PartFile, source: Source, emit: Emit, limiter: Limiter | None, retry: Retry
    ) -> None:
        self.part = part
        self.file = part.file
        self.source = source
        self.emit = emit
        self.limiter = limiter
        self.retry = retry
        self.received = 0
        self.retries = 0
        self._todo: deque[int] = deque()

    async def run(self, destination: Path, parallel: int) -> None:
        """Fetch what is missing, prove the whole, publish it; a wrong whole is fetched once more."""
        first = await self._fetch_and_hash(parallel)
        if first != self.file.sha256:
            await asyncio.to_thread(self.part.restart)
            second = await self._fetch_and_hash(parallel)
            if second != self.file.sha256:
                self.part.paths.remove()
                raise self._hopeless(first, second)
        await asyncio.to_thread(self.part.publish, destination)
        await asyncio.to_thread(sync_directory, destination.parent)

    async def _fetch_and_hash(self, parallel: int) -> str | None:
        """Fetch all missing chunks; the hash of the part file, or None if there is none to compare with."""
        self._todo.extend(self.part.missing())
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(parallel, len(self._todo))):
                    group.create_task(self._work())
        except BaseExceptionGroup as group_error:
            raise group_error.exceptions[0] from None
        if self.file.sha256 is None:
            return None
        actual = await asyncio.to_thread(self.part.sha256)
        if actual != self.file.sha256:
            self.emit("download_mismatch", file=self.file.path, expected=self.file.sha256, actual=actual)
        return actual

    async def _work(self) -> None:
        while self._todo:
            await self._chunk(self._todo.popleft())

    async def _chunk(self, chunk: int) -> None:
        """Fetch one chunk, with as many tries as allowed."""
        for failures in range(1, self.retry.attempts + 1):
            began = time.monotonic()
            try:
                data = await self._receive(chunk)
            except TransientError as error:
                await self._wait(chunk, failures, error)
                continue
            await asyncio.to_thread(self._store, chunk, data)
            self.emit(
                "chunk_downloaded",
                file=self.file.path,
                chunk=chunk,
                bytes=len(data),
                seconds=round(time.monotonic() - began, 3),
                done=len(self.part.done),
                total=self.part.count,
                unit="chunk",
            )
            return

    def _store(self, chunk: int, data: bytearray) -> None:
        self.part.write(chunk, data)
        if self.file.sha256:
            self.part.hash_on()

    async def _receive(self, chunk: int) -> bytearray:
        start, end = self.part.span(chunk)
        data = bytearray()
        async with self.source.range(self.file, start, end) as blocks:
            async for block in blocks:
                if self.limiter:
                    await self.limiter.acquire(len(block))
                self.received += len(block)
                data += block
        if len(data) != end - start:
            raise TransientError("truncated", f"{len(data)} of {end - start} bytes")
        return data

    async def _wait(self, chunk: int, failures: int, error: TransientError) -> None:
        if failures == self.retry.attempts:
            start, end = self.part.span(chunk)
            raise UnreachableError(
                f"{self.file.path}: bytes {start}-{end - 1} could not be had in {failures} tries, the last "
                f"one {error}",
                hint="continue later; finished chunks are kept",
            )
        wait = self.retry.wait(failures) if error.wait is None else error.wait
        self.retries += 1
        self.emit(
            "download_retry",
            file=self.file.path,
            chunk=chunk,
            reason=error.reason,
            attempt=failures,
            wait=round(wait, 3),
        )
        await asyncio.sleep(wait)

    def _hopeless(self, first: str | None, second: str | None) -> DamagedFileError:
        same = (
            "twice the same, so the Hub has other bytes than it states"
            if first == second
            else "and different each time, so the connection damages bytes"
        )
        return DamagedFileError(
            f"{self.file.path}: sha256 is {second}, not {self.file.sha256}; {same}",
            hint="replace the episode, or report it to the dataset's owners" if first == second else "",
        )


async def _stated_hash(source: Source, file: RemoteFile, retry: Retry) -> str | None:
    for failures in range(1, retry.attempts + 1):
        try:
            return await source.sha256(file.path)
        except TransientError as error:
            if failures == retry.attempts:
                raise UnreachableError(f"{file.path} cannot be resolved: {error}") from None
            await asyncio.sleep(retry.wait(failures) if error.wait is None else error.wait)
    return None


def _finished(file: RemoteFile, destination: Path) -> bool:
    """Whether `destination` already holds the file; without a hash, its size and no part file must do."""
    if destination.is_symlink():
        raise UsageError(f"{destination} is a symbolic link", hint="remove it; the relay never follows one")
    try:
        if destination.stat().st_size != file.size:
            return False
    except FileNotFoundError:
        return False
    if file.sha256 is None:
        return not temporaries(destination).part.exists()
    with destination.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256


async def _unless(cancel: Cancel | None, work: Coroutine[Any, Any, None]) -> None:
    """Run `work`, and stop it soon after `cancel` is set."""
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=0.1))[0]:
            if cancel and cancel.is_set():
                raise CancelledByOperatorError("download stopped as asked", hint="finished chunks are kept")
    finally:
        task.cancel()
        await asyncio.wait({task})
    task.result()
