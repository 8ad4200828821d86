"""What the console costs beside stock Textual widgets, in one run on one machine.

    python tests/benchmarks/bench_tui.py [--seconds N] [--stall N] [ROW ...]

Rows: paint, dashboard, idle, keys, stall, rows. Each prints stock, ours and the aim. Bytes are exact; times
and shares of a core depend on what else the machine does, so read the two columns against each other.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "screens"))

from pseudo_terminal import Terminal

PROGRAMS = str(Path(__file__).with_name("tui_programs.py"))
KINDS = ("stock", "ours")


class Load(NamedTuple):
    """What a program did in a while: bytes and share of a core per second, memory in MB."""

    bytes_per_s: float
    core: float
    memory: float


def start(
    kind: str,
    scene: str,
    *arguments: str,
    columns: int = 160,
    rows: int = 48,
    rate: float | None = None,
    emulate: bool = False,
) -> Terminal:
    """Start a scene and wait until it has painted."""
    argv = [sys.executable, PROGRAMS, kind, scene, *arguments]
    terminal = Terminal(argv, columns=columns, rows=rows, emulate=emulate)
    assert terminal.pump(120, lambda: b"painted" in terminal.data, rate=rate), "it never painted"
    return terminal


def load(terminal: Terminal, seconds: float) -> Load:
    """Measure a running program, after two seconds of getting used to it."""
    terminal.pump(2.0)
    process = psutil.Process(terminal.process.pid)
    sent, cpu, begun = len(terminal.data), sum(process.cpu_times()[:2]), time.monotonic()
    terminal.pump(seconds)
    spent = time.monotonic() - begun
    used = sum(process.cpu_times()[:2]) - cpu
    return Load((len(terminal.data) - sent) / spent, used / spent, process.memory_info().rss / 1e6)


def both(measure: Callable[[str], list[float]]) -> list[list[float]]:
    """Measure stock and ours, one after the other."""
    return [measure(kind) for kind in KINDS]


def report(name: str, units: list[tuple[str, str]], found: list[list[float]]) -> None:
    """Print one line per figure: name, stock, ours, aim."""
    for place, (unit, aim) in enumerate(units):
        stock, ours = (figures[place] for figures in found)
        print(f"{name:28} {unit:22} stock {stock:>12,.3f}   ours {ours:>12,.3f}   aim {aim}", flush=True)


def paint(_options: argparse.Namespace) -> None:
    """From the start of the process to the first picture; ours is a whole console screen."""

    def measure(kind: str) -> list[float]:
        scene = "minimal" if kind == "stock" else "idle"
        walls, cores = [], []
        for _ in range(7):
            terminal = start(kind, scene)
            walls.append(time.monotonic() - terminal.started)
            cores.append(sum(psutil.Process(terminal.process.pid).cpu_times()[:2]))
            terminal.close()
        return [statistics.median(walls), statistics.median(cores)]

    found = both(measure)
    report("first paint", [("s", ""), ("s of a core", "")], found)
    wall, core = (ours / stock for stock, ours in zip(*found, strict=True))
    print(f"{'':28} ratio to a minimal Textual app: wall {wall:.2f}, core {core:.2f}   aim <= 1.6")


def dashboard(options: argparse.Namespace) -> None:
    """The live dashboard at 160x48."""

    def measure(kind: str) -> list[float]:
        terminal = start(kind, "dashboard")
        found = load(terminal, options.seconds)
        terminal.close()
        return [found.bytes_per_s, found.core * 100, found.memory]

    report(
        "dashboard 160x48", [("bytes/s", "<= 2,000"), ("% of a core", "<= 4"), ("MB", "<= 90")], both(measure)
    )


def idle(options: argparse.Namespace) -> None:
    """A screen on which nothing happens."""

    def measure(kind: str) -> list[float]:
        terminal = start(kind, "idle")
        found = load(terminal, options.seconds)
        terminal.close()
        return [found.bytes_per_s, found.core * 100]

    report("idle", [("bytes/s", "0"), ("% of a core", "<= 0.5")], both(measure))


def keys(_options: argparse.Namespace) -> None:
    """From a key to its effect on the screen, behind a slow line, 200 cells changing each second."""
    for rate, aim in ((20_000, "<= 0.1"), (2_000, "<= 0.4")):

        def measure(kind: str, rate: float = rate) -> list[float]:
            terminal = start(kind, "busy", columns=120, rows=40, rate=rate, emulate=True)
            terminal.pump(12.0, rate=rate)
            waits = []
            for number in range(1, 6):
                begun = time.monotonic()
                terminal.send("x")
                shown = terminal.pump(20, lambda n=number: f"counted-{n}" in terminal.text, rate=rate)
                waits.append(time.monotonic() - begun)
                if not shown:
                    break
                terminal.pump(0.7, rate=rate)
            terminal.close()
            return [statistics.median(waits), max(waits)]

        report(f"key over {rate / 1000:g} kB/s", [("s, median of 5", aim), ("s, longest", "")], both(measure))


def stall(options: argparse.Namespace) -> None:
    """A terminal that nobody reads: the longest gap of the program's loop."""

    def measure(kind: str) -> list[float]:
        with tempfile.NamedTemporaryFile() as record:
            terminal = start(kind, "busy", record.name)
            terminal.pump(3.0)
            time.sleep(options.stall)
            terminal.pump(2.0)
            gap = float(Path(record.name).read_text())
            terminal.close()
        return [gap]

    report(f"not read for {options.stall:g} s", [("s, longest gap", "<= 0.5")], both(measure))


def rows(options: argparse.Namespace) -> None:
    """A hundred thousand rows: until they show, one step of the cursor, one changed cell."""

    def measure(kind: str) -> list[float]:
        with tempfile.NamedTemporaryFile() as record:
            terminal = start(kind, "rows", record.name)
            ready = float(Path(record.name).read_text())
            terminal.pump(1.0)
            process = psutil.Process(terminal.process.pid)
            steps = []
            for count in (40, 60):  # on the first page, then with the page moving under the cursor
                cpu = sum(process.cpu_times()[:2])
                for _ in range(count):
                    terminal.send("\x1b[B")
                    terminal.pump(0.03)
                steps.append((sum(process.cpu_times()[:2]) - cpu) / count * 1000)
            terminal.send("\x1b[H")
            terminal.pump(1.0)
            terminal.send("x")
            found = load(terminal, options.seconds)
            terminal.close()
        return [ready, *steps, found.core * 1000 / 10, found.bytes_per_s / 10]

    units = [
        ("s until ready", "<= 0.6"),
        ("ms of a core, down", "<= 3"),
        ("ms, down, scrolling", "<= 3"),
        ("ms of a core, cell", "<= 3"),
        ("bytes, cell", "<= 200"),
    ]
    report("100,000 rows", units, both(measure))


ROWS = {f.__name__: f for f in (paint, dashboard, idle, keys, stall, rows)}


def main() -> None:
    """Run the rows that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], default=list(ROWS))
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each load is measured")
    parser.add_argument("--stall", type=float, default=10.0, help="how long the terminal is not read")
    options = parser.parse_args()
    for name in options.rows or ROWS:
        ROWS[name](options)


if __name__ == "__main__":
    main()
