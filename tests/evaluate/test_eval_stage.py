"""The stages `eval` and `merge` as processes of the engine, while shards are killed, stopped and fail."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from eval_table import REGISTRY

from pipeline.engine import procfs
from pipeline.engine.config import WorkspaceConfig
from pipeline.engine.operations import cancel, start
from pipeline.engine.paths import RunPaths, StagePaths, WorkspacePaths
from pipeline.engine.records import read_exit, read_process
from pipeline.engine.runs import create_run
from pipeline.engine.state import StageState
from pipeline.engine.status import read_run
from pipeline.evaluate.predictions import PARTIAL_FILE
from pipeline.stages.table import REGISTRY as INSTALLED

EVERY = [f"test:{index}" for index in range(3, 27)]


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + 90
    while not (found := condition()):
        if time.monotonic() > end:
            pytest.fail(f"never happened: {what}")
        time.sleep(0.02)
    return found


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkspacePaths]:
    monkeypatch.setenv("XOPS_REGISTRY", "eval_table:REGISTRY")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    (tmp_path / "xops.toml").write_text("")
    yield WorkspacePaths(tmp_path)
    for found in tmp_path.glob("runs/*/**/attempts/*/process.json"):
        record = read_process(StagePaths(found.parents[2]).attempt(int(found.parent.name)))
        left = [*record.survivors(), record.supervisor] if record else []
        for pid in left:
            if procfs.identify(pid) and (pid != record.supervisor or record.watcher.alive()):
                os.kill(pid, signal.SIGKILL)


class Evaluation:
    """One run of two shards, under way."""

    def __init__(self, workspace: WorkspacePaths, **params: Any) -> None:
        self.run: RunPaths = create_run(
            workspace,
            REGISTRY,
            WorkspaceConfig(),
            recipe="evaluation",
            params={"eval": {"batch_size": 1}, **params},
            shards={"eval": 2},
        )
        self.shards = [self.run.stage("eval").shard(k) for k in range(2)]

    def go(self) -> None:
        start(self.run, REGISTRY)

    def state(self, stage: str) -> StageState:
        return read_run(self.run, REGISTRY).stage(stage).state

    def answered(self, k: int) -> list[str]:
        return [row["id"] for row in lines(self.shards[k].work / PARTIAL_FILE)]

    def events(self, k: int, name: str) -> list[dict[str, Any]]:
        return [event for event in lines(self.shards[k].progress) if event["event"] == name]

    def attempts(self) -> list[int]:
        return [len(shard.list_attempts()) for shard in self.shards]

    def waiting(self, name: str) -> None:
        """Return when a shard holds that row and waits."""
        wait_for((self.run.stage("export").out / f"waiting-{name}").exists, f"{name} to be asked")

    def release(self, name: str = "") -> None:
        """Let that row be answered, or all."""
        (self.run.stage("export").out / (f"release-{name}" if name else "release")).touch()

    def kill(self, k: int) -> None:
        record = read_process(self.shards[k].list_attempts()[-1])
        assert record is not None
        os.kill(record.pid, signal.SIGKILL)
        wait_for(lambda: not record.main.alive(), "its death; only then are its leases free")

    def ended(self) -> str:
        """How the conductor ended; its supervisor is gone too."""
        last = wait_for(self.run.conductor.list_attempts, "a conductor")[-1]
        record = wait_for(lambda: read_exit(last), "the conductor's end")
        wait_for(lambda: read_run(self.run, REGISTRY).conductor is None, "the supervisor's end")
        return record.outcome

    def metrics(self) -> dict[str, Any]:
        return json.loads((self.run.stage("merge").out / "metrics.json").read_text())

    def merged(self) -> list[str]:
        return [row["id"] for row in lines(self.run.stage("merge").out / "predictions.jsonl")]

    def failing(self, stage: str) -> list[str]:
        gate = read_run(self.run, REGISTRY).stage(stage).gate
        assert gate is not None
        return [check.name for check in gate.checks if not check.ok]


def test_a_killed_shards_rows_move_to_the_living_and_it_comes_back_to_publish(
    workspace: WorkspacePaths,
) -> None:
    evaluation = Evaluation(workspace, export={"hold": ["test:3", "test:8"]})
    evaluation.go()
    evaluation.waiting("test:8")
    assert evaluation.answered(1) == ["test:4", "test:6"]
    evaluation.kill(1)
    evaluation.release()
    assert evaluation.ended() == "done"
    assert evaluation.merged() == EVERY
    assert evaluation.attempts() == [1, 2]
    absorbed = [event["sample_id"] for event in evaluation.events(0, "row_absorbed")]
    assert absorbed == [name for name in EVERY[1::2] if name not in {"test:4", "test:6"}]
    assert evaluation.answered(1) == ["test:4", "test:6"], "nothing was left for it"
    assert evaluation.metrics()["accuracy"] == 1.0
    assert evaluation.metrics()["partial"] is False


def test_a_stopped_evaluation_goes_on_where_it_was(workspace: WorkspacePaths) -> None:
    evaluation = Evaluation(workspace, export={"hold": ["test:7", "test:8"]})
    evaluation.go()
    for name in ("test:7", "test:8"):
        evaluation.waiting(name)
    cancel(evaluation.run, REGISTRY, "eval", force=True)
    assert evaluation.ended() == "failed"
    before = [evaluation.answered(k) for k in range(2)]
    evaluation.release()
    evaluation.go()
    wait_for(lambda: evaluation.state("merge") is StageState.SUCCEEDED, "the merge")
    assert evaluation.merged() == EVERY
    for k in range(2):
        assert evaluation.answered(k)[:2] == before[k]
        assert evaluation.events(k, "eval_start")[-1]["completed_before_start"] == 2


def test_a_row_without_an_answer_closes_the_gate_and_is_named(workspace: WorkspacePaths) -> None:
    evaluation = Evaluation(workspace, export={"broken": ["test:9"]})
    evaluation.go()
    assert evaluation.ended() == "failed"
    wait_for(lambda: evaluation.state("eval") is StageState.SUCCEEDED, "the shards")
    assert evaluation.failing("eval") == ["rows_answered[0]"] or evaluation.failing("eval") == [
        "rows_answered[1]"
    ]
    assert evaluation.state("merge") is StageState.BLOCKED


def test_rows_without_answers_count_as_wrong_where_they_are_allowed(workspace: WorkspacePaths) -> None:
    """Even where a shard has nothing but such a row, because the other took all the rest."""
    evaluation = Evaluation(
        workspace,
        export={"broken": ["test:4"], "hold": ["test:3", "test:4"]},
        eval={"batch_size": 1, "max_error_share": 0.1},
        merge={"max_error_share": 0.1},
    )
    evaluation.go()
    evaluation.waiting("test:4")
    evaluation.release("test:3")
    wait_for(lambda: len(evaluation.answered(0)) == 23, "all other rows in shard 0")
    evaluation.release()
    assert evaluation.ended() == "done"
    assert evaluation.answered(1) == ["test:4"]
    assert evaluation.metrics()["error_rows"] == ["test:4"]
    assert evaluation.metrics()["accuracy"] == 23 / 24


def test_a_smoke_test_is_few_rows_in_every_recipe() -> None:
    recipes = [recipe for recipe in INSTALLED.recipes.values() if "eval_smoke" in recipe.stages]
    assert recipes
    assert {recipe.params["eval_smoke"]["limit"] for recipe in recipes} == {8}
