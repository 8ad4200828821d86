"""Downloading one file from a stand-in Hub, against the stock client, over loopback.

    python tests/benchmarks/bench_download.py [--mib 512] [--repeats 5]

Ours fetches four ranges at a time, journals every chunk and proves the sha256 before the file gets its name;
the stock client streams the file once and hashes nothing. The Hub is a process of its own. Prints medians and
the ratio of the rates; any difference of the bytes is an error.
"""

from __future__ import annotations

import argparse
import asyncio
import filecmp
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_XET": "1"}

from huggingface_hub import hf_hub_download

from pipeline.hub.download import fetch
from pipeline.hub.listing import fetch_listing
from pipeline.hub.source import HubSource
from pipeline.standin.hub import REPO_ID, TOKEN

os.environ["HF_TOKEN"] = TOKEN
MIB = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "dataset" / "00000000-0000-4000-8000-000000000000" / "ep1" / "annotation.hdf5"
        source.parent.mkdir(parents=True)
        with source.open("wb") as file:
            for _ in range(asked.mib):
                file.write(random.randbytes(MIB))
        command = [sys.executable, "-m", "pipeline.standin.hub", str(folder / "dataset")]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
        ) as hub:
            assert hub.stdout
            endpoint = json.loads(hub.stdout.readline())["endpoint"]
            try:
                compare(folder, source, endpoint, asked.mib, asked.repeats)
            finally:
                hub.kill()


def compare(folder: Path, source: Path, endpoint: str, mib: int, repeats: int) -> None:
    listing = fetch_listing(REPO_ID, endpoint=endpoint)
    (wanted,) = listing.files

    def ours(target: Path) -> Path:
        async def go() -> None:
            async with HubSource(REPO_ID, listing.revision, endpoint=endpoint) as hub:
                await fetch(wanted, target / "file", source=hub, emit=lambda *a, **k: None)

        asyncio.run(go())
        return target / "file"

    def stock(target: Path) -> Path:
        got = hf_hub_download(
            REPO_ID,
            wanted.path,
            repo_type="dataset",
            endpoint=endpoint,
            revision=listing.revision,
            local_dir=target,
        )
        return Path(got)

    seconds: dict[str, list[float]] = {"ours": [], "stock": []}
    for number in range(repeats):
        for name, tool in (("ours", ours), ("stock", stock)):
            seconds[name].append(measure(tool, folder / f"{name}{number}", source))
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    for name, median in medians.items():
        print(f"{name:6}{median:6.2f} s {mib / median:7.1f} MiB/s")
    print(f"ours reaches {medians['stock'] / medians['ours']:.2f} of the stock client's rate")


def measure(tool: Callable[[Path], Path], target: Path, source: Path) -> float:
    began = time.monotonic()
    got = tool(target)
    seconds = time.monotonic() - began
    if not filecmp.cmp(got, source, shallow=False):
        sys.exit(f"{tool.__name__}: what arrived is not what the Hub has")
    got.unlink()
    return seconds


if __name__ == "__main__":
    main()
