"""Connections to one destination, and the jobs they share.

A lane is one connection, because TCP connections are the unit of parallelism. Any lane may do any job; a
lane that breaks gives its jobs back and connects again, with growing waits, while the others go on.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable

from pipeline.engine.errors import XopsError
from pipeline.engine.log import Emit
from pipeline.transfer.errors import (
    DestinationFullError,
    HostKeyError,
    LaneLostError,
    LoginRefusedError,
    RefusedPathError,
)
from pipeline.transfer.remote import Remote

#: Bytes a lane may have on the way before it takes another job: one chunk travels while the next is read.
IN_FLIGHT = 8 << 20
#: Small jobs a lane may have on the way.
JOBS_IN_FLIGHT = 32
#: A lane that waits for an answer so long without a byte moving is given up.
STALL_S = 60.0
_LONGEST_WAIT_S = 60.0
_FULL_WAIT_S = 5.0

Open = Callable[[], Awaitable[Remote]]


class Job:
    """Something a lane does.

    Args:
        run: does it; raising LaneLostError gives it to another lane.
        fail: told when it cannot be done at all.
        cost: bytes it sends.
        needs: bytes that must be free on the destination before it is tried again after the disk was full.
    """

    __slots__ = ("cost", "fail", "needs", "run")

    def __init__(
        self,
        run: Callable[[Remote, int], Awaitable[None]],
        fail: Callable[[Exception], None],
        *,
        cost: int = 0,
        needs: int = 0,
    ) -> None:
        self.run = run
        self.fail = fail
        self.cost = cost
        self.needs = max(needs, cost, 1 << 20)


class Lanes:
    """A changing number of lanes and one queue.

    Args:
        open_remote: connects; called by every lane for itself.
        emit: `lane_up`, `lane_lost`, `paused`, `continued`.

    Attributes:
        fatal: resolved with the reason when no lane can ever work: login or host key refused, no such root.
    """

    def __init__(self, open_remote: Open, emit: Emit) -> None:
        self._open = open_remote
        self._emit = emit
        self._jobs: deque[Job] = deque()
        self._wake = asyncio.Condition()
        self._lanes: dict[int, asyncio.Task[None]] = {}
        self._remotes: dict[int, Remote] = {}
        self._wanted = 0
        self._paused = False
        self._full = ""
        self._down = False
        self.fatal: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def up(self) -> int:
        """Lanes that are connected."""
        return len(self._remotes)

    @property
    def waiting(self) -> int:
        """Jobs that no lane has taken yet."""
        return len(self._jobs)

    def add(self, job: Job, *, first: bool = False) -> None:
        """Queue a job."""
        if first:
            self._jobs.appendleft(job)
        else:
            self._jobs.append(job)
        self._notify()

    def resize(self, lanes: int) -> None:
        """Have so many lanes; those beyond finish what they have begun, then leave."""
        self._wanted = lanes
        for number in range(lanes):
            task = self._lanes.get(number)
            if task is None or task.done():
                self._lanes[number] = asyncio.create_task(self._lane(number))
        self._notify()

    def pause(self, paused: bool) -> None:
        """Take no more jobs for now; what is on the way arrives."""
        self._paused = paused
        self._notify()

    async def any(self) -> tuple[int, Remote]:
        """A connected lane, for a question; waits until there is one."""
        async with self._wake:
            await self._wake.wait_for(lambda: self._remotes)
            number = min(self._remotes)
            return number, self._remotes[number]

    async def close(self) -> None:
        """Break off all lanes; jobs on the way are dropped."""
        for task in self._lanes.values():
            task.cancel()
        await asyncio.gather(*self._lanes.values(), return_exceptions=True)
        if self.fatal.done() and not self.fatal.cancelled():
            self.fatal.exception()

    async def _lane(self, number: int) -> None:
        """Connect, work, connect again; a defect ends the whole transfer instead of one lane in silence."""
        try:
            await self._live(number)
        except Exception as error:  # noqa: BLE001 - whoever waits for the transfer is told, whatever it was
            self._give_up(error)

    async def _live(self, number: int) -> None:
        failures = 0
        while number < self._wanted:
            try:
                remote = await self._open()
            except (HostKeyError, LoginRefusedError, RefusedPathError) as error:
                self._give_up(error)
                return
            except XopsError as error:
                failures += 1
                await self._lost(number, error, failures)
                continue
            failures = 0
            self._remotes[number] = remote
            self._emit("lane_up", lane=number, kind=remote.kind)
            if self._down:
                self._down = False
                self._emit("continued", side="transfer")
            self._notify()
            try:
                await self._work(number, remote)
            except LaneLostError as error:
                failures += 1
                del self._remotes[number]
                remote.abort()
                await self._lost(number, error, failures)
            finally:
                if self._remotes.pop(number, None) is not None:
                    remote.abort()

    async def _lost(self, number: int, error: XopsError, failures: int) -> None:
        """Say so, and wait before the next try."""
        wait = random.uniform(0.1, min(_LONGEST_WAIT_S, 0.5 * 2**failures))
        self._emit("lane_lost", lane=number, error=str(error), retry_in=round(wait, 2))
        if not self._remotes and not self._down and failures > 1:
            self._down = True
            self._emit("paused", side="transfer", kind="unreachable", reason=str(error))
        await asyncio.sleep(wait)

    def _give_up(self, error: Exception) -> None:
        if not self.fatal.done():
            self.fatal.set_exception(error)

    async def _work(self, number: int, remote: Remote) -> None:
        """Take jobs while there is room for them on this lane; raise LaneLostError when it breaks."""
        running: dict[asyncio.Task[None], Job] = {}
        try:
            while True:
                self._collect(running)
                if number >= self._wanted and not running:
                    return
                job = self._take(number, running)
                if job is not None:
                    running[asyncio.create_task(self._do(job, remote, number))] = job
                    continue
                if remote.quiet_for() > STALL_S:
                    raise LaneLostError(f"nothing moved for {STALL_S:.0f} s")
                await self._until_something(running)
        finally:
            for task, job in running.items():
                task.cancel()
                if not task.done() or task.cancelled() or task.exception():
                    self.add(job, first=True)
            await asyncio.gather(*running, return_exceptions=True)

    def _collect(self, running: dict[asyncio.Task[None], Job]) -> None:
        """Forget finished jobs; a broken lane ends here, with its jobs given back by the caller."""
        for task in [task for task in running if task.done()]:
            task.result()  # raises LaneLostError: the only error `_do` lets through
            del running[task]

    def _take(self, number: int, running: dict[asyncio.Task[None], Job]) -> Job | None:
        on_the_way = sum(job.cost for job in running.values())
        free = not running or (on_the_way < IN_FLIGHT and len(running) < JOBS_IN_FLIGHT)
        if self._paused or self._full or not self._jobs or not free or number >= self._wanted:
            return None
        return self._jobs.popleft()

    async def _until_something(self, running: dict[asyncio.Task[None], Job]) -> None:
        """Wait until a job ends, one is added, or a while has passed."""
        notified = asyncio.create_task(self._notified())
        try:
            await asyncio.wait({notified, *running}, timeout=5.0, return_when=asyncio.FIRST_COMPLETED)
        finally:
            notified.cancel()

    async def _notified(self) -> None:
        async with self._wake:
            await self._wake.wait()

    def _notify(self) -> None:
        async def tell() -> None:
            async with self._wake:
                self._wake.notify_all()

        self._telling = asyncio.ensure_future(tell())

    async def _do(self, job: Job, remote: Remote, number: int) -> None:
        try:
            await job.run(remote, number)
        except LaneLostError:
            raise
        except DestinationFullError as error:
            await self._wait_for_room(remote, job.needs, error)
            self.add(job, first=True)
        except Exception as error:  # noqa: BLE001 - whoever waits for the job is told, whatever it was
            job.fail(error)

    async def _wait_for_room(self, remote: Remote, size: int, error: DestinationFullError) -> None:
        """Stop all lanes until the destination has room again; the first lane to see it watches."""
        if self._full:
            return
        self._full = str(error)
        self._emit("paused", side="transfer", kind="disk full", reason=str(error))
        wait = _FULL_WAIT_S / 10
        try:
            while True:
                await asyncio.sleep(wait)
                wait = min(2 * wait, _FULL_WAIT_S)
                if (await remote.room()).bytes >= size:
                    break
        finally:
            self._full = ""
            self._notify()
        self._emit("continued", side="transfer")
