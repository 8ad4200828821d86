"""The benchmark runs, compares every byte, and prints a line per tool."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / "benchmarks" / "bench_transfer.py"


def test_a_tiny_run_over_loopback() -> None:
    if not (shutil.which("sshd") or Path("/usr/sbin/sshd").exists()):
        pytest.skip("no OpenSSH server is installed")
    tools = "raw,xops,rsync" if shutil.which("rsync") else "raw,xops"
    command = [sys.executable, str(BENCH), "--scale", "0.002", "--repeats", "1", "--tools", tools]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("of raw") == 3 * len(tools.split(","))
    assert done.stdout.count("CPU s/GiB") == 3
