"""What following 200 logs costs while nothing happens, and how soon an event is seen.

    python tests/benchmarks/bench_follow.py [SECONDS]

The aims are idle <= 1 % of a core and latency p95 <= 300 ms. Exits with an error only if an event is lost.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import tempfile
import time
from pathlib import Path

from event_tree import make_tree

from pipeline.engine.follow import Follower

EVENTS = 200


async def main(seconds: float) -> int:
    """Run the benchmark; 1 if an event was not seen."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        make_tree(root, 200, 20_000)
        files = sorted(root.rglob("*.jsonl"))
        with Follower([root], remember=False) as follower:
            seen: asyncio.Queue[float] = asyncio.Queue()
            watching = asyncio.create_task(watch(follower, seen))
            await asyncio.sleep(3)
            began, cpu = time.perf_counter(), time.process_time()
            await asyncio.sleep(seconds)
            idle = (time.process_time() - cpu) / (time.perf_counter() - began)
            delays = await latencies(files, seen, seconds / EVENTS)
            watching.cancel()
    delays.sort()
    print(f"idle, 200 files   {idle * 100:5.2f} % of a core  (aim 1)")
    print(f"latency p50       {delays[len(delays) // 2] * 1e3:5.0f} ms")
    print(f"latency p95       {delays[int(len(delays) * 0.95)] * 1e3:5.0f} ms         (aim 300)")
    return int(len(delays) != EVENTS)


async def watch(follower: Follower, seen: asyncio.Queue[float]) -> None:
    """Tell the time of every batch of changes."""
    async for _ in follower.batches():
        seen.put_nowait(time.perf_counter())


async def latencies(files: list[Path], seen: asyncio.Queue[float], pause: float) -> list[float]:
    """Seconds from writing an event to the batch that holds it, one event at a time, unfinished logs only."""
    pick = random.Random(1)
    growing = [path for path in files if b'"complete"' not in path.read_bytes()]
    found = []
    while not seen.empty():
        seen.get_nowait()
    for _ in range(EVENTS):
        await asyncio.sleep(pick.random() * 2 * pause)
        with pick.choice(growing).open("ab") as file:
            file.write(json.dumps({"event": "train_step", "timestamp": time.time()}).encode() + b"\n")
        written = time.perf_counter()
        found.append(await asyncio.wait_for(seen.get(), 60) - written)
    return found


if __name__ == "__main__":
    sys.exit(asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 20.0)))
