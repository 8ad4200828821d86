"""One function over many episodes in several processes, where any episode may kill its process.

HDF5 and MP4 libraries can crash on damaged files. A crash takes the pool down; the episodes that were in
work are then repeated one at a time, each in a process of its own, so that only the guilty one fails.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Generic, TypeVar

from msgspec import Struct

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Seconds between two looks at whether the work was cancelled.
POLL_S = 0.5

_PR_SET_PDEATHSIG = 1


class Outcome(Struct, Generic[Item, Result], frozen=True):
    """What became of one item: a result, or the reason why there is none."""

    item: Item
    result: Result | None
    error: str = ""


def default_workers() -> int:
    """One process per core this process may use."""
    return len(os.sched_getaffinity(0))


def run_pool(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    workers: int = 0,
    check_cancelled: Callable[[], None] = lambda: None,
) -> Iterator[Outcome[Item, Result]]:
    """Apply `function` to every item, in processes; yields each outcome as soon as it is known.

    Args:
        function: importable, and so are its arguments and results; what it raises becomes an error outcome.
        items: what to work on; each yields exactly one outcome.
        workers: processes; 0 takes one per core.
        check_cancelled: called about twice a second; whatever it raises stops all workers.
    """
    workers = max(1, min(workers or default_workers(), len(items)))
    suspects: list[Item] = []
    for item, outcome in _attempt(function, items, workers, check_cancelled):
        if outcome is None:
            suspects.append(item)
        else:
            yield outcome
    for item in suspects:
        ((_, outcome),) = _attempt(function, [item], 1, check_cancelled)
        yield outcome or Outcome(item, None, "the process that read it died")


def _attempt(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
    check_cancelled: Callable[[], None],
) -> Iterator[tuple[Item, Outcome[Item, Result] | None]]:
    """Outcomes by item; None for those whose pool died before they were done."""
    context = multiprocessing.get_context("forkserver")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_initialise)
    try:
        futures: dict[Future[Result], Item] = {}
        for item in items:
            try:
                futures[pool.submit(function, item)] = item
            except BrokenProcessPool:  # an earlier item has already brought it down
                yield item, None
        waiting = set(futures)
        while waiting:
            check_cancelled()
            done, waiting = wait(waiting, timeout=POLL_S, return_when=FIRST_COMPLETED)
            for future in done:
                yield futures[future], _outcome(futures[future], future)
    finally:
        _stop(pool)


def _outcome(item: Item, future: Future[Result]) -> Outcome[Item, Result] | None:
    try:
        return Outcome(item, future.result())
    except BrokenProcessPool:
        return None
    except Exception as error:  # noqa: BLE001 - the process boundary: what a worker raised becomes a record
        return Outcome(item, None, f"{type(error).__name__}: {error}")


def _stop(pool: ProcessPoolExecutor) -> None:
    """End the pool without waiting for work nobody wants any more."""
    processes = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.join(timeout=1)
        if process.is_alive():
            process.kill()


def _initialise() -> None:
    """A worker leaves signals to the stage and dies with it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
