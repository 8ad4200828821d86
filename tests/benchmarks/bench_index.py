"""The neutral window index against merely parsing and writing the same JSON.

    python tests/benchmarks/bench_index.py [ROWS]

Prints the speed as a ratio to a loop that decodes and encodes each row (with msgspec, and with the standard
library), and the resident memory; the aims are >= 0.5 and < 200 MB for 100,000 rows. Exits with an error
only if rows are lost.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.data.rows import rows, write_rows

REPEATS = 3

BUILD = """
from pipeline.data.index.build import build_index
rows = lambda: build_index(source, target).num_records
"""

COPY = """
import {library}
def rows():
    count = 0
    with source.open("rb") as lines, (target / "copy.jsonl").open("wb") as out:
        for line in lines:
            out.write({copy})
            count += 1
    return count
"""

RUN = """
import json, sys, time
from pathlib import Path
source, target = map(Path, sys.argv[1:])
{setup}
began = time.perf_counter()
made = rows()
took = time.perf_counter() - began
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
print(json.dumps({{"s": took, "rows": made, "mb": int(status["VmHWM"].split()[0]) / 1024}}))
"""

CONTENDERS = {
    "index": BUILD,
    "msgspec copy": COPY.format(
        library="msgspec", copy='msgspec.json.encode(msgspec.json.decode(line)) + b"\\n"'
    ),
    "json copy": COPY.format(
        library="json", copy='json.dumps(json.loads(line), ensure_ascii=False).encode() + b"\\n"'
    ),
}


def measure(setup: str, source: Path, target: Path) -> dict[str, float]:
    """One fresh process; seconds, rows and peak resident megabytes."""
    command = [sys.executable, "-c", RUN.format(setup=setup), str(source), str(target)]
    done = subprocess.run(command, check=True, capture_output=True, cwd=Path(__file__).parents[2])
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> int:
    """Run all contenders in turn; 1 if a row was lost."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        source = write_rows(folder / "dataset.jsonl", rows(count // 200, 200))
        print(f"{count} rows, {source.stat().st_size / 1e6:.0f} MB")
        found = {
            name: [measure(setup, source, folder) for _ in range(REPEATS)]
            for name, setup in CONTENDERS.items()
        }
    best = {name: min(run["s"] for run in runs) for name, runs in found.items()}
    for name, runs in found.items():
        resident = max(run["mb"] for run in runs)
        ratio = best[name] / best["index"]
        print(f"{name:13} {best[name]:6.2f} s  {resident:6.1f} MB  {ratio:5.2f} x the index")
    print(f"index speed: {best['msgspec copy'] / best['index']:.2f} of the msgspec copy (aim >= 0.5)")
    return int(any(run["rows"] != count for runs in found.values() for run in runs))


if __name__ == "__main__":
    sys.exit(main())
