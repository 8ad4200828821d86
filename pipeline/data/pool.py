"""One function over many episodes in several processes, where any episode may kill its process.

HDF5 and MP4 libraries can crash or hang on damaged files and file systems. Only as many episodes are handed
out as there are workers, so when a process dies or overstays, the few in work are known: each is repeated
alone at the end, and only the guilty one fails.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Generic, TypeVar

from msgspec import Struct

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Seconds between two looks at whether the work was cancelled, that an idle worker gets to end by itself,
#: and that one item may take.
POLL_S, GRACE_S, LIMIT_S = 0.5, 1.0, 900.0

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
    limit_s: float = LIMIT_S,
    check_cancelled: Callable[[], None] = lambda: None,
) -> Iterator[Outcome[Item, Result]]:
    """Apply `function` to every item, in processes; yields each outcome as soon as it is known.

    Args:
        function: importable, and so are its arguments and results; what it raises becomes an error outcome.
        items: what to work on; each yields exactly one outcome.
        workers: processes; 0 takes one per core.
        limit_s: longest time one item may take.
        check_cancelled: called about twice a second; whatever it raises stops all workers.
    """
    queue, suspects = deque(items), list[Item]()
    workers = max(1, min(workers or default_workers(), len(items)))
    while queue:
        for item, outcome in _attempt(function, queue, workers, limit_s, check_cancelled):
            if outcome is None:
                suspects.append(item)
            else:
                yield outcome
    for item in suspects:
        ((_, outcome),) = _attempt(function, deque([item]), 1, limit_s, check_cancelled)
        yield outcome or Outcome(item, None, f"its process died, or took longer than {limit_s:g} s")


def _attempt(
    function: Callable[[Item], Result],
    queue: deque[Item],
    workers: int,
    limit_s: float,
    check_cancelled: Callable[[], None],
) -> Iterator[tuple[Item, Outcome[Item, Result] | None]]:
    """Work off `queue` in one pool; if it breaks, items in work yield None and the rest stays queued."""
    context = multiprocessing.get_context("forkserver")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_initialise)
    working: dict[Future[Result], tuple[Item, float]] = {}
    try:
        while queue or working:
            check_cancelled()
            while queue and len(working) < workers:
                future = pool.submit(function, queue[0])
                working[future] = (queue.popleft(), time.monotonic())
            done, _ = wait(working, timeout=POLL_S, return_when=FIRST_COMPLETED)
            late = min(begun for _, begun in working.values()) < time.monotonic() - limit_s
            if (late and not done) or any(
                isinstance(future.exception(), BrokenProcessPool) for future in done
            ):
                yield from ((item, None) for item, _ in working.values())
                return
            for future in done:
                item, _ = working.pop(future)
                yield item, _outcome(item, future)
    except BrokenProcessPool:  # a worker died between two submissions
        yield from ((item, None) for item, _ in working.values())
    finally:
        _stop(pool)


def _outcome(item: Item, future: Future[Result]) -> Outcome[Item, Result]:
    error = future.exception()
    return (
        Outcome(item, None, f"{type(error).__name__}: {error}") if error else Outcome(item, future.result())
    )


def _stop(pool: ProcessPoolExecutor) -> None:
    """End the pool without waiting for work nobody wants any more."""
    processes = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.join(timeout=GRACE_S)
        if process.is_alive():
            process.kill()


def _initialise() -> None:
    """A worker leaves signals to the stage and dies with it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
