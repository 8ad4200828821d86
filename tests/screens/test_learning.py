"""The Train, Eval and Gates screens, on logs as the stages write them and as the original wrote them."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
from consoles import PLAIN, RICH, settle, shown

from pipeline.engine.config import WorkspaceConfig
from pipeline.engine.gates import Check, GateRecord, publish_gate
from pipeline.engine.outputs import publish_outputs
from pipeline.engine.paths import RunPaths, StagePaths, WorkspacePaths
from pipeline.engine.registry import load_registry
from pipeline.engine.runs import create_run
from pipeline.views.evals import EvalFold
from pipeline.views.train import TrainFold, smoothed
from screens.app import Console
from screens.feed import WorkspaceFeed

SIZES = [(80, 24), (160, 48)]


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    workspace = WorkspacePaths(tmp_path)
    workspace.config.write_text('name = "test"\n')
    return create_run(
        workspace,
        load_registry(),
        WorkspaceConfig(),
        recipe="qwen3_omni_here",
        params={"train": {"model_dir": "/nowhere"}},
        shards={"eval": 2},
    )


def console(run: RunPaths, capabilities: Any = RICH, **options: Any) -> Console:
    feed = WorkspaceFeed(WorkspacePaths(run.root.parent.parent), load_registry())
    return Console(feed, capabilities=capabilities, **options)


def write(paths: StagePaths, *events: dict[str, Any], ago: float = 0.0) -> None:
    paths.root.mkdir(parents=True, exist_ok=True)
    with paths.progress.open("a") as log:
        for number, event in enumerate(events):
            when = time.time() - ago + number * 0.01
            log.write(json.dumps({"timestamp": when, **event}) + "\n")


def step(number: int, loss: float | None, **more: Any) -> dict[str, Any]:
    told = {"event": "train_step", "global_step": number, "rank0_batch_loss": loss, "lr": 1e-4}
    tokens = {"supervised_tokens": 90, "prompt_tokens": 910, "media_tokens": 600, "frames": 16}
    pace = {"grad_norm": 0.5, "rows_per_s": 2.0, "tokens_per_s": 2000.0, "total": 100, "unit": "steps"}
    return {**told, **tokens, **pace, "done": number, **more}


def training(run: RunPaths) -> None:
    write(
        run.stage("train"),
        {"event": "start"},
        {"event": "setup_done", "num_train_samples": 100},
        {"event": "phase", "phase": "model_load"},
        {"event": "phase", "phase": "train"},
        *[step(n, 5.0 / n) for n in range(1, 30)],
        {"event": "val_end", "global_step": 10, "val_loss": 0.4, "best": True},
        {"event": "val_end", "global_step": 20, "val_loss": 0.5, "best": False},
        {"event": "val_end", "global_step": 29, "val_loss": 0.6, "best": False},
        {"event": "generated_eval", "global_step": 20, "rows": 16, "json_validity_rate": 1.0,
         "action_accuracy": 0.75, "exact_rate": 0.5, "baseline_action_accuracy": 0.25},
        {"event": "device", "rank": 0, "name": "H200 [bold]", "memory_used": 60 << 30,
         "memory_total": 140 << 30, "utilisation": 0.97, "rss": 8 << 30},
        {"event": "checkpoint_saved", "global_step": 20, "bytes": 1},
        {"event": "loss_not_finite", "global_step": 30, "sample_ids": ["a:qa:1", "b:qa:2"]},
    )  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("capabilities", [RICH, PLAIN], ids=["rich", "plain"])
async def test_a_training_shows_where_it_is_and_what_it_is_worth(
    run: RunPaths, size: tuple[int, int], capabilities: Any
) -> None:
    training(run)
    app = console(run, capabilities)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        await pilot.press("4")
        await settle(pilot, lambda: "step 29 of 100 (29 %)" in shown(app), "the headline")
        text = shown(app)
        await pilot.press("m")
        await settle(pilot, lambda: "log " in shown(app), "the log scale")
    assert "best validation 0.4000 at step 10" in text
    assert "checkpoint of step 20" in text
    assert "the loss of step 30 is not finite; samples a:qa:1, b:qa:2" in text
    assert "learned from 90 of 1k (9.0 %)" in text
    assert "action 0.750 (without looking 0.250)" in text
    assert "validation up 2 passes in a row: 0.4000 to 0.6000; the best is kept" in text
    if size[0] == 160:
        assert "60 GiB of 140 GiB  load 97%  process 8 GiB  H200 [bold]" in text
    if capabilities is PLAIN:
        assert text.isascii()


async def test_a_run_that_has_not_trained_says_why(run: RunPaths) -> None:
    app = console(run)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        for key, told in (("4", "no training has begun"), ("5", "no evaluation has begun"), ("6", "no gate")):
            await pilot.press(key)
            await settle(pilot, lambda told=told: told in shown(app), told)


async def test_a_trainer_that_died_is_not_taken_for_a_slow_one(run: RunPaths) -> None:
    write(run.stage("train"), {"event": "start"}, step(1, 2.0), ago=600)
    app = console(run)
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.pause()
        await pilot.press("4")
        await settle(pilot, lambda: "nobody writes; last event 10m" in shown(app), "the age")


@pytest.mark.parametrize("size", SIZES)
async def test_an_evaluation_shows_a_lane_per_shard_and_what_is_bad(
    run: RunPaths, size: tuple[int, int]
) -> None:
    for shard, count in ((0, 4), (1, 1)):
        start = {"event": "eval_start", "sample_offset": shard, "sample_stride": 2, "num_eval_samples": 4,
                 "completed_before_start": 0, "identity": "abc"}  # fmt: skip
        done = [
            {"event": "sample_done", "valid": n > 0, "action_correct": n > 1, "truncated": n == 0}
            for n in range(count)
        ]
        write(
            run.stage("eval").shard(shard),
            start,
            *done,
            {"event": "running_metrics", "baseline_accuracy": 0.3},
        )
    write(
        run.stage("eval").shard(0),
        {"event": "row_absorbed", "sample_id": "x", "from_shard": 1},
        {"event": "invalid_answer", "sample_id": "s:1", "text": "[red]no JSON\x1b[31m"},
        {"event": "sample_error", "sample_id": "s:2", "error_type": "OSError", "error": "its clip is gone"},
    )
    app = console(run)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        await pilot.press("5")
        await settle(pilot, lambda: "5 of 8 rows answered" in shown(app), "the headline")
        text = shown(app)
    assert "1 taken over from other shards" in text
    assert "shard 0 of 2" in text
    assert "shard 1 of 2" in text
    assert "action 0.400 (without looking 0.3)" in text
    assert "valid JSON 0.600" in text
    assert "s:1: [red]no JSON" in text
    assert "\x1b" not in text
    assert "s:2: OSError: its clip is gone" in text


async def test_gates_show_their_checks_the_worst_first_and_w_decides(run: RunPaths) -> None:
    paths = run.stage("select")
    paths.root.mkdir(parents=True)
    checks = (
        Check(name="good", ok=True, detail="128 of 128"),
        Check(name="bad", ok=False, detail="3 files differ", evidence={"files": ["[red]a.mp4"]}),
        Check(name="person", ok=None, detail="read the report"),
    )
    publish_gate(paths.gate, GateRecord(stage="select", attempt=1, evaluated=time.time() - 60, checks=checks))
    app = console(run)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("6")
        await settle(pilot, lambda: "FAIL bad" in shown(app), "the checks")
        text = shown(app)
        assert text.index("FAIL bad") < text.index("sign person") < text.index("pass good")
        assert "[red]a.mp4" in text
        assert app.stage == "select", "what w would decide"
        await pilot.press("w")
        await settle(
            pilot, lambda: "reason" in shown(app).lower() or "why" in shown(app).lower(), "the dialog"
        )


def test_the_published_training_logs_read_as_they_were(published: Path) -> None:
    fold = TrainFold()
    for line in (published / "omni" / "q4_json_v4_train" / "progress.jsonl").open():
        fold.feed(json.loads(line))
    assert fold.ended == "complete"
    assert fold.done == fold.total == 1424
    assert fold.best is not None
    assert fold.best[1] == pytest.approx(0.0256, abs=0.0005)
    assert len(fold.loss) == 146
    assert [phase.name for phase in fold.phases][:3] == ["model_load", "prepare", "train"]


def test_a_resumed_attempt_overwrites_the_steps_it_takes_again() -> None:
    fold = TrainFold()
    for number in range(1, 11):
        fold.feed(step(number, float(number)))
    fold.feed({"event": "start"})
    fold.feed(step(6, 60.0))
    assert [x for x, _ in fold.loss] == [1, 2, 3, 4, 5, 6]
    assert fold.loss[-1][1] == 60.0


def test_a_loss_that_is_no_number_is_a_gap_and_not_a_bridge() -> None:
    fold = TrainFold()
    for number, loss in ((1, 2.0), (2, None), (3, 4.0)):
        fold.feed(step(number, loss))
    assert math.isnan(fold.loss[1][1])
    assert [x for x, _ in smoothed(fold.loss)] == [1.0, 3.0]


def test_folds_take_anything() -> None:
    for fold in (TrainFold(), EvalFold()):
        for event in (
            {},
            {"event": None},
            {"event": "train_step"},
            {"event": "train_step", "global_step": "x"},
            {"event": "val_end", "val_loss": None},
            {"event": "device", "rank": "x"},
            {"event": "eval_start", "sample_offset": None},
            {"event": "running_metrics", "baseline_accuracy": "x"},
            {"event": "sample_done"},
            {"event": "failed"},
            {"timestamp": "yesterday", "event": "phase"},
        ):
            fold.feed(dict(event))


def evaluated(run: RunPaths, right: int, **meta: Any) -> None:
    """A merged evaluation of 24 rows of which so many are right."""
    out = run.stage("merge").out
    out.mkdir(parents=True)
    rows = []
    for number in range(24):
        true = {"action": f"cut {number % 3}", "contact": "yes", "objects": ["[red]pan"]}
        said = true if number < right else true | {"action": "else"}
        rows.append(
            {"id": f"s{number % 6}__ep1:qa:{number}", "episode_id": f"s{number % 6}__ep1", "split": "test",
             "true_label": true["action"], "raw_prediction": json.dumps(said), "true_json": true}
        )  # fmt: skip
    (out / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (out / "metrics.json").write_text(json.dumps({"labels": ["cut 0", "cut 1", "cut 2"]}))
    train = run.stage("train").out
    train.mkdir(parents=True)
    (train / "training_metadata.json").write_text(json.dumps({"settings": meta}))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("capabilities", [RICH, PLAIN], ids=["rich", "plain"])
async def test_two_runs_are_compared_with_verdicts_settings_and_flips(
    run: RunPaths, size: tuple[int, int], capabilities: Any
) -> None:
    workspace = WorkspacePaths(run.root.parent.parent)
    other = create_run(
        workspace, load_registry(), WorkspaceConfig(), recipe="qwen3_omni_here", kind="smoke", slug="older"
    )
    evaluated(other, 4, lora_r=16)
    evaluated(run, 24, lora_r=64)
    app = console(run, capabilities)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        app.open_run(run.run_id)
        await settle(pilot, lambda: run.run_id in shown(app), "the run")
        await pilot.press("7")
        await settle(pilot, lambda: "24 common rows of 24 and 24, 6 episodes" in shown(app), "the comparison")
        text = shown(app)
    assert other.run_id in text
    assert "NOT RESULTS" in text
    assert "+0.8333" in text
    assert "better" in text
    if size[1] == 48:
        assert "16 -> 64" in text
        assert "action +20 -0" in text
        assert "A said 'else', B 'cut" in text
        assert "[red]pan" in text
    if capabilities is PLAIN:
        assert text.isascii()


async def test_alone_there_is_nothing_to_compare_or_publish(run: RunPaths) -> None:
    app = console(run)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        for key, told in (("7", "no other run of this workspace is evaluated"), ("8", "nothing is packaged")):
            await pilot.press(key)
            await settle(pilot, lambda told=told: told in shown(app), told)


@pytest.mark.parametrize("size", SIZES)
async def test_a_package_shows_what_goes_out_and_what_keeps_it_here(
    run: RunPaths, size: tuple[int, int]
) -> None:
    from screens.publish import headline

    good = {"path": "eval/metrics.json", "bytes": 2048, "sha256": "ab" * 32, "kind": "json", "reasons": []}
    bad = good | {"path": "eval/[red]clip.json", "kind": "media", "reasons": ["its content is media"]}
    audit = {
        "status": "fail", "backbone": "qwen3_omni_lora", "files": [good, bad],
        "issues": ["eval/[red]clip.json: its content is media"], "redactions": {"eval/metrics.json": 3},
    }  # fmt: skip
    lines = headline(audit, None)
    text = "\n".join("".join(piece for piece, _ in line) for line in lines)
    assert "may NOT be public  2 files, 4 KiB, 3 paths and hosts redacted" in text
    assert "eval/[red]clip.json: its content is media" in text
    paths = run.stage("package")
    folder = paths.out_tmp(1)
    folder.mkdir(parents=True)
    (folder / "package_audit.json").write_text(json.dumps(audit))
    publish_outputs(paths, 1, ())
    app = console(run)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        await pilot.press("8")
        await settle(pilot, lambda: "may NOT be public" in shown(app), "the verdict")
        text = shown(app)
    assert "eval/metrics.json" in text
    assert "goes out" in text
    assert "its content is media" in text


async def test_another_run_lies_over_the_curves(run: RunPaths) -> None:
    workspace = WorkspacePaths(run.root.parent.parent)
    other = create_run(workspace, load_registry(), WorkspaceConfig(), recipe="qwen3_omni_here", slug="older")
    training(run)
    write(
        other.stage("train"), *[{"event": "val_end", "global_step": n, "val_loss": 2.0 / n} for n in (1, 9)]
    )
    app = console(run)
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.pause()
        app.open_run(run.run_id)
        await pilot.press("4")
        await settle(pilot, lambda: "step 29 of 100" in shown(app), "the curves")
        await pilot.press("o")
        await settle(pilot, lambda: other.run_id[-18:] in shown(app), "the other run")
        await pilot.press("o")
        await settle(pilot, lambda: other.run_id[-18:] not in shown(app), "and none after the last")


async def test_the_newest_answer_stands_beside_the_truth(run: RunPaths) -> None:
    shard = run.stage("eval").shard(0)
    write(shard, {"event": "eval_start", "sample_stride": 2, "num_eval_samples": 4})
    shard.work.mkdir(parents=True)
    row = {
        "id": "s:1",
        "true_json": {"action": "cut", "contact": "yes"},
        "pred_json": {"action": "[red]pour"},
    }
    (shard.work / "predictions.partial.jsonl").write_text(json.dumps(row) + "\n" + '{"torn')
    app = console(run)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.pause()
        await pilot.press("5")
        await settle(pilot, lambda: "0 of 4 rows" in shown(app), "the evaluation")
        await pilot.press("o")
        await settle(pilot, lambda: "Newest answers" in shown(app), "the dialog")
        assert "[red]pour" in shown(app)
        assert "contact" in shown(app)
