"""Every published number, recomputed from the published rows, is the same double."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.metrics import forward_dynamics, future_window, suite
from pipeline.metrics.options import read_dataset_facts
from pipeline.metrics.report import json_qa_report

JSON_QA = ["pkg/q1_valmon_eval/eval", "q2_json_v2_eval", "q4_json_v4_eval"]
FIELD_METRICS = {
    "subtask_accuracy",
    "transition_accuracy",
    "next_action_accuracy",
    "contact_accuracy",
    "object_micro_f1",
}
SUITE = [
    "suite1/timeline_action",
    "suite1/transition_detection",
    "suite1/misalignment_detection",
    "suite1/object_relevance",
    "omni/base128/timeline_action",
    "omni/base128/contact_prediction",
    "omni/base128/temporal_order",
    "omni/base128/object_relevance",
    "omni/base128/caption_grounding",
]


def stored(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8"))


def differences(found: dict[str, Any], published: dict[str, Any]) -> dict[str, Any]:
    return {key: (value, published[key]) for key, value in found.items() if published[key] != value}


@pytest.mark.parametrize("run", JSON_QA)
def test_json_qa_from_the_raw_answers(published: Path, run: str) -> None:
    folder = published / "omni" / run
    facts = read_dataset_facts(published / "omni" / "dataset_manifest.json")
    report = json_qa_report(folder / "predictions.jsonl", facts, resamples=0)
    expected = stored(folder / "metrics.json")
    assert differences(report["parity"], expected) == {}
    assert list(report["parity"]["eval_label_counts"]) == list(expected["eval_label_counts"])
    assert report["coverage"]["stored_labels_that_differ"] == 0
    assert report["coverage"]["share"] == 1.0


def test_json_qa_of_merged_scales_from_the_csv(published: Path) -> None:
    folder = published / "omni/pkg/q5_multiscale_v5_eval"
    facts = read_dataset_facts(folder / "dataset" / "dataset_manifest.json")
    report = json_qa_report(folder / "eval" / "predictions.csv", facts, resamples=0)
    wrong = differences(report["parity"], stored(folder / "eval" / "metrics.json"))
    assert wrong.keys() == FIELD_METRICS, "the CSV has no true fields"
    assert all(found is None for found, _ in wrong.values())
    assert report["coverage"]["rows_with_known_truth"]["subtask"] == 0


def test_what_the_best_run_is_worth_beside_answers_that_do_not_look(published: Path) -> None:
    facts = read_dataset_facts(published / "omni" / "dataset_manifest.json")
    report = json_qa_report(published / "omni/q4_json_v4_eval/predictions.jsonl", facts, resamples=50)
    without_looking = report["baselines"]["parity"]
    assert report["parity"]["transition_accuracy"] == without_looking["transition_accuracy"]
    assert report["parity"]["accuracy"] == without_looking["accuracy"]
    assert without_looking["next_action_accuracy"] == pytest.approx(442 / 448)
    assert report["coverage"]["unseen_label_rows"] == 317
    assert len(report["coverage"]["skipped_episodes"]) == 9
    interval = report["intervals"]["accuracy"]
    assert interval.low < report["parity"]["accuracy"] < interval.high


def test_a_partial_file_speaks_only_for_its_rows(published: Path) -> None:
    facts = read_dataset_facts(published / "omni" / "dataset_manifest.json")
    report = json_qa_report(published / "omni/q4_json_v4_eval/predictions.partial.jsonl", facts, resamples=0)
    assert report["coverage"]["rows"] == 16
    assert report["coverage"]["share"] == pytest.approx(16 / 448)


def test_labels_may_come_from_the_rows_but_then_it_is_another_metric(published: Path) -> None:
    path = published / "omni/q4_json_v4_eval/predictions.jsonl"
    report = json_qa_report(path, None, resamples=0)
    assert report["coverage"]["options_from"] == "the rows themselves"
    stated = stored(path.parent / "metrics.json")
    assert report["parity"]["macro_f1"] > stated["macro_f1"]


def test_future_window_retrieval(published: Path) -> None:
    folder = published / "omni" / "c_nano_eval"
    report = future_window.report(folder / "future_predictions.jsonl", resamples=20)
    assert differences(report["parity"], stored(folder / "metrics.json")) == {}
    assert report["supported"]["distinct_nearest_candidates"] == 10


def test_forward_dynamics(published: Path) -> None:
    path = published / "omni/c_fd_eval_val/metrics.json"
    report = forward_dynamics.report(path, resamples=0)
    expected = stored(path)
    assert report["parity"]["loss_summary"] == expected["loss_summary"]
    assert report["parity"]["val_forward_dynamics_mse"] == expected["loss_summary"]["mean"]
    assert report["coverage"] == {"rows": 512, "expected_rows": 512, "not_finite": 0, "ranks": 8}


@pytest.mark.parametrize("task", SUITE)
def test_a_task_of_the_suite(published: Path, task: str) -> None:
    report = suite.report(published / task, resamples=0)
    expected = stored(published / task / "metrics.json")
    expected |= expected.get("splits", {}).get("test", {})
    assert differences(report["parity"], expected) == {}
