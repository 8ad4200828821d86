"""Sending files to a host: every chunk once, every file proved by reading it back there.

A file is written as a part, chunk by chunk, by whatever lane is free; it gets its name when the hash of what
lies on the destination's disk is the expected one. What an earlier attempt left there is hashed in place and
compared with the local file, so nothing that arrived is sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeVar

from pipeline.engine.errors import CancelledByOperatorError
from pipeline.engine.log import Emit
from pipeline.transfer.delivered import Ledger
from pipeline.transfer.errors import DestinationError, LaneLostError, SourceDamagedError
from pipeline.transfer.lanes import Job, Lanes
from pipeline.transfer.limits import Bucket, Climber, Limits
from pipeline.transfer.open_remote import Mode, Opener
from pipeline.transfer.outgoing import Delivered, Outgoing, Parcel
from pipeline.transfer.remote import HOLE, Entry, Proof, Remote, Room, Seen, check_path
from pipeline.transfer.ssh import SshTarget

CHUNK = 8 << 20
#: Times a chunk may arrive damaged before the destination's disk is to blame.
MOST_ATTEMPTS = 5
#: Bytes that arrive in order before the destination is asked to hash on.
_AHEAD = 64 << 20
_LOOK_S = 2.0
_PATHS = 200

T = TypeVar("T")


class Cancel(Protocol):
    """Asks to stop; `threading.Event`, `asyncio.Event` and the stage's flag all fit."""

    def is_set(self) -> bool:
        """Whether to stop."""


