"""How long reading 200 logs with 1,000,000 events takes, beside `wc -l` on the same files.

    python tests/benchmarks/bench_replay.py [DIRECTORY]

Prints ratios measured in one run; the aims are replay <= 20, reopening <= 1, resident < 60 MB. Exits with
an error only if the reading itself is wrong. DIRECTORY keeps the generated tree between runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from event_tree import make_tree

REPEATS = 5

READ = """
import json, sys, time
from pathlib import Path
from pipeline.engine.store import Store
import platformdirs
began = time.perf_counter()
store = Store([Path(sys.argv[1])], remember=sys.argv[2] == "reopen")
store.catch_up()
took = time.perf_counter() - began
if sys.argv[2] == "save":
    store._remember = True
    assert store.remember()
# Not getrusage: its maximum begins with that of the process that started this one.
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
resident = int(status["VmHWM"].split()[0]) / 1024
print(json.dumps({"s": took, "rows": sum(log.reducer.rows for log in store), "mb": resident}))
"""


def main() -> int:
    """Run the benchmark; 1 if a row was lost."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(scratch) / "tree"
        if not root.exists():
            print(f"writing {make_tree(root) / 1e6:.0f} MB to {root}")
        os.environ["XDG_STATE_HOME"] = str(Path(scratch) / "state")
        files = sorted(root.rglob("*.jsonl"))
        count = min(word_count(files) for _ in range(REPEATS))
        replay = [read(root, "replay") for _ in range(REPEATS)]
        read(root, "save")
        reopen = [read(root, "reopen") for _ in range(REPEATS)]
        count = min(count, *(word_count(files) for _ in range(REPEATS)))
        rows = sum(path.read_bytes().count(b"\n") for path in files)
    best, again = min(r["s"] for r in replay), min(r["s"] for r in reopen)
    resident = max(r["mb"] for r in replay + reopen)
    print(f"wc -l      {count:7.3f} s  {len(files)} files, {rows} rows")
    print(f"replay     {best:7.3f} s  {best / count:5.1f} x wc -l   (aim 20)")
    print(f"reopening  {again:7.3f} s  {again / count:5.2f} x wc -l   (aim 1)")
    print(f"resident   {resident:7.1f} MB               (aim 60)")
    return int(any(r["rows"] != rows for r in replay + reopen))


def word_count(files: list[Path]) -> float:
    """Seconds `wc -l` takes on the files."""
    began = time.perf_counter()
    subprocess.run(["wc", "-l", *map(str, files)], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def read(root: Path, mode: str) -> dict[str, float]:
    """Read the tree in a fresh process."""
    argv = [sys.executable, "-c", READ, str(root), mode]
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=True, cwd=Path(__file__).parents[2])
    result: dict[str, float] = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    sys.exit(main())
