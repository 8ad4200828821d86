"""How long an operator waits between a start and its hand-off record.

    python tests/benchmarks/bench_launch.py

Prints the median of launching a stage to its hand-off as milliseconds and as a ratio to the cheapest
process this interpreter can start and collect. Aim: at most 150 ms.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.engine.launch import launch
from pipeline.engine.paths import StagePaths

ROUNDS = 15


def milliseconds(act: Callable[[int], object]) -> float:
    """Median wall time of `act(round)`."""
    taken = []
    for number in range(ROUNDS):
        begun = time.perf_counter()
        act(number)
        taken.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(taken)


def main() -> None:
    """Measure both and print one line."""
    with tempfile.TemporaryDirectory() as folder:
        stages = Path(folder) / "runs" / "bench" / "stages"
        bare = milliseconds(lambda _: subprocess.Popen([sys.executable, "-S", "-c", "pass"]).wait())
        handed = milliseconds(lambda n: launch(StagePaths(stages / f"s{n}"), ["/bin/true"], grace_s=5))
        deadline = time.monotonic() + 30
        while len(list(stages.glob("*/attempts/0001/exit.json"))) < ROUNDS and time.monotonic() < deadline:
            time.sleep(0.05)  # the directory may go only when no supervisor writes to it any more
    print(f"launch to hand-off {handed:.1f} ms = {handed / bare:.1f} x a bare interpreter ({bare:.1f} ms)")


if __name__ == "__main__":
    main()
