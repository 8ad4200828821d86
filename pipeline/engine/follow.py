"""Following many logs live: what changed since the last look, again and again.

`stat` is the truth: it works on every file system, while change notification does not (network mounts).
A look at an unchanged file costs a few microseconds, so all unfinished logs are looked at five times a
second as long as there are no more than `FAST_LOGS` of them; more logs share the same number of looks.
Finished logs, and directories (for new logs), are looked at less often.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from pipeline.engine.store import Log, Store

#: Seconds between looks at a log that may still grow.
TICK_S = 0.2

#: So many unfinished logs are looked at every tick; twice as many every second tick, and so on.
FAST_LOGS = 256

FINISHED_S = 2.0
DISCOVERY_S = 1.0
REMEMBER_S = 60.0

#: Discovery may take this share of the time.
DISCOVERY_SHARE = 0.02


class Changes(msgspec.Struct, frozen=True):
    """What one look found.

    Attributes:
        changed: logs whose view differs from before.
        fresh: logs that were not known before; also in `changed`.
        caught_up: everything written so far has been read; False while a long log is still being replayed.
    """

    changed: tuple[Path, ...]
    fresh: tuple[Path, ...]
    caught_up: bool

    def __bool__(self) -> bool:
        return bool(self.changed or self.fresh)


class Follower:
    """Keeps a `Store` up to date.

    `poll` is the whole of it and needs no event loop; `batches` runs it in a worker thread.

    Args:
        roots: directories or files to follow.
        remember: start from snapshots, and write them every minute and at `close`.
        clock: seconds that only grow; tests bring their own.
    """

    def __init__(
        self, roots: Iterable[Path], *, remember: bool = True, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.store = Store(roots, remember=remember)
        self._clock = clock
        self._due: dict[Log, float] = {}
        self._hungry: dict[Log, None] = {}
        self._next_discovery = clock()
        self._next_remember = clock() + REMEMBER_S
        self._unsaved = False

    def poll(self, budget_s: float = 0.05) -> Changes:
        """Look at every log that is due; go on reading for at most about `budget_s` seconds."""
        start = self._clock()
        fresh = self._discover(start)
        changed = dict.fromkeys(fresh)
        due = [*self._hungry, *(log for log, when in self._due.items() if when <= start)]
        pace = TICK_S * max(1.0, self._unfinished() / FAST_LOGS)
        for log in dict.fromkeys(due):
            if self._clock() - start > budget_s:
                self._hungry.setdefault(log)
                continue
            if self._read(log, start + budget_s):
                changed.setdefault(log)
            self._due[log] = start + (FINISHED_S if _finished(log) else pace)
        self._unsaved = self._unsaved or bool(changed)
        if self._unsaved and not self._hungry and start >= self._next_remember:
            self._remember(start)
        return Changes(
            tuple(log.root / log.path for log in changed),
            tuple(log.root / log.path for log in fresh),
            not self._hungry,
        )

    async def batches(self) -> AsyncIterator[Changes]:
        """Changes as they come, for ever; nothing is yielded while nothing changes."""
        while True:
            began = time.monotonic()
            changes = await asyncio.to_thread(self.poll)
            if changes:
                yield changes
            if changes.caught_up:
                await asyncio.sleep(max(0.0, TICK_S - (time.monotonic() - began)))

    def close(self) -> None:
        """Write the snapshots."""
        if self._unsaved:
            self._remember(self._clock())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _discover(self, now: float) -> list[Log]:
        if now < self._next_discovery:
            return []
        fresh = self.store.discover()
        took = self._clock() - now
        self._next_discovery = now + max(DISCOVERY_S, took / DISCOVERY_SHARE)
        for log in fresh:
            self._due[log] = now
        return fresh

    def _read(self, log: Log, deadline: float) -> bool:
        any_change = False
        while True:
            changed, more = self.store.poll(log)
            any_change = any_change or changed
            if not more:
                self._hungry.pop(log, None)
                return any_change
            if self._clock() > deadline:
                self._hungry.setdefault(log)
                return any_change

    def _unfinished(self) -> int:
        return sum(not _finished(log) for log in self._due)

    def _remember(self, now: float) -> None:
        self.store.remember()
        self._unsaved = False
        self._next_remember = now + REMEMBER_S


def _finished(log: Log) -> bool:
    return log.reducer.attempt.terminal != "none"
