"""What a report tells, gathered from what the stages published. Nothing is computed a second time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from pipeline.engine.files import read_json
from pipeline.metrics.classification import Confusion

#: Metrics of a report, in order.
METRICS = (
    "json_validity_rate",
    "accuracy",
    "action_macro_f1",
    "subtask_accuracy",
    "transition_accuracy",
    "next_action_accuracy",
    "contact_accuracy",
    "object_micro_f1",
    "seen_label_accuracy",
    "unseen_label_accuracy",
)

#: Confusions of a report.
_CONFUSIONS = 15


class MetricRow(Struct, frozen=True):
    """One metric beside what it must be compared with.

    Attributes:
        name: its key.
        value: None where it does not apply.
        low, high: 95 % interval by episode.
        baseline: of the best answer given without looking.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    baseline: float | None


class Facts(Struct, frozen=True):
    """Everything the reports tell.

    Attributes:
        run_id, kind: of the run.
        metrics, meta: `metrics.json` and `training_metadata.json`.
        rows: metrics with baselines.
        supported: metrics over labels that occur.
        confusions: most frequent (true, predicted, rows).
        curve: (step, loss) of training; `validations_at` the same of validation.
        validations: name -> status; `issues` of all of them.
        skipped: episodes that gave no row, with reasons.
    """

    run_id: str
    kind: str
    metrics: Mapping[str, Any]
    meta: Mapping[str, Any]
    rows: tuple[MetricRow, ...]
    supported: Mapping[str, Any]
    confusions: tuple[tuple[str, str, int], ...]
    curve: tuple[tuple[float, float], ...]
    validations_at: tuple[tuple[float, float], ...]
    validations: Mapping[str, str]
    issues: tuple[Mapping[str, Any], ...]
    skipped: tuple[tuple[str, str], ...]


def gather(run_id: str, kind: str, *, dataset: Path, train: Path, merge: Path, validate: Path) -> Facts:
    """Read what the stages published.

    Raises:
        XopsError: a file is missing or damaged.
    """
    metrics = read_json(merge / "metrics.json")
    meta = read_json(train / "training_metadata.json")
    found = {name: read_json(validate / f"{name}.json") for name in ("training", "eval")}
    skipped = read_json(dataset / "dataset_manifest.json").get("skipped_episodes") or []
    return Facts(
        run_id=run_id,
        kind=kind,
        metrics=metrics,
        meta=meta,
        rows=tuple(_metric_rows(metrics)),
        supported=metrics["supported"],
        confusions=tuple(_confusions(merge / "predictions.jsonl")),
        curve=tuple(_points(train / "progress.jsonl", "train_step", "rank0_batch_loss")),
        validations_at=tuple(_points(train / "progress.jsonl", "val_end", "val_loss")),
        validations={name: str(record["status"]) for name, record in found.items()},
        issues=tuple(issue for record in found.values() for issue in record["issues"]),
        skipped=tuple((str(one.get("episode_path")), str(one.get("reason"))) for one in skipped),
    )


def _metric_rows(metrics: Mapping[str, Any]) -> Iterator[MetricRow]:
    baselines = metrics["baselines"].get("parity", {})
    for name in METRICS:
        interval = metrics["intervals"].get(name) or {}
        value = metrics.get(name)
        if value is None:
            continue
        yield MetricRow(name, value, interval.get("low"), interval.get("high"), baselines.get(name))


def _confusions(predictions: Path) -> list[tuple[str, str, int]]:
    rows = [msgspec.json.decode(line) for line in predictions.open("rb")]
    matrix = Confusion((row["true_label"], row["predicted_label"]) for row in rows)
    wrong = [(t, p, n) for (t, p), n in matrix.cells.most_common() if t != p]
    return wrong[:_CONFUSIONS]


def _points(log: Path, event: str, field: str) -> Iterator[tuple[float, float]]:
    for line in log.open("rb"):
        try:
            found = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        value = found.get(field) if found.get("event") == event else None
        if isinstance(value, (int, float)):
            yield float(found["global_step"]), float(value)
