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
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=1100, check=False)


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


@pytest.mark.timeout(1200)
def test_the_demo_runs_from_the_gated_hub_to_a_public_package(tmp_path: Path) -> None:
    done = xops("demo", "--json", "--dir", "demo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    status: dict[str, Any] = json.loads(done.stdout)
    stages = {stage["stage"]: stage for stage in status["stages"]}
    assert list(stages) == list(REGISTRY.recipe("demo").stages)
    assert {stage["state"] for stage in stages.values()} == {"succeeded"}
    checks = [check for stage in stages.values() for check in (stage["gate"] or {"checks": []})["checks"]]
    assert all(check["ok"] is not False for check in checks)
    assert stages["audit"]["gate"]["decisions"], "signed, and on record"
    workspace = WorkspacePaths(tmp_path / "demo")
    (run,) = workspace.list_runs()
    found = staged(workspace)
    assert found == expected(workspace, run)
    assert len(found) == 112
    assert not any("visualization.rrd" in name for name in found)
    assert not (workspace.root / "hub.pid.json").exists()
    assert not (workspace.root / "sshd.pid.json").exists()
    _every_row_was_answered_once(run)
    _the_model_has_learned(run)
    _the_package_is_public(run)


def _every_row_was_answered_once(run: RunPaths) -> None:
    """One shard was killed on purpose; the other took its rows, and it came back."""
    parts = [run.stage("eval").shard(k) for k in range(2)]
    assert [len(part.list_attempts()) for part in parts] == [1, 2]
    events = [json.loads(line) for line in parts[0].progress.open()]
    assert any(event["event"] == "row_absorbed" for event in events)
    metrics = json.loads((run.stage("merge").out / "metrics.json").read_text())
    assert metrics["issues"] == []
    assert metrics["coverage"]["share"] == 1.0


def _the_model_has_learned(run: RunPaths) -> None:
    metrics = json.loads((run.stage("merge").out / "metrics.json").read_text())
    assert metrics["json_validity_rate"] == 1.0
    assert metrics["accuracy"] > 2 * metrics["baselines"]["parity"]["accuracy"]


def _the_package_is_public(run: RunPaths) -> None:
    audit = json.loads((run.stage("package").out / "package_audit.json").read_text())
    assert audit["status"] == "pass"
    report = (run.stage("report").out / "report.html").read_text()
    assert "<svg" in report


def test_the_demo_can_be_run_again_in_the_same_place(workspace: WorkspacePaths) -> None:
    again = demo.prepare(workspace.root)
    runs = [demo.create(again, REGISTRY) for _ in range(2)]
    operations.start(runs[1], REGISTRY, until="select")
    operations.wait(runs[1], REGISTRY, timeout_s=120)
    assert read_run(runs[1], REGISTRY).stage("select").state is StageState.SUCCEEDED
    assert len(again.list_runs()) == 2


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
            operations.start(run, REGISTRY, until="relay")
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
