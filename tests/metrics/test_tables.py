"""What foreign files hold, and what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.engine.errors import NotFoundError, UsageError
from pipeline.metrics import forward_dynamics, future_window, suite
from pipeline.metrics.options import read_dataset_facts, read_options
from pipeline.metrics.rows import read_rows

ROW: dict[str, Any] = {"id": "1", "true_label": "cut", "raw_prediction": "cut", "split": "test"}


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def test_lines_that_are_no_rows_are_counted_with_their_reason(tmp_path: Path) -> None:
    lines = (json.dumps(ROW), '{"id": "2", "tr', "[]", json.dumps(ROW | {"true_label": None}), "", "9" * 5000)
    found = read_rows(write(tmp_path / "predictions.jsonl", *lines))
    assert len(found.rows) == 1
    assert [skipped.line for skipped in found.skipped] == [2, 3, 4, 6]
    assert "not JSON" in found.skipped[0].reason
    assert found.skipped[2].reason == "true_label is missing or no text"


def test_a_csv_cell_may_hold_newlines_and_a_python_literal(tmp_path: Path) -> None:
    header = "id,true_label,raw_prediction,center_window,true_label_seen_in_train"
    text = header + '\n1,cut,"a\nb","{\'start_frame\': 3}",0\n'
    path = tmp_path / "predictions.csv"
    path.write_text(text, "utf-8")
    (row,) = read_rows(path).rows
    assert (row.raw, row.start_frame, row.end_frame, row.seen_in_train) == ("a\nb", 3, None, False)


@pytest.mark.parametrize("window", ["__import__('os')", "[" * 900, "{'start_frame': 'x'}", ""])
def test_a_window_that_is_no_window_is_unknown(tmp_path: Path, window: str) -> None:
    path = write(tmp_path / "p.csv", "id,true_label,raw_prediction,center_window", f'1,a,b,"{window}"')
    assert read_rows(path).rows[0].start_frame is None


def test_files_that_hold_no_prediction_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        read_rows(tmp_path / "nothing.jsonl")
    with pytest.raises(UsageError, match="is a directory"):
        read_rows(tmp_path)
    with pytest.raises(UsageError, match="line 1: not JSON"):
        read_rows(write(tmp_path / "notes.txt", "hello"))
    (tmp_path / "film.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not a predictions file"):
        read_rows(tmp_path / "film.jsonl")


def test_labels_from_a_list_a_manifest_or_lines(tmp_path: Path) -> None:
    assert read_options(write(tmp_path / "labels.txt", "b", "a")).options == ("b", "a")
    assert read_options(write(tmp_path / "labels.json", '["b", "a"]')).options == ("b", "a")
    merged = {"components": [{"manifest": {"action_options": [label]}} for label in "cab"]}
    assert read_dataset_facts(write(tmp_path / "m.json", json.dumps(merged))).options == ("a", "b", "c")
    with pytest.raises(UsageError, match="no action_options"):
        read_dataset_facts(write(tmp_path / "e.json", "{}"))


def test_a_future_prediction_without_its_rank_is_refused(tmp_path: Path) -> None:
    query = {"id": "q", "episode_id": "e", "future_record_id": "e:qa:1", "pred_future_record_id": "e:qa:2"}
    with pytest.raises(UsageError, match="row 1 has no rank"):
        future_window.report(write(tmp_path / "f.jsonl", json.dumps(query)))
    with pytest.raises(UsageError, match="not a whole number"):
        future_window.report(write(tmp_path / "f.jsonl", json.dumps(query | {"rank": "first"})))


def test_losses_that_are_not_finite_are_counted_not_averaged(tmp_path: Path) -> None:
    path = write(tmp_path / "metrics.json", '{"losses": [1.0, 3.0, NaN], "num_eval_samples": 4}')
    report = forward_dynamics.report(path, resamples=0)
    assert report["parity"]["loss_summary"]["mean"] == 2.0
    assert report["coverage"] == {"rows": 3, "expected_rows": 4, "not_finite": 1, "ranks": 0}
    with pytest.raises(UsageError, match="has no losses"):
        forward_dynamics.report(write(tmp_path / "empty.json", "{}"))


def test_a_boundary_takes_the_nearest_true_one_nobody_took(tmp_path: Path) -> None:
    write(tmp_path / "true_boundaries.csv", "frame", "10", "18", "900")
    windows = [(8, "transition"), (12, "transition"), (15, "steady"), (60, "transition")]
    lines = [f"{c - 5},{c + 5},{c},steady,{label}" for c, label in windows]
    write(
        tmp_path / "predictions.csv", "start_frame,end_frame,center_frame,true_label,predicted_label", *lines
    )
    parity = suite.report(tmp_path, resamples=0)["parity"]
    assert (parity["true_boundaries"], parity["predicted_boundaries"]) == (2, 3)
    assert parity["matched_boundaries"] == 2
    assert parity["mean_abs_timing_error_frames"] == 4.0


def test_a_task_directory_without_predictions_says_why(tmp_path: Path) -> None:
    write(tmp_path / "metrics.json", '{"reason": "requires raw blocks"}')
    with pytest.raises(NotFoundError) as caught:
        suite.report(tmp_path)
    assert "requires raw blocks" in caught.value.hint
    with pytest.raises(UsageError, match="of no known task"):
        suite.report(write(tmp_path / "predictions.csv", "a,b", "1,2").parent)
