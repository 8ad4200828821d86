"""The story of a log: attempts, ends, progress, losses, phases, and that batches do not matter."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path, PurePath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from logs import Event, encode, eval_rows, event, train_rows, view

from pipeline.engine.events import Batch
from pipeline.engine.log import EventWriter
from pipeline.engine.logview import view_of
from pipeline.engine.reduce import MAX_NAMES, OTHER, Reducer
from pipeline.engine.rings import CURVE_POINTS, Curve
from pipeline.engine.store import Log

# -- how a log ends ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "terminal"),
    [
        ([event("complete")], "complete"),
        ([event("complete", status="complete")], "complete"),
        ([event("complete", status="failed")], "failed"),
        ([event("failed", error="boom"), event("complete", status="failed")], "failed"),
        ([event("failed", error="boom"), event("complete")], "failed"),
        ([event("complete"), event("adapter_shape_repaired")], "complete"),
        ([event("complete", status="blocked_missing_cosmos_action_targets")], "complete"),
        ([event("eval_complete")], "complete"),
        ([event("watch_complete")], "complete"),
        ([event("eval_full_exit", returncode=-15)], "failed"),
        ([event("eval_full_exit", returncode=0)], "none"),
        ([event("blocked_by_validation_failure")], "failed"),
        ([event("blocked_existing_training")], "failed"),
        ([event("timeout")], "failed"),
        ([event("launch_failed")], "failed"),
        ([event("cancelled", message="stopped as asked")], "failed"),
        ([event("stage_done", rc=0)], "complete"),
        ([event("conductor_end", message="everything asked for is done")], "complete"),
        ([event("conductor_end", message="a gate is closed", hint="xops gate show")], "failed"),
        ([event("train_step", global_step=1)], "none"),
        ([event("sample_error", error="x")], "none"),
        ([event("eval_done"), event("save_done")], "none"),
        ([], "none"),
    ],
)
def test_how_a_log_ends(rows: list[Event], terminal: str) -> None:
    assert view(rows).terminal == terminal


def test_the_reason_names_what_happened() -> None:
    assert view([event("eval_full_exit", returncode=-15)]).reason == "eval_full_exit with return code -15"
    failed = [event("failed", error="CUDA out of memory"), event("complete", status="failed")]
    assert view(failed).reason == "CUDA out of memory"
    assert view([event("complete", status="failed")]).reason == "failed"


def test_the_last_event_is_the_last_row_even_after_the_end() -> None:
    assert (
        view([event("complete"), event("adapter_shape_repaired", x="y" * 30_000)]).last_event
        == "adapter_shape_repaired"
    )


# -- attempts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "attempts"),
    [
        ([], 0),
        (["train_step"], 1),
        (["start", "dataset_loaded", "complete"], 1),
        (["start", "dataset_loaded", "complete", "start", "dataset_loaded", "complete"], 2),
        (["setup_start", "setup_done", "adapter_built", "complete"], 1),
        (["setup_start", "setup_done", "setup_start", "setup_done"], 2),
        (["setup_done", "train_loop_start", "save_start", "save_done"], 1),
        (["eval_start", "sample_done", "eval_start", "sample_done", "eval_start"], 3),
        (["watch_start", "blocked_by_eval_watcher", "watch_start", "blocked_by_eval_watcher"], 2),
        (["complete", "setup_done"], 2),
        (["cosmos3_compat_start", "cosmos3_dataset_done", "cosmos3_compat_start"], 2),
        (["file_start", "split_transfer_done", "file_start", "split_transfer_done"], 1),
        (["download_start", "download_done", "download_start", "download_done"], 1),
    ],
)
def test_attempts_are_counted(names: list[str], attempts: int) -> None:
    assert view([event(name) for name in names]).attempts == attempts


def test_a_phase_log_begins_again_with_its_first_phase() -> None:
    phases = ["preflight", "build_manifest", "preflight", "build_manifest"]
    assert view([event("phase", phase=name) for name in phases]).attempts == 2


def test_a_relay_begins_again_when_a_batch_does() -> None:
    batches = [event("batch_start", batch=number) for number in (1, 2, 2, 3)]
    assert view(batches).attempts == 2


def test_a_failure_belongs_to_its_attempt() -> None:
    rows = [*eval_rows("e", 3, 9), event("failed", error="x"), *eval_rows("e", 2, 9, start=2000)]
    log = view(rows)
    assert (log.attempts, log.terminal, log.reason, log.done, log.total) == (2, "none", "", 2, 9)


def test_a_resumed_evaluation_counts_what_was_done_before() -> None:
    rows = [event("eval_start", 1, num_eval_samples=448, completed_before_start=16)]
    assert (view(rows).done, view(rows).total) == (16, 448)
    rows.append(event("sample_done", 9, completed_samples=17, num_eval_samples=448, seconds=8))
    assert view(rows).done == 17


def test_our_own_attempts_are_told_by_their_writers(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    for _ in range(3):
        with EventWriter(path, run_id="r") as emit:
            for done in range(3):
                emit("chunk_done", bytes=10, done=done, total=3, unit="chunk")
            emit("eval_start", num_eval_samples=8)
            emit("eval_start", num_eval_samples=448)
    log = Log(tmp_path, PurePath("progress.jsonl"))
    log.poll()
    assert (log.view().attempts, log.view().rows, log.view().run_id) == (3, 15, "r")


# -- progress ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "total"),
    [
        ({"epochs": 4, "rank_samples_per_epoch": 356}, 1424),
        ({"epochs": 16, "rank_samples_per_epoch": 32, "max_train_steps": 32}, 32),
        ({"epochs": 1, "rank_samples_per_epoch": 8, "max_train_steps": 100}, 8),
        ({"epochs": 2, "rank_samples_per_epoch": 10, "max_train_steps": 0}, 20),
        ({"epochs": 2, "rank_samples_per_epoch": 10, "max_train_steps": None}, 20),
        ({"rank_samples_per_epoch": 10}, None),
        ({}, None),
    ],
)
def test_planned_steps_are_the_smaller_of_both_limits(facts: Event, total: int | None) -> None:
    assert view([event("train_loop_start", 1, **facts)]).total == total


def test_planned_steps_know_the_batch_size() -> None:
    rows = [
        event("train_loop_start", 1, epochs=2, rank_samples_per_epoch=356),
        event("train_step", 2, epoch=1, global_step=10, rank0_seen=80, rank0_batch_loss=1.0),
    ]
    assert view(rows).total == 2 * math.ceil(356 / 8)


def test_a_run_that_stopped_in_preparation_has_done_nothing_of_an_unknown_total() -> None:
    rows = [event("setup_done", 1, rank0_samples_per_epoch=16), event("accelerator_prepare_start", 2)]
    log = view(rows)
    assert (log.family, log.done, log.total, log.phase, log.phase_since) == (
        "train",
        0,
        None,
        "accelerator_prepare",
        2,
    )


def test_samples_out_of_order_count_by_the_largest() -> None:
    rows = [
        event("sample_done", t, sample_index=i, completed_samples=c)
        for t, i, c in [(1, 7, 1), (3, 2, 3), (2, 5, 2)]
    ]
    assert view(rows).done == 3


def test_sparse_indices_of_a_rank_are_its_progress() -> None:
    rows = [
        event("model_ready", 1, num_eval_samples=56),
        *(event("eval_step", i, index=i, loss=1.0) for i in (1, 20, 40)),
    ]
    assert (view(rows).family, view(rows).done, view(rows).total) == ("fd_eval", 40, 56)


def test_stated_progress_wins() -> None:
    log = view([event("progress", 1, done=3, total=7, unit="episode"), event("progress", 2, done=5)])
    assert (log.done, log.total, log.unit) == (5, 7, "episode")


def test_the_chunks_of_one_file_are_not_the_progress_of_all() -> None:
    rows = [
        event("progress", 1, done=2, total=42, unit="file"),
        event("download_start", 2, file="a", total=9, unit="chunk"),
        event("chunk_downloaded", 3, file="a", done=4, total=9, unit="chunk", bytes=8),
        event("chunk_retry", 3, file="a", done=4, total=9, unit="chunk"),
    ]
    log = view(rows)
    assert (log.done, log.total, log.unit, log.bytes_done) == (2, 42, "file", 8)


def test_transfers_count_files_and_bytes_once() -> None:
    rows = [
        event("start"),
        event("file_start", 1, path="a", bytes=100),
        event("chunk_done", 2, file="a", chunk=0, bytes=60),
        event("chunk_done", 3, file="a", chunk=1, bytes=40),
        event("split_transfer_done", 4, path="a", bytes=100, seconds=2.0),
        event("skip_existing", 5, path="b", bytes=50),
    ]
    log = view(rows)
    assert (log.family, log.done, log.unit, log.bytes_done, log.bytes_per_s) == (
        "transfer",
        2,
        "file",
        100,
        40.0,
    )


def test_rate_and_time_left_come_with_a_band() -> None:
    log = view(eval_rows("e", 100, 448))
    assert log.rate == pytest.approx(1 / 8)
    assert log.eta_s == pytest.approx(348 * 8)
    assert log.eta_low_s is not None
    assert log.eta_high_s is not None
    assert log.eta_low_s <= log.eta_s <= log.eta_high_s
    assert view(eval_rows("e", 9, 9)).eta_s is None


def test_phases_have_durations() -> None:
    rows = [
        event("model_load_start", 10),
        event("model_load_done", 75),
        event("accelerator_prepare_start", 75),
    ]
    log = view(rows)
    assert [(p.name, p.count, p.seconds, p.since) for p in log.phases] == [
        ("model_load", 1, 65.0, None),
        ("accelerator_prepare", 0, 0.0, 75.0),
    ]


def test_failed_samples_are_counted_and_the_newest_kept() -> None:
    rows = [
        event("sample_error", i, sample_id=f"s{i}", error_type="ValueError", error="e" * 999)
        for i in range(50)
    ]
    log = view(rows)
    assert (log.family, log.errors, len(log.last_errors), log.last_errors[-1].sample_id) == (
        "eval",
        50,
        20,
        "s49",
    )
    assert len(log.last_errors[-1].error) == 300


# -- losses --------------------------------------------------------------------------------------------


def test_losses_of_every_writer() -> None:
    for field in ("rank0_batch_loss", "rank0_loss", "loss"):
        log = view(
            [event("train_step", i, step=i, **{field: loss}) for i, loss in enumerate((3.0, 1.0, 2.0))]
        )
        assert (log.last_loss, log.min_loss) == (2.0, 1.0)


def test_a_loss_that_is_no_number_is_told_and_does_not_stick() -> None:
    rows = [
        event("train_step", 1, global_step=1, loss=2.0),
        event("train_step", 2, global_step=2, loss=math.nan),
    ]
    assert (view(rows).last_loss, view(rows).min_loss, view(rows).nonfinite) == (None, 2.0, 1)
    rows.append(event("train_step", 3, global_step=3, loss=1.5))
    assert (view(rows).last_loss, view(rows).min_loss, view(rows).nonfinite) == (1.5, 1.5, 1)


def test_our_own_null_loss_is_told_as_not_finite(tmp_path: Path) -> None:
    with EventWriter(tmp_path / "progress.jsonl") as emit:
        emit("train_step", step=1, loss=1.0)
        emit("train_step", step=2, loss=math.inf)
    log = Log(tmp_path, PurePath("progress.jsonl"))
    log.poll()
    assert (log.view().last_loss, log.view().nonfinite, log.view().bad_lines) == (None, 1, 0)


def test_a_step_without_loss_changes_no_loss() -> None:
    rows = [event("train_step", 1, global_step=1, loss=2.0), event("train_step", 2, global_step=2)]
    assert (view(rows).last_loss, view(rows).nonfinite) == (2.0, 0)


def test_validation_losses_make_a_curve() -> None:
    rows = [
        event("epoch_end", e, global_step=e * 10, val_loss=v)
        for e, v in [(1, 0.3), (2, 0.2), (3, 0.25), (4, None)]
    ]
    log = view(rows)
    assert (log.last_val, log.best_val) == (0.25, 0.2)
    assert log.curves["val"].ys == (0.3, 0.2, 0.25)


def test_a_curve_keeps_the_whole_life_in_bounded_points() -> None:
    curve = Curve()
    for i in range(10_000):
        curve.append(float(i), float(i), float(i))
    assert len(curve.xs) <= CURVE_POINTS
    assert list(curve.xs) == [float(i) for i in range(0, 10_000, curve.stride)]
    assert curve.last == (9999.0, 9999.0, 9999.0)


# -- what is unknown, and how it arrives ---------------------------------------------------------------


def test_unknown_events_are_counted_and_bounded() -> None:
    log = view([event(f"strange_{i}") for i in range(1000)])
    assert (log.family, log.rows, sum(log.counts.values())) == ("unknown", 1000, 1000)
    assert len(log.counts) == MAX_NAMES + 1
    assert log.counts[OTHER] == 1000 - MAX_NAMES


def test_long_names_are_cut() -> None:
    log = view([event("a"), event("x" * 5000)])
    assert (list(log.counts), log.last_event) == (["a", "x" * 80], "x" * 80)


def test_the_clock_may_jump() -> None:
    log = view([event("a", 500.0), event("b", 100.0), event("c")])
    assert (log.first_time, log.last_time, log.last_event) == (500.0, 100.0, "c")


EVENTS = """
    start setup_done train_step sample_done eval_step chunk_done complete failed eval_start phase save_start
    save_done watch_start eval_full_exit batch_start epoch_end sample_error strange"""
names = st.sampled_from(EVENTS.split())
numbers = st.integers(0, 50) | st.floats(0, 50) | st.none()
rows_strategy = st.lists(
    st.fixed_dictionaries(
        {"event": names},
        optional={
            "timestamp": numbers,
            "global_step": numbers,
            "completed_samples": numbers,
            "num_eval_samples": numbers,
            "index": numbers,
            "loss": numbers | st.just(math.nan),
            "rank0_loss": numbers,
            "seconds": numbers,
            "bytes": numbers,
            "phase": st.sampled_from("ab"),
            "returncode": st.sampled_from([0, -15]),
            "val_loss": numbers,
        },
    ),
    max_size=40,
)


@settings(deadline=None)
@given(rows=rows_strategy, cuts=st.lists(st.integers(0, 40), max_size=6), junk=st.binary(max_size=20))
def test_any_split_into_batches_gives_the_same_view(rows: list[Event], cuts: list[int], junk: bytes) -> None:
    lines = [json.dumps({"run_id": "r", **row}).encode() + b"\n" for row in rows]
    lines.insert(len(lines) // 2, junk.replace(b"\n", b"") + b"\n")
    whole, parts = Reducer(), Reducer()
    whole.feed(Batch(b"".join(lines)))
    at = 0
    for cut in [*sorted(cuts), len(lines)]:
        parts.feed(Batch(b"".join(lines[at : max(at, cut)])))
        at = max(at, cut)
    views = [view_of(r, PurePath("progress.jsonl"), PurePath("/r"), curves=True) for r in (whole, parts)]
    assert views[0] == views[1]


@settings(deadline=None)
@given(st.lists(st.binary(max_size=60) | rows_strategy.map(encode), max_size=8))
def test_no_file_whatever_raises(pieces: list[bytes]) -> None:
    reducer = Reducer()
    for piece in pieces:
        reducer.feed(Batch(piece))
    view_of(reducer, PurePath(os.fsdecode(b"\xff/progress.jsonl")), PurePath("/r"), curves=True)


def test_a_clean_training_reads_as_one() -> None:
    log = view(train_rows("r", 25))
    assert (log.family, log.run_id, log.done, log.total, log.unit, log.terminal) == (
        "train",
        "r",
        25,
        25,
        "step",
        "complete",
    )
    assert log.curves["loss"].xs == (10.0, 20.0, 25.0)
