"""Which kind of log a file is: vocabulary first, name second."""

from __future__ import annotations

from pathlib import PurePath

import pytest
from logs import Event, event, view

from pipeline.engine.families import family_of_path

START = event("start", run_id="r")


@pytest.mark.parametrize(
    ("rows", "family"),
    [
        ([event("setup_done", rank0_samples_per_epoch=8), event("model_load_start")], "train"),
        ([event("train_step", global_step=1, rank0_batch_loss=1.0)], "train"),
        ([START, event("dataset_ready", lora_rank=16)], "fd_train"),
        ([event("train_step", step=1, rank0_loss=1.0)], "fd_train"),
        ([event("eval_start", num_eval_samples=8)], "eval"),
        ([event("sample_error", error="x")], "eval"),
        ([event("eval_start", process_index=3, num_processes=8)], "fd_eval"),
        ([event("setup_start"), event("setup_done", num_eval_samples=378)], "future_window"),
        ([event("watch_start", train_run_id="t", eval_smoke_run_id="s")], "watcher"),
        ([{"attempt": 1, "approved": False, "status": "not_approved"}], "watcher"),
        ([event("watch_start", output_dir="o", validation_json="v")], "package_watcher"),
        ([event("watch_start"), event("waiting_for_eval_artifacts", missing=[])] * 2, "package_watcher"),
        ([event("launch_start"), event("launch_detached")], "launcher"),
        ([event("some_other_guard_start"), event("some_other_pid_exited")], "launcher"),
        ([event("anything_preempt_for_qwen_v9_handoff")], "launcher"),
        ([event("phase", phase="preflight")], "pipeline"),
        ([event("cosmos3_compat_start"), event("cosmos3_dataset_done")], "pipeline"),
        (
            [event("preflight_start"), event("manifest_start"), event("train_done"), event("eval_start")],
            "pipeline",
        ),
        ([event("stage_start"), event("stage_done")], "pipeline"),
        ([event("batch_start", batch=1), event("download_start"), event("chunk_transfer_start")], "relay"),
        ([event("start"), event("file_start"), event("split_transfer_done"), event("done")], "transfer"),
        ([event("start"), event("dataset_loaded"), event("complete", status="ok")], "unknown"),
        ([event("strange")], "unknown"),
        ([], "unknown"),
    ],
)
def test_the_vocabulary_tells_the_family_whatever_the_name(rows: list[Event], family: str) -> None:
    assert view(rows, path="somewhere/x.jsonl").family == family


def test_one_stray_row_does_not_rename_a_log() -> None:
    rows = [event("train_step", global_step=i, rank0_batch_loss=1.0) for i in range(10)]
    assert view([*rows, event("eval_step", index=1), event("phase", phase="x")]).family == "train"


@pytest.mark.parametrize(
    ("path", "family"),
    [
        ("results/x/progress_rank3.jsonl", "fd_eval"),
        ("x/package_watch_y.jsonl", "package_watcher"),
        ("x/watch_y.jsonl", "watcher"),
        ("x/launch_status.jsonl", "launcher"),
        ("x/pipeline_status.jsonl", "pipeline"),
        ("relay/relay_progress.jsonl", "relay"),
        ("relay/chunk_transfer_batch_0003.jsonl", "transfer"),
        ("x/progress.jsonl", "unknown"),
        ("runs/r/stages/train/progress.jsonl", "train"),
        ("runs/r/stages/eval/shards/03/progress.jsonl", "eval"),
        ("runs/r/stages/relay/progress.jsonl", "relay"),
        ("runs/r/stages/download/progress.jsonl", "transfer"),
        ("runs/r/conductor/progress.jsonl", "pipeline"),
        ("results/stages/progress.jsonl", "unknown"),
        ("runs/r/stages/export/progress.jsonl", "pipeline"),
        ("runs/r/stages/train/events.jsonl", "pipeline"),
    ],
)
def test_the_name_tells_what_the_rows_do_not(path: str, family: str) -> None:
    assert family_of_path(PurePath(path)) == family


def test_our_own_stages_are_what_their_directory_says() -> None:
    rows = [event("chunk_done", bytes=1), event("sample_done")]
    assert view(rows, path="runs/r/stages/relay/progress.jsonl").family == "relay"
