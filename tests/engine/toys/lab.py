"""What the tests of the engine ask about a workspace with toy stages."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from toy_table import REGISTRY

from pipeline.engine.config import WorkspaceConfig
from pipeline.engine.operations import Act, start
from pipeline.engine.paths import RunPaths, StagePaths, WorkspacePaths
from pipeline.engine.records import ExitRecord, ProcessRecord, read_exit, read_process
from pipeline.engine.registry import Registry
from pipeline.engine.runs import create_run
from pipeline.engine.state import StageState, StageStatus
from pipeline.engine.status import read_run


def wait_for(condition: Callable[[], Any], what: str, limit_s: float = 60.0) -> Any:
    """Return the first true value of `condition`; a test fails only if it never comes."""
    end = time.monotonic() + limit_s
    while not (found := condition()):
        if time.monotonic() > end:
            pytest.fail(f"never happened: {what}")
        time.sleep(0.01)
    return found


class Lab:
    """One workspace, and what tests ask about it."""

    registry: Registry = REGISTRY

    def __init__(self, root: Path) -> None:
        (root / "xops.toml").write_text("")
        self.workspace = WorkspacePaths(root)

    def new(self, recipe: str = "chain", source: str = "", **params: dict[str, Any]) -> RunPaths:
        shards = {name: values.pop("shards") for name, values in params.items() if "shards" in values}
        return create_run(
            self.workspace,
            REGISTRY,
            WorkspaceConfig(),
            recipe=recipe,
            params=params,
            shards=shards,
            source=source,
        )

    def start(self, run: RunPaths, stage: str) -> Act:
        return start(run, REGISTRY, only=[stage])

    def status(self, run: RunPaths, stage: str) -> StageStatus:
        return read_run(run, REGISTRY).stage(stage)

    def state(self, run: RunPaths, stage: str) -> StageState:
        return self.status(run, stage).state

    def finish(self, run: RunPaths, stage: str) -> ExitRecord:
        """Start a stage and wait until its supervisor is gone."""
        self.start(run, stage)
        return self.ended(run.stage(stage))

    def ended(self, paths: StagePaths) -> ExitRecord:
        last = paths.list_attempts()[-1]
        record = wait_for(lambda: read_exit(last), "an exit record")
        wait_for(lambda: not self.processes(paths), "the end of all processes")
        return record

    def process(self, paths: StagePaths) -> ProcessRecord:
        record = read_process(paths.list_attempts()[-1])
        assert record is not None
        return record

    def processes(self, paths: StagePaths) -> list[int]:
        """All living processes of the last attempt with its supervisor."""
        record = self.process(paths)
        alive = {record.pid: record.main.alive(), record.supervisor: record.watcher.alive()}
        return sorted({*record.survivors(), *(pid for pid, lives in alive.items() if lives)})

    def events(self, path: Path) -> list[dict[str, Any]]:
        return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()] if path.exists() else []

    def paused(self, paths: StagePaths, times: int = 1) -> ProcessRecord:
        """Wait until the toy says that it waits."""
        wait_for(
            lambda: [e["event"] for e in self.events(paths.progress)].count("paused") >= times,
            "the toy's pause",
        )
        return self.process(paths)

    def release(self, paths: StagePaths) -> None:
        (paths.root / "release").touch()
