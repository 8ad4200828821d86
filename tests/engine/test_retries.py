"""A conductor starts a stage again that died, as often as the stage declares, and nobody else's."""

from __future__ import annotations

import pytest
from lab import Lab, wait_for

from pipeline.engine import status
from pipeline.engine.operations import cancel, start
from pipeline.engine.paths import AttemptPaths, RunPaths, StagePaths
from pipeline.engine.state import StageState


def sturdy(lab: Lab, **params: object) -> RunPaths:
    """A run whose stage `sturdy` has two shards and two retries, started with a conductor."""
    run = lab.new("sturdy", sturdy={"shards": 2, **params})
    assert start(run, lab.registry).conductor is not None
    return run


def retries(lab: Lab, run: RunPaths) -> list[int]:
    told = lab.events(run.conductor.progress)
    return [event["retry"] for event in told if event["event"] == "conductor_retry"]


def attempts(run: RunPaths) -> list[int]:
    return [len(run.stage("sturdy").shard(k).list_attempts()) for k in range(2)]


def test_a_shard_that_was_killed_comes_back_by_itself_and_only_it(lab: Lab) -> None:
    run = sturdy(lab, act="dies", deaths=2)
    assert lab.ended(run.conductor).outcome == "done"
    assert lab.state(run, "joined") is StageState.SUCCEEDED
    assert retries(lab, run) == [1, 2]
    assert attempts(run) == [1, 3]
    items = (run.stage("sturdy").shard(1).out / "items.txt").read_text().split()
    assert items == ["1", "3", "5", "7", "9"], "what it had done before it died is not done again"


def test_one_that_goes_on_dying_is_given_up(lab: Lab) -> None:
    run = sturdy(lab, act="dies", deaths=9)
    record = lab.ended(run.conductor)
    assert record.outcome == "failed"
    assert record.message.startswith("sturdy: ")
    assert retries(lab, run) == [1, 2]
    assert attempts(run) == [1, 3]
    assert lab.state(run, "joined") is StageState.BLOCKED


def test_one_that_the_operator_stopped_stays_stopped(lab: Lab) -> None:
    run = sturdy(lab, pause_at=3)
    paused = run.stage("sturdy").shard(1)
    wait_for(paused.progress.exists, "shard 1")
    lab.paused(paused)
    cancel(run, lab.registry, "sturdy", shards=[1])
    assert lab.ended(run.conductor).outcome == "failed"
    assert retries(lab, run) == []
    assert lab.state(run, "sturdy") is StageState.CANCELLED


def test_a_stage_that_declares_no_retries_gets_none(lab: Lab) -> None:
    run = lab.new(b={"act": "dies"})
    start(run, lab.registry)
    assert lab.ended(run.conductor).outcome == "failed"
    assert retries(lab, run) == []
    assert len(run.stage("b").list_attempts()) == 1


def test_a_stage_that_ends_while_it_is_looked_at_is_not_lost(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = lab.new(a={"pause_at": 2})
    lab.start(run, "a")
    lab.paused(run.stage("a"))
    look = status._Life.of

    def slow_look(paths: StagePaths, attempts: list[AttemptPaths]) -> status._Life:
        if paths == run.stage("a"):
            lab.release(paths)
            lab.ended(paths)
        return look(paths, attempts)

    monkeypatch.setattr(status._Life, "of", slow_look)
    assert lab.state(run, "a") is StageState.SUCCEEDED
