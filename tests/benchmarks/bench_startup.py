"""CPU that an operator waits for: a headless verb, against a bare interpreter and bare typer.

    python tests/benchmarks/bench_startup.py

Aim: `xops run ls --json` <= 200 ms of CPU.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

RUNS = 9


def cpu_ms(command: list[str], cwd: Path) -> float:
    """Median CPU (user and system) of the whole process, in milliseconds."""
    figures = []
    for _ in range(RUNS):
        process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, command
        figures.append((usage.ru_utime + usage.ru_stime) * 1000)
    return statistics.median(figures)


def main() -> None:
    """Print each figure and its ratio to the bare interpreter."""
    with tempfile.TemporaryDirectory() as folder:
        (root := Path(folder)).joinpath("xops.toml").write_text("")
        xops = [sys.executable, "-P", "-m", "console"]
        for _ in range(3):
            subprocess.run([*xops, "run", "new", "demo"], cwd=root, stdout=subprocess.DEVNULL, check=True)
        bare = cpu_ms([sys.executable, "-c", "pass"], root)
        rows = {
            "python -c pass": bare,
            "python -c 'import typer'": cpu_ms([sys.executable, "-c", "import typer"], root),
            "xops run ls --json (3 runs)": cpu_ms([*xops, "run", "ls", "--json"], root),
            "xops run show last --json": cpu_ms([*xops, "run", "show", "last", "--json"], root),
        }
        for name, figure in rows.items():
            print(f"{name:32} {figure:6.0f} ms CPU  {figure / bare:5.1f} x")


if __name__ == "__main__":
    main()
