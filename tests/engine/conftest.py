"""A workspace with toy stages, and real processes that are all gone after the test."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.engine import procfs
from pipeline.engine.paths import StagePaths
from pipeline.engine.records import read_process

TOYS = str(Path(__file__).parent / "toys")
sys.path.insert(0, TOYS)

from lab import Lab  # noqa: E402


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A workspace whose registry is the toys'; kills whatever a failed test leaves running."""
    monkeypatch.setenv("XOPS_REGISTRY", "toy_table:REGISTRY")
    monkeypatch.setenv("PYTHONPATH", TOYS)
    yield Lab(tmp_path)
    for found in tmp_path.glob("runs/*/**/attempts/*/process.json"):
        record = read_process(StagePaths(found.parents[2]).attempt(int(found.parent.name)))
        if record is None:
            continue
        for pid in [*record.survivors(), *([record.supervisor] if record.watcher.alive() else [])]:
            if procfs.identify(pid):
                os.kill(pid, signal.SIGKILL)
