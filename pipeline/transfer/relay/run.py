"""Moving a selection through this machine: two lanes over the same batches, bounded by disk.

The download lane fetches files of the current and a few later batches; each file goes to the transfer lane as
soon as it is whole. A batch is done when every file of it was read back right on the destination; only then
does it leave this disk. What is done follows from the destination itself and from the sender's ledger, so a
relay may be killed at any moment and simply run again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from pipeline.engine.errors import (
    CancelledByOperatorError,
    DamagedFileError,
    DiskFullError,
    NotFoundError,
    UnreachableError,
)
from pipeline.engine.log import Emit
from pipeline.hub.download import Source, fetch
from pipeline.hub.names import place
from pipeline.hub.types import Batch, RemoteFile
from pipeline.transfer.errors import SourceDamagedError
from pipeline.transfer.outgoing import Outgoing
from pipeline.transfer.relay.pace import Pace
from pipeline.transfer.relay.space import Space
from pipeline.transfer.sender import Cancel, Sender

#: Held while anything writes below a relay root.
LOCK = ".xops-relay.lock"
#: Times a file is fetched again because the relay's own copy went bad.
_REFETCHES = 2
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 300.0

#: Sends files; `Sender.send`, or rsync followed by it.
Send = Callable[[Sequence[Outgoing], Path], Awaitable[Any]]


class Failure(Struct, frozen=True):
    """A file that could not be moved, with the reason; the relay went on with the others."""

    path: str
    reason: str


class Relay:
    """One relay of some batches.

    Args:
        batches: all of them, in order.
        source: where files come from.
        sender: open on the destination.
        space: the relay's disk.
        pace: pauses and rates of both lanes.
        emit: the events of docs/formats.md.
        cancel: stops both lanes; what was reached stays.
        send: how files are sent; the sender's own way by default.
        prefetch: batches that may be downloaded ahead.
        delete: remove a batch here once it is proved there.
        parallel_files, parallel_chunks: downloads at a time, and ranges of a file.
    """

    def __init__(
        self,
        batches: Sequence[Batch],
        *,
        source: Source,
        sender: Sender,
        space: Space,
        pace: Pace,
        emit: Emit,
        cancel: Cancel,
        send: Send | None = None,
        prefetch: int = 1,
        delete: bool = True,
        parallel_files: int = 4,
        parallel_chunks: int = 4,
    ) -> None:
        self._batches = batches
        self._source = source
        self._sender = sender
        self._space = space
        self._pace = pace
        self._emit = emit
        self._cancel = cancel
        self._send = send or sender.send
        self._delete = delete
        self._parallel_chunks = parallel_chunks
        self._downloads = asyncio.Semaphore(parallel_files)
        self._ahead = asyncio.Semaphore(prefetch + 1)
        self._done = 0
        self.failures: list[Failure] = []
        self._promised: dict[str, int] = {}

    async def run(self, proved: frozenset[str]) -> list[Failure]:
        """Move everything that is not `proved` on the destination yet.

        Returns:
            Files that could not be moved; the gate names them too.

        Raises:
            CancelledByOperatorError: `cancel` was set.
            NoPermissionError: the Hub refuses the account, or the destination the key.
            RefusedPathError, DestinationError: see `Sender.send`.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for batch in self._batches:
                    await self._until_turn()
                    group.create_task(self._batch(batch, proved))
        except BaseExceptionGroup as errors:
            raise _first(errors) from None
        return self.failures

    async def _until_turn(self) -> None:
        """Wait until another batch may be begun; a failure elsewhere cancels this wait."""
        await self._ahead.acquire()

    async def _batch(self, batch: Batch, proved: frozenset[str]) -> None:
        """Both lanes of one batch."""
        missing = [file for file in batch.files if file.path not in proved]
        began = self._pace.clock()
        try:
            if missing:
                await self._move(batch, missing)
            self._validated(batch, missing, began)
        finally:
            self._ahead.release()

    async def _move(self, batch: Batch, missing: Sequence[RemoteFile]) -> None:
        size = sum(file.size for file in missing)
        promised = {file.path: self._space.to_come(file.path, file.size) for file in missing}
        await self._unless_cancelled(self._space.admit(sum(promised.values()), batch=batch.number))
        self._promised |= promised
        self._emit("batch_download_start", batch=batch.number, files=len(missing), bytes=size)
        left = len(missing)
        began = self._pace.clock()
        transfer_began = False

        async def one(file: RemoteFile) -> None:
            nonlocal left, transfer_began
            if not await self._fetched(file, batch.number):
                left -= 1
                return
            left -= 1
            if not left:
                seconds = round(self._pace.clock() - began, 3)
                self._emit(
                    "batch_download_done", batch=batch.number, files=len(missing), bytes=size, seconds=seconds
                )
            if not transfer_began:
                transfer_began = True
                self._emit("batch_transfer_start", batch=batch.number, files=len(missing), bytes=size)
            await self._sent(file, batch.number)

        async with asyncio.TaskGroup() as group:
            for file in missing:
                group.create_task(one(file))

    def _validated(self, batch: Batch, moved: Sequence[RemoteFile], began: float) -> None:
        failed = {failure.path for failure in self.failures}
        bad = [file.path for file in batch.files if file.path in failed]
        self._done += 1
        if bad:
            self._emit("batch_failed", batch=batch.number, files=len(bad), first=bad[0])
            return
        self._emit(
            "batch_validated",
            batch=batch.number,
            files=len(batch.files),
            bytes=batch.size,
            seconds=round(self._pace.clock() - began, 3),
        )
        if self._delete and moved:
            self._remove(moved)
            self._emit("batch_deleted", batch=batch.number, bytes=sum(file.size for file in moved))
        self._emit(
            "batch_done", batch=batch.number, done=self._done, total=len(self._batches), unit="batches"
        )

    async def _fetched(self, file: RemoteFile, batch: int) -> bool:
        """Have a file on this disk, whatever it takes; False if the Hub's copy itself is bad."""
        target = place(self._space.root, file.path)
        wait = _FIRST_WAIT_S
        async with self._downloads:
            while True:
                await self._pace.download_turn(self._cancel)
                try:
                    await self._fetch(file, target, batch)
                except DiskFullError as error:
                    await self._unless_cancelled(self._space.wait_for_room(file.size, str(error)))
                except UnreachableError as error:
                    self._emit("paused", side="download", kind="unreachable", reason=str(error))
                    await self._unless_cancelled(asyncio.sleep(wait))
                    wait = min(2 * wait, _LONGEST_WAIT_S)
                    self._emit("continued", side="download")
                except (DamagedFileError, NotFoundError) as error:
                    self._keep_promise(file.path)  # it will not come
                    self._fail(file.path, error)
                    return False
                else:
                    return True

    async def _fetch(self, file: RemoteFile, target: Path, batch: int) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)

        def emit(event: str, **fields: Any) -> None:
            if event == "chunk_downloaded":
                self._pace.downloaded += fields["bytes"]
            self._emit(event, batch=batch, **fields)

        await fetch(
            file,
            target,
            source=self._source,
            emit=emit,
            limiter=self._pace,
            cancel=self._cancel,
            parallel=self._parallel_chunks,
        )
        self._keep_promise(file.path)

    async def _sent(self, file: RemoteFile, batch: int) -> None:
        """Have a file proved on the destination; a copy that went bad here is fetched again."""
        outgoing = Outgoing(file.path, file.size, file.sha256, batch)
        for _ in range(_REFETCHES + 1):
            try:
                await self._send([outgoing], self._space.root)
            except SourceDamagedError as error:
                reason = str(error)
                self._emit("source_damaged", batch=batch, file=file.path, reason=reason)
                place(self._space.root, file.path).unlink(missing_ok=True)
                if not await self._fetched(file, batch):
                    return
            else:
                return
        self._fail(file.path, DamagedFileError(f"{file.path} goes bad on the relay's disk: {reason}"))

    def _keep_promise(self, path: str) -> None:
        """What was let in for a file is on disk now, or will never be; once, however often it is fetched."""
        self._space.arrived(self._promised.pop(path, 0))

    def _fail(self, path: str, error: Exception) -> None:
        self.failures.append(Failure(path, str(error)))
        self._emit("file_failed", file=path, reason=str(error))

    def _remove(self, files: Sequence[RemoteFile]) -> None:
        for file in files:
            path = place(self._space.root, file.path)
            path.unlink(missing_ok=True)
            for folder in path.relative_to(self._space.root).parents:
                with contextlib.suppress(OSError):  # not empty: another file of the episode is still there
                    (self._space.root / folder).rmdir() if folder.name else None

    async def _unless_cancelled(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait({task}, timeout=0.2))[0]:
                if self._cancel.is_set():
                    raise CancelledByOperatorError("relay stopped as asked", hint="what was reached is kept")
            task.result()
        finally:
            task.cancel()


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The reason: the first error that is no consequence of another."""
    found = errors.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found