class Sender:
    """Lanes to one host and directory, open for as long as this context is.

    Args:
        target: the host.
        root: directory there; made if missing.
        work: local directory for what is remembered between attempts.
        emit: gets `file_start`, `chunk_done`, `chunk_failed`, `file_done`, and the lanes' events.
        limits: how hard to work; `change` alters them at any time.
        chunk_bytes: size of a chunk.
        threshold: files up to this size go in one exchange; a chunk by default.
        mode: how lanes write there; `auto` takes the best that works.
        cancel: stops `send`; parts stay for the next attempt.

    Attributes:
        moved: bytes acknowledged since it was opened.
        ledger: what was proved there, now and in earlier attempts.
    """

    def __init__(
        self,
        target: SshTarget,
        root: str,
        *,
        work: Path,
        emit: Emit,
        limits: Limits | None = None,
        chunk_bytes: int = CHUNK,
        threshold: int | None = None,
        mode: Mode = "auto",
        cancel: Cancel | None = None,
    ) -> None:
        self.target = target
        self.root = root
        self.moved = 0
        self._emit = emit
        self._limits = limits or Limits()
        self._chunk_bytes = chunk_bytes
        self._threshold = min(chunk_bytes if threshold is None else threshold, chunk_bytes)
        self._cancel = cancel
        self._bucket = Bucket(self._limits.bandwidth)
        self._open = Opener(target, root, mode=mode, throttle=self._bucket.acquire)
        self._climber = Climber()
        self.ledger = Ledger(work / "delivered.jsonl")
        self._parcels: dict[str, Parcel] = {}
        self._hashers: dict[str, Remote] = {}
        self._lanes: Lanes
        self._steering: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Sender:
        self._lanes = Lanes(self._open, self._emit)
        self._lanes.pause(self._limits.paused)
        self._lanes.resize(self._first_lanes())
        self._steering = asyncio.create_task(self._steer())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._steering:
            self._steering.cancel()
        await self._lanes.close()
        self.ledger.close()

    @property
    def limits(self) -> Limits:
        """The limits in force."""
        return self._limits

    @property
    def waiting(self) -> int:
        """Jobs no lane has taken yet: whether the link holds the transfer up."""
        return self._lanes.waiting

    @property
    def lanes(self) -> int:
        """Connected lanes."""
        return self._lanes.up

    def change(self, limits: Limits) -> None:
        """Work under other limits from now on."""
        self._limits = limits
        self._bucket.rate = limits.bandwidth
        self._lanes.pause(limits.paused)
        wanted = min(self._climber.lanes, limits.lanes) if limits.adaptive else limits.lanes
        self._lanes.resize(max(1, wanted))

    def retry(self, path: str, chunk: int | None = None) -> bool:
        """Send a chunk of a file again, or all that is missing of it; False if it is not being sent."""
        parcel = self._parcels.get(path)
        if parcel is None or parcel.done.done():
            return False
        chunks = sorted(parcel.missing) if chunk is None else [chunk]
        for number in chunks:
            if 0 <= number < parcel.chunks:
                parcel.attempts.pop(number, None)
                if number not in parcel.missing:
                    parcel.missing.add(number)
                    self._add_chunk(parcel, number, first=True)
        return True

    async def room(self) -> Room:
        """Free space below the destination root."""
        return await self._ask(lambda remote: remote.room())

    async def seen(self, paths: Sequence[str]) -> list[Seen]:
        """What lies on the destination under these names."""
        found: list[Seen] = []
        for start in range(0, len(paths), _PATHS):
            group = paths[start : start + _PATHS]
            found += await self._ask(partial(_seen, group))
        return found

    async def tree(self) -> list[tuple[str, Entry]]:
        """Everything below the destination root that is no directory, by path; links are not followed."""
        found: list[tuple[str, Entry]] = []
        waiting = [""]
        while waiting:
            directory = waiting.pop()
            entries = await self._ask(partial(_entries, directory))
            paths = [f"{directory}/{entry.name}".lstrip("/") for entry in entries]
            waiting += [path for path, entry in zip(paths, entries, strict=True) if entry.kind == "directory"]
            found += [item for item in zip(paths, entries, strict=True) if item[1].kind != "directory"]
        return sorted(found)

    async def ask_job(self, question: Callable[[Remote], Awaitable[T]]) -> T:
        """Have any free lane answer, in its turn among the jobs; asked again if the lane breaks."""
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        async def run(remote: Remote, _: int) -> None:
            found = await question(remote)
            if not answer.done():
                answer.set_result(found)

        def fail(error: Exception) -> None:
            if not answer.done():
                answer.set_exception(error)

        self._lanes.add(Job(run, fail))
        return await self._unless_stopped(answer)

    async def send(self, files: Sequence[Outgoing], source: Path) -> list[Delivered]:
        """Send files from `source`; returns when each lies proved under its name.

        May be called again, also while another call is running.

        Raises:
            RefusedPathError: a name may not be written there, or something is in its way.
            SourceDamagedError: a local file is not what it should be.
            HostKeyError, LoginRefusedError: no connection will ever be possible.
            DestinationError: the destination's system refuses, or damages what is written.
            CancelledByOperatorError: `cancel` was set; what has arrived stays for the next attempt.

        A lost host or a full disk there raise nothing: they are waited for, with events that say so.
        """
        parcels = [Parcel(file, source, self._chunk_bytes) for file in files if check_path(file.path)]
        for parcel in parcels:
            await asyncio.to_thread(parcel.check_source)
            self._parcels[parcel.path] = parcel
        try:
            there = await self._unless_stopped(asyncio.ensure_future(self.seen([p.path for p in parcels])))
            for parcel, seen in zip(parcels, there, strict=True):
                self._begin(parcel, seen)
            waiting = asyncio.gather(*(parcel.done for parcel in parcels))
            return await self._unless_stopped(waiting)
        finally:
            for parcel in parcels:
                self._parcels.pop(parcel.path, None)
                self._hashers.pop(parcel.path, None)
                if parcel.done.done() and not parcel.done.cancelled():
                    parcel.done.exception()
                else:
                    parcel.done.cancel()

    def _begin(self, parcel: Parcel, seen: Seen) -> None:
        """Queue the first job of a file, by what the destination has of it."""
        known = self.ledger.find(parcel.path)
        if known and seen.size == parcel.size and known.proves(parcel.file, seen.stamp):
            parcel.sha256, parcel.kept = known.sha256, parcel.size
            parcel.missing.clear()
            self._done(parcel)
        elif seen.size == parcel.size and parcel.size:
            self._add(parcel, self._check_published)
        elif seen.part is not None and parcel.size > self._threshold:
            self._add(parcel, self._compare_part)
        else:
            self._add_chunks(parcel)

    def _add(self, parcel: Parcel, run: Callable[[Parcel, Remote, int], Awaitable[None]]) -> None:
        """Queue a job that sends nothing."""
        needs = parcel.size - parcel.kept - parcel.sent

        async def job(remote: Remote, lane: int) -> None:
            if not parcel.done.done():
                await run(parcel, remote, lane)

        self._lanes.add(Job(job, parcel.fail, needs=needs))

    async def _check_published(self, parcel: Parcel, remote: Remote, _: int) -> None:
        """A file of that name and size lies there: it is the right one, or the wrong chunks are sent."""
        await self._know_hash(parcel)
        if await remote.sha256(parcel.path, parcel.size) != parcel.sha256:
            await remote.demote(parcel.path)
            self._add(parcel, self._compare_part)
            return
        parcel.missing.clear()
        parcel.kept = parcel.size
        (seen,) = await remote.seen([parcel.path])
        self._published(parcel, seen.stamp)

    async def _compare_part(self, parcel: Parcel, remote: Remote, _: int) -> None:
        """Hash what lies there and here; chunks that agree need not be sent."""
        there = await remote.hashes(parcel.path, parcel.size, parcel.spans(), final=False)
        here = await asyncio.to_thread(parcel.hash_chunks)
        same = {n for n, (one, other) in enumerate(zip(there, here, strict=True)) if one == other != HOLE}
        parcel.missing -= same
        parcel.kept = sum(parcel.span(chunk).length for chunk in same)
        self._add_chunks(parcel)

    def _add_chunks(self, parcel: Parcel) -> None:
        """Announce the file and queue what is missing of it."""
        self._emit(
            "file_start",
            batch=parcel.file.batch,
            file=parcel.path,
            bytes=parcel.size,
            chunks=parcel.chunks,
            kept=parcel.kept,
        )
        for chunk in range(parcel.chunks):
            if chunk not in parcel.missing:
                self._chunk_event(parcel, chunk, lane=None, seconds=0.0)
        parcel.began = time.monotonic()
        if parcel.size <= self._threshold and not parcel.kept:
            self._lanes.add(
                Job(lambda remote, lane: self._put(parcel, remote, lane), parcel.fail, cost=parcel.size)
            )
        elif not parcel.missing:
            self._add(parcel, self._finish)
        for chunk in sorted(parcel.missing) if parcel.size > self._threshold or parcel.kept else ():
            self._add_chunk(parcel, chunk)

    def _add_chunk(self, parcel: Parcel, chunk: int, *, first: bool = False) -> None:
        needs = parcel.size - parcel.kept - parcel.sent
        job = Job(
            lambda remote, lane: self._write(parcel, chunk, remote, lane),
            parcel.fail,
            cost=parcel.span(chunk).length,
            needs=needs,
        )
        self._lanes.add(job, first=first)

    async def _put(self, parcel: Parcel, remote: Remote, lane: int) -> None:
        """Send a small file whole."""
        if parcel.done.done():
            return
        began = time.monotonic()
        data, digest = await asyncio.to_thread(parcel.read, 0)
        expected = parcel.sha256 or digest.hex()
        if digest.hex() != expected:
            parcel.fail(self._damaged(parcel, digest.hex()))
            return
        proof = await remote.put(parcel.path, data, expected)
        parcel.sha256 = expected
        self._sent(parcel, 0, len(data), lane, began)
        if proof.stamp is None:
            self._failed(parcel, 0, lane, "arrived damaged")
            return
        parcel.missing.clear()
        self._published(parcel, proof.stamp)

    async def _write(self, parcel: Parcel, chunk: int, remote: Remote, lane: int) -> None:
        """Send one chunk."""
        if parcel.done.done() or chunk not in parcel.missing:
            return
        began = time.monotonic()
        data, digest = await asyncio.to_thread(parcel.read, chunk)
        await remote.write(parcel.path, parcel.size, parcel.span(chunk).offset, data, digest)
        self._sent(parcel, chunk, len(data), lane, began)
        parcel.missing.discard(chunk)
        hasher = self._hashers.setdefault(parcel.path, remote)
        if not parcel.missing:
            await self._finish_on(hasher, parcel, lane)
        elif hasher is remote:
            await self._hash_ahead(parcel, remote)

    async def _hash_ahead(self, parcel: Parcel, remote: Remote) -> None:
        """Let the destination hash what has arrived in order: the end then comes soon after the last byte."""
        end = parcel.complete_up_to
        if end - parcel.hashed >= _AHEAD:
            parcel.hashed = end
            with contextlib.suppress(DestinationError):
                await remote.hash_ahead(parcel.path, end)

    async def _finish_on(self, hasher: Remote, parcel: Parcel, lane: int) -> None:
        """Finish on the lane that hashed ahead; on any other when that one is lost."""
        try:
            await self._finish(parcel, hasher, lane)
        except LaneLostError:
            self._hashers.pop(parcel.path, None)
            self._add(parcel, self._finish)

    async def _finish(self, parcel: Parcel, remote: Remote, _: int) -> None:
        """Prove and publish a file all of whose chunks are there."""
        await self._know_hash(parcel)
        proof = await remote.finish(parcel.path, parcel.size, parcel.sha256)
        if proof.stamp is None:
            await self._explain_difference(parcel, remote, proof)
            return
        for other in self._hashers.values():
            if other is not remote:
                other.forget(parcel.path)
        self._published(parcel, proof.stamp)

    async def _explain_difference(self, parcel: Parcel, remote: Remote, proof: Proof) -> None:
        """The whole has a wrong hash: the local file is damaged, or chunks changed and are sent again."""
        self._emit("mismatch", file=parcel.path, chunk=None, expected=parcel.sha256, actual=proof.sha256)
        here = await asyncio.to_thread(parcel.local_sha256)
        if here != parcel.sha256:
            parcel.fail(self._damaged(parcel, here))
            return
        parcel.kept, parcel.hashed = 0, 0
        parcel.missing = set(range(parcel.chunks))
        before = parcel.attempts.get(-1, 0) + 1
        parcel.attempts[-1] = before
        if before > MOST_ATTEMPTS:
            told = f"{self.target.address}: {parcel.path} reads back wrong after {before} tries"
            parcel.fail(DestinationError(told, 5, hint="check the disk there"))
            return
        await self._compare_part(parcel, remote, 0)

    async def _know_hash(self, parcel: Parcel) -> None:
        if not parcel.sha256:
            parcel.sha256 = await asyncio.to_thread(parcel.local_sha256)

    def _damaged(self, parcel: Parcel, actual: str) -> SourceDamagedError:
        return SourceDamagedError(
            f"{parcel.local} has sha256 {actual}, not {parcel.sha256}", parcel.path, hint="fetch it again"
        )

    def _sent(self, parcel: Parcel, chunk: int, size: int, lane: int, began: float) -> None:
        parcel.sent += size
        self.moved += size
        self._chunk_event(parcel, chunk, lane=lane, seconds=time.monotonic() - began)

    def _failed(self, parcel: Parcel, chunk: int, lane: int, error: str) -> None:
        """A chunk has to be sent again."""
        tries = parcel.attempts[chunk] = parcel.attempts.get(chunk, 0) + 1
        self._emit(
            "chunk_failed",
            batch=parcel.file.batch,
            file=parcel.path,
            chunk=chunk,
            lane=lane,
            attempt=tries,
            error=error,
            retry_in=0.0,
        )
        if tries >= MOST_ATTEMPTS:
            told = f"{self.target.address}: {parcel.path} chunk {chunk}: {error}, {tries} times"
            parcel.fail(DestinationError(told, 5, hint="check the disk there"))
        else:
            self._add_chunks(parcel)

    def _chunk_event(self, parcel: Parcel, chunk: int, *, lane: int | None, seconds: float) -> None:
        self._emit(
            "chunk_done",
            batch=parcel.file.batch,
            file=parcel.path,
            chunk=chunk,
            chunks=parcel.chunks,
            bytes=parcel.span(chunk).length,
            seconds=round(seconds, 3),
            lane=lane,
            attempt=parcel.attempts.get(chunk, 0) + 1,
            kept=lane is None,
        )

    def _published(self, parcel: Parcel, stamp: str) -> None:
        self.ledger.add(parcel.record(stamp))
        self._done(parcel)

    def _done(self, parcel: Parcel) -> None:
        if parcel.done.done():
            return
        result = parcel.delivered()
        self._emit("file_done", batch=parcel.file.batch, file=parcel.path, **_fields(result))
        parcel.done.set_result(result)

    async def _ask(self, question: Callable[[Remote], Awaitable[T]]) -> T:
        """Ask any connected lane at once, ahead of all jobs."""
        while True:
            _, remote = await self._unless_stopped(asyncio.ensure_future(self._lanes.any()))
            try:
                return await question(remote)
            except LaneLostError:
                await asyncio.sleep(0.1)

    async def _unless_stopped(self, work: asyncio.Future[T]) -> T:
        """Wait for `work`; stop soon after `cancel` is set, or when no lane can ever work."""
        either: set[asyncio.Future[Any]] = {work, self._lanes.fatal}
        try:
            while not work.done():
                await asyncio.wait(either, timeout=0.2, return_when=asyncio.FIRST_COMPLETED)
                if self._lanes.fatal.done():
                    self._lanes.fatal.result()
                if self._cancel and self._cancel.is_set():
                    raise CancelledByOperatorError("transfer stopped as asked", hint="what arrived is kept")
            return work.result()
        finally:
            work.cancel()

    def _first_lanes(self) -> int:
        most = self._limits.lanes
        return min(self._climber.lanes, most) if self._limits.adaptive else most

    async def _steer(self) -> None:
        """Look at the rate now and then, and at how many lanes it is worth."""
        moved, at, busy = self.moved, time.monotonic(), 0
        while True:
            await asyncio.sleep(_LOOK_S)
            now = time.monotonic()
            rate, moved, at = (self.moved - moved) / (now - at), self.moved, now
            busy = busy + 1 if self._lanes.waiting else 0
            if not self._limits.adaptive or self._limits.paused or self._limits.bandwidth or busy < 2:
                continue
            before = self._climber.lanes
            after = self._climber.learn(rate, self._limits.lanes)
            if after != before:
                self._lanes.resize(after)
                self._emit("lanes", lanes=after, reason=f"{rate / 1e6:.1f} MB/s with {before}")


async def _seen(paths: Sequence[str], remote: Remote) -> list[Seen]:
    return await remote.seen(paths)


async def _entries(directory: str, remote: Remote) -> list[Entry]:
    return await remote.entries(directory)


def _fields(result: Delivered) -> dict[str, Any]:
    return {
        "bytes": result.size,
        "sha256": result.sha256,
        "seconds": result.seconds,
        "sent": result.sent,
        "kept": result.kept,
    }
