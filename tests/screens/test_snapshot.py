"""Snapshots and digests: what screens draw, without a screen."""

from __future__ import annotations

import json
import time
from pathlib import Path

from consoles import Lab, lab, snapshot  # noqa: F401

from pipeline.engine.adopt import adopt
from pipeline.engine.digest import digest_since, last_seen, remember_seen
from pipeline.engine.operations import cancel
from pipeline.engine.snapshot import of_adopted
from pipeline.engine.state import StageState
from pipeline.engine.status import read_run
from pipeline.engine.watch import open_store, summary_of


def test_a_running_stage_has_progress_but_needs_nobody(lab: Lab) -> None:  # noqa: F811
    run = lab.new("chain", a={"pause_at": 3, "items": 10})
    lab.start(run, "a")
    lab.paused(run.stage("a"))
    found = snapshot(lab, run)
    row = found.rows[0]
    assert (row.status.state, row.total, row.unit) == (StageState.RUNNING, 10, "items")
    assert row.last_event == "paused"
    assert row.last_time is not None
    assert found.needs_human == ()
    assert found.disks[0].free <= found.disks[0].total


def test_failed_stages_and_closed_gates_need_a_human_with_a_command(lab: Lab) -> None:  # noqa: F811
    run = lab.new("gates", gated={"gate": "fail"}, strict={"act": "fails"})
    for stage in ("a", "gated", "strict"):
        lab.finish(run, stage)
    needs = {need.stage: need for need in snapshot(lab, run).needs_human}
    assert needs["gated"].argv[:3] == ("xops", "gate", "waive")
    assert "told to fail" in needs["gated"].sentence
    assert needs["strict"].argv == ("xops", "run", "resume", run.run_id, "--only", "strict")
    assert "host beta does not answer" in needs["strict"].sentence


def test_shards_add_up(lab: Lab) -> None:  # noqa: F811
    run = lab.new("shards", split={"shards": 2, "items": 10})
    lab.finish(run, "a")
    lab.start(run, "split")
    for index in range(2):
        lab.ended(run.stage("split").shard(index))
    row = snapshot(lab, run).row("split")
    assert row is not None
    assert row.status.state is StageState.SUCCEEDED
    assert row.total == 20
    assert len(row.logs) == 4


def test_the_digest_tells_what_happened_between_two_moments(lab: Lab) -> None:  # noqa: F811
    run = lab.new("chain", b={"pause_at": 1})
    lab.finish(run, "a")
    middle = time.time()
    lab.start(run, "b")
    lab.paused(run.stage("b"))
    cancel(run, lab.registry, "b")
    lab.ended(run.stage("b"))
    status = read_run(run, lab.registry)
    kinds = [happening.kind for happening in digest_since(run, status, middle).happenings]
    assert sorted(kinds) == ["cancelled", "command", "command", "started"]
    before = digest_since(run, status, 0.0, middle)
    assert "finished" in {h.kind for h in before.happenings}
    assert "cancelled" not in before.line(middle)
    assert digest_since(run, status, time.time()).line(time.time()) == ""


def test_last_seen_is_kept_per_workspace(tmp_path: Path) -> None:
    assert last_seen(tmp_path) is None
    remember_seen(tmp_path, 5.0)
    assert last_seen(tmp_path) == 5.0
    assert last_seen(tmp_path / "other") is None


def test_foreign_logs_have_the_same_shape(tmp_path: Path) -> None:
    rows = [
        {"event": "setup_done", "run_id": "v1", "timestamp": 100.0, "max_steps": 4},
        *(
            {"event": "train_step", "run_id": "v1", "timestamp": 101.0 + i, "step": i, "loss": 1.0}
            for i in range(3)
        ),
    ]
    log = tmp_path / "v1" / "progress.jsonl"
    log.parent.mkdir()
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    store = open_store([tmp_path])
    store.catch_up()
    (run,) = adopt(summary_of(store))
    assert of_adopted(run, now=110.0).rows[0].status.state is StageState.RUNNING
    late = of_adopted(run, now=100_000.0)
    assert late.foreign
    assert late.needs_human == ()
    assert late.rows[0].status.state is StageState.STALLED
    assert late.rows[0].logs == (str(log),)
