"""The demo, headless: the product end to end, from a gated listing to verified files."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from console import demo
from pipeline.engine import operations
from pipeline.engine.paths import RunPaths, WorkspacePaths
from pipeline.engine.records import read_process
from pipeline.engine.state import StageState
from pipeline.engine.status import read_run
from pipeline.stages.table import REGISTRY


def xops(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "console", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=240, check=False)


def staged(workspace: WorkspacePaths) -> dict[str, str]:
    """Path -> sha256 of everything below the data root."""
    root = workspace.root / "data"
    files = [path for path in root.rglob("*") if path.is_file()]
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def expected(workspace: WorkspacePaths, run: RunPaths) -> dict[str, str]:
    """What the Hub holds of the selected files."""
    names = (run.stage("select").out / "download_files.txt").read_text().split()
    hub = workspace.root / "hub"
    return {name: hashlib.sha256((hub / name).read_bytes()).hexdigest() for name in names}


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[WorkspacePaths]:
    made = demo.prepare(tmp_path / "demo")
    yield made
    demo.stop_services(made)


def test_the_demo_runs_to_its_end_and_every_byte_is_right(tmp_path: Path) -> None:
    done = xops("demo", "--json", "--dir", "demo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    status: dict[str, Any] = json.loads(done.stdout)
    assert {stage["stage"]: stage["state"] for stage in status["stages"]} == {
        "access": "succeeded",
        "select": "succeeded",
        "preflight": "succeeded",
        "relay": "succeeded",
        "discover": "succeeded",
        "manifest": "succeeded",
        "audit": "succeeded",
        "export": "succeeded",
        "index": "succeeded",
        "future_windows": "succeeded",
    }
    checks = [check for stage in status["stages"] for check in stage["gate"]["checks"]]
    assert all(check["ok"] is not False for check in checks)
    audit = next(stage for stage in status["stages"] if stage["stage"] == "audit")
    assert audit["verdict"] == "signed" or audit["gate"]["decisions"], "signed, and on record"
    workspace = WorkspacePaths(tmp_path / "demo")
    (run,) = workspace.list_runs()
    found = staged(workspace)
    assert found == expected(workspace, run)
    assert len(found) == 112
    assert not any("visualization.rrd" in name for name in found)
    assert not (workspace.root / "hub.pid.json").exists()
    assert not (workspace.root / "sshd.pid.json").exists()


def test_the_demo_can_be_run_again_in_the_same_place(tmp_path: Path) -> None:
    assert xops("demo", "--headless", "--dir", "demo", cwd=tmp_path).returncode == 0
    again = xops("demo", "--headless", "--dir", "demo", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert len(WorkspacePaths(tmp_path / "demo").list_runs()) == 2


def test_a_killed_relay_goes_on_and_leaves_nothing_behind(workspace: WorkspacePaths) -> None:
    run = demo.create(workspace, REGISTRY)
    operations.start(run, REGISTRY, until="relay")
    kills = 0
    end = time.monotonic() + 120
    while time.monotonic() < end:
        status = read_run(run, REGISTRY)
        relay = status.stage("relay")
        if relay.state is StageState.SUCCEEDED:
            break
        attempts = run.stage("relay").list_attempts()
        record = read_process(attempts[-1]) if attempts else None
        if kills < 3 and record is not None and record.main.alive() and _some_file(workspace, kills):
            os.killpg(record.pgid, signal.SIGKILL)
            kills += 1
            operations.wait(run, REGISTRY, timeout_s=60)
        elif relay.state.resumable and status.conductor is None:
            operations.start(run, REGISTRY)
        time.sleep(0.005)
    assert read_run(run, REGISTRY).stage("relay").state is StageState.SUCCEEDED
    assert kills > 0
    assert staged(workspace) == expected(workspace, run)


def _some_file(workspace: WorkspacePaths, kills: int) -> bool:
    """Whether more files are staged than when the last kill came."""
    return sum(1 for _ in (workspace.root / "data").rglob("*.mp4")) > 5 * kills


def test_another_workspace_is_not_taken_for_the_demo(tmp_path: Path) -> None:
    assert xops("init", "mine", cwd=tmp_path).returncode == 0
    refused = xops("demo", "--headless", "--dir", "mine", cwd=tmp_path)
    assert refused.returncode == 2
    assert "not a demo" in refused.stderr
