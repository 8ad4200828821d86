"""The published logs read as their true story, one by one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.engine.adopt import adopt
from pipeline.engine.textlog import read_end
from pipeline.engine.watch import open_store, summarise, summary_of

Log = dict[str, Any]

#: path -> family, rows, terminal, attempts, last event, done, total, unit
STORIES = {
    "c_contract_audit/progress.jsonl": ("unknown", 3, "complete", 1, "complete", None, None, None),
    "c_fd_overfit_projout/progress.jsonl": (
        "fd_train",
        19,
        "complete",
        1,
        "adapter_shape_repaired",
        10,
        None,
        "step",
    ),
    "c_nano/status.jsonl": ("pipeline", 8, "complete", 1, "complete", 6, None, "phase"),
    "c_nano_adapter/progress.jsonl": ("future_window", 5, "complete", 1, "complete", 378, 378, "sample"),
    "fp_pilot32/launch_status.jsonl": (
        "launcher",
        5,
        "none",
        1,
        "fullparam_pilot_pid_exited",
        None,
        None,
        None,
    ),
    "fp_pilot32/progress.jsonl": ("train", 43, "complete", 1, "complete", 32, 32, "step"),
    "fp_short8/launch_status.jsonl": ("launcher", 5, "none", 1, "shorttrain_pid_exited", None, None, None),
    "fp_short8/progress.jsonl": ("train", 19, "complete", 1, "complete", 8, 8, "step"),
    "fp_smoke/progress.jsonl": ("train", 12, "complete", 1, "complete", 1, 1, "step"),
    "pipeline_status.jsonl": ("pipeline", 6, "none", 1, "phase", 5, None, "phase"),
    "pkg/q1_valmon_eval/training/progress.jsonl": ("train", 47, "complete", 1, "complete", 356, 356, "step"),
    "pkg/q5_multiscale_v5_eval/training/progress.jsonl": (
        "train",
        140,
        "complete",
        1,
        "complete",
        3204,
        3204,
        "step",
    ),
    "q1_valmon/package_watch_q4_json_v4_eval.jsonl": (
        "package_watcher",
        6,
        "failed",
        2,
        "blocked_by_eval_watcher",
        None,
        None,
        None,
    ),
    "q1_valmon/watch_q4_json_v4_train.jsonl": (
        "watcher",
        14,
        "failed",
        1,
        "eval_full_exit",
        None,
        None,
        None,
    ),
    "q2_json_v2_eval/progress.jsonl": ("eval", 450, "complete", 1, "eval_complete", 448, 448, "sample"),
    "q2_json_v2_train/progress.jsonl": ("train", 85, "complete", 1, "complete", 712, 712, "step"),
    "q4_json_v4_eval/progress.jsonl": ("eval", 17, "none", 1, "sample_done", 16, 448, "sample"),
    "q4_json_v4_train/launch_status.jsonl": ("launcher", 2, "none", 1, "launch_detached", None, None, None),
    "q4_json_v4_train/progress.jsonl": ("train", 160, "complete", 1, "complete", 1424, 1424, "step"),
} | {
    f"c_fd_eval_val/progress_rank{k}.jsonl": ("fd_eval", 8, "complete", 1, "complete", 64, 64, "sample")
    for k in range(8)
}


@pytest.fixture(scope="module")
def answer(published: Path) -> dict[str, Any]:
    return summarise([published / "omni"])


@pytest.fixture(scope="module")
def logs(answer: dict[str, Any]) -> dict[str, Log]:
    return {log["path"]: log for log in answer["logs"]}


def test_exactly_the_event_logs_are_found(logs: dict[str, Log]) -> None:
    assert set(logs) == set(STORIES)


@pytest.mark.parametrize("path", STORIES)
def test_the_story_of(path: str, logs: dict[str, Log]) -> None:
    log = logs[path]
    keys = ("family", "rows", "terminal", "attempts", "last_event", "done", "total", "unit")
    assert tuple(log[key] for key in keys) == STORIES[path]
    assert (log["bad_lines"], log["pending"], log["duplicate_of"], log["problem"]) == (0, 0, None, "")


@pytest.mark.parametrize("path", STORIES)
def test_times_losses_and_run_are_those_of_the_rows(path: str, logs: dict[str, Log], published: Path) -> None:
    rows = [json.loads(line) for line in (published / "omni" / path).read_bytes().splitlines()]
    times = [row.get("timestamp", row.get("time")) for row in rows]
    losses = [
        row[key]
        for row in rows
        for key in ("rank0_batch_loss", "rank0_loss", "loss")
        if row["event"] in ("train_step", "eval_step") and key in row
    ]
    named = [row["run_id"] for row in rows if "run_id" in row]
    log = logs[path]
    assert (log["first_time"], log["last_time"]) == (times[0], times[-1])
    assert log["last_loss"] == (losses[-1] if losses else None)
    assert log["min_loss"] == (min(losses) if losses else None)
    assert log["counts"] == {
        name: sum(row["event"] == name for row in rows) for name in {r["event"] for r in rows}
    }
    if named:
        assert log["run_id"] == named[0]


def test_the_ranks_of_the_forward_dynamics_evaluation_are_one(answer: dict[str, Any]) -> None:
    (group,) = answer["groups"]
    assert (group["kind"], group["family"], group["expected"], group["missing"]) == (
        "ranks",
        "fd_eval",
        8,
        [],
    )
    assert (group["done"], group["total"], group["terminal"]) == (512, 512, "complete")


def test_why_the_watchers_stopped(logs: dict[str, Log]) -> None:
    assert logs["q1_valmon/watch_q4_json_v4_train.jsonl"]["reason"] == "eval_full_exit with return code -15"
    assert logs["q1_valmon/package_watch_q4_json_v4_eval.jsonl"]["reason"] == "blocked_by_eval_watcher"


def test_validation_losses_of_four_epochs(logs: dict[str, Log]) -> None:
    log = logs["q4_json_v4_train/progress.jsonl"]
    assert log["counts"]["epoch_end"] == 4
    assert log["last_val"] >= log["best_val"] > 0


def test_the_long_silence_of_preparation_is_a_phase(logs: dict[str, Log]) -> None:
    phases = {phase["name"]: phase for phase in logs["q2_json_v2_train/progress.jsonl"]["phases"]}
    assert phases["accelerator_prepare"]["seconds"] == pytest.approx(730, abs=1)


def test_the_killed_evaluation_is_joined_with_its_training_by_the_watcher_only(published: Path) -> None:
    store = open_store([published / "omni"])
    store.catch_up()
    runs = {run.run_id.rpartition("128ep_")[2]: run for run in adopt(summary_of(store))}
    killed = runs["structured_json_v4_4epoch_full8gpu_lora"]
    assert [(stage.name, stage.terminal) for stage in killed.stages] == [
        ("launch", "none"),
        ("train", "complete"),
        ("watch", "failed"),
        ("eval", "none"),
        ("package", "failed"),
    ]
    assert "structured_json_v2_reuse_full8gpu_lora_eval_test_full" in runs


def test_a_carriage_return_log_of_649_kilobytes_has_readable_last_lines(published: Path) -> None:
    log = read_end(published / "omni" / "q1_valmon" / "eval_q4_json_v4_train_eval_smoke8.log")
    assert log.size > 600_000
    assert log.lines[-1] == "}"
    assert all(len(line) < 300 for line in log.lines)


def test_copies_count_once(published: Path, tmp_path: Path) -> None:
    original = (published / "omni" / "q2_json_v2_train" / "progress.jsonl").read_bytes()
    places = [
        "q2/progress.jsonl",
        "q2/progress_lora.jsonl",
        "verified_public/q2_eval/training/progress.jsonl",
    ]
    for place in places:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(original)
    logs = {log["path"]: log["duplicate_of"] for log in summarise([tmp_path])["logs"]}
    assert logs == {places[0]: None, places[1]: places[0], places[2]: places[0]}
