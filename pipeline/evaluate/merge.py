"""Shards put together: exactly one row per question, one model, and every metric computed again from rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from pipeline.engine.files import publish_bytes, publish_json
from pipeline.evaluate.predictions import FINAL_FILE
from pipeline.evaluate.rows import EvalRows
from pipeline.metrics.answers import Options, parse_answer
from pipeline.metrics.classification import Confusion
from pipeline.metrics.options import DatasetFacts
from pipeline.metrics.report import json_qa_report

METRICS_FILE, CSV_FILE = "metrics.json", "predictions.csv"
CLASSES_FILE, CONFUSION_FILE = "per_class_metrics.csv", "confusion_matrix.csv"

#: Columns of `predictions.csv`, as published.
_COLUMNS = (
    "id",
    "target",
    "split",
    "episode_id",
    "center_window",
    "true_label",
    "raw_prediction",
    "predicted_label",
    "correct",
    "true_label_seen_in_train",
)


class Merged(Struct, frozen=True):
    """All shards' rows, and what is wrong with them.

    Attributes:
        rows: one per answered question, in the dataset's order.
        missing: ids without an answer.
        duplicates: ids that were answered more than once.
        unknown: ids that are not questions of this split, with the split they are of, if any.
        identities: of the rows.
        torn: lines that are no rows, as `file:line`.
        errors, truncated: ids whose row says so.
    """

    rows: tuple[dict[str, Any], ...]
    missing: tuple[str, ...]
    duplicates: tuple[str, ...]
    unknown: Mapping[str, str]
    identities: tuple[str, ...]
    torn: tuple[str, ...]
    errors: tuple[str, ...]
    truncated: tuple[str, ...]


def merge_shards(folders: Sequence[Path], asked: EvalRows) -> Merged:
    """Read every shard's `predictions.jsonl`; of an id answered twice the first answer stays.

    Args:
        folders: published folders of the shards.
        asked: the questions.
    """
    places = {row["id"]: place for place, row in enumerate(asked.rows)}
    found: dict[str, dict[str, Any]] = {}
    duplicates: list[str] = []
    unknown: dict[str, str] = {}
    torn: list[str] = []
    for folder in folders:
        for number, line in enumerate((folder / FINAL_FILE).read_bytes().splitlines(), 1):
            row = _row(line)
            if row is None:
                torn.append(f"{folder.parent.name}/{FINAL_FILE}:{number}")
            elif row["id"] not in places:
                unknown[row["id"]] = asked.others.get(row["id"], "none of the dataset")
            elif row["true_label"] != asked.rows[places[row["id"]]]["answer_json"]["action"]:
                unknown[row["id"]] = "its true label is not the dataset's"
            elif row["id"] in found:
                duplicates.append(row["id"])
            else:
                found[row["id"]] = row
    rows = sorted(found.values(), key=lambda row: places[row["id"]])
    return Merged(
        rows=tuple(rows),
        missing=tuple(name for name in places if name not in found),
        duplicates=tuple(duplicates),
        unknown=unknown,
        identities=tuple(sorted({str(row.get("identity", "")) for row in rows})),
        torn=tuple(torn),
        errors=tuple(row["id"] for row in rows if row.get("finish") == "error"),
        truncated=tuple(row["id"] for row in rows if row.get("truncated")),
    )


def publish_merged(
    merged: Merged,
    out: Path,
    *,
    facts: DatasetFacts,
    asked: EvalRows,
    run_id: str,
    shard_dirs: Sequence[str],
    resamples: int,
    full_matrix: bool,
    extra: Mapping[str, Any],
) -> dict[str, Any]:
    """Write predictions, tables and metrics into `out`; returns the metrics.

    Args:
        merged: at least one row.
        out: the folder.
        facts: of the dataset's manifest.
        asked: the questions.
        run_id: of the evaluation.
        shard_dirs: where the rows came from.
        resamples: of the bootstrap.
        full_matrix: write zeros too, as the original did; else only labels that occur.
        extra: keys to add to the metrics.
    """
    lines = b"".join(msgspec.json.encode(row) + b"\n" for row in merged.rows)
    publish_bytes(out / FINAL_FILE, lines)
    publish_bytes(out / CSV_FILE, _predictions_csv(merged.rows))
    report = json_qa_report(out / FINAL_FILE, facts, resamples=resamples)
    options = Options(facts.options)
    pairs = [(str(row["true_label"]), _label(row, options)) for row in merged.rows]
    matrix = Confusion(pairs)
    labels = matrix.labels(options.labels)
    publish_bytes(out / CLASSES_FILE, _classes_csv(matrix, labels))
    shown = labels if full_matrix else [n for n in labels if matrix.support[n] or matrix.predicted[n]]
    publish_bytes(out / CONFUSION_FILE, _confusion_csv(matrix, shown))
    expected = len(asked.rows)
    metrics = {
        "run_id": run_id,
        "eval_split": asked.split,
        **report["parity"],
        "coverage": {
            **report["coverage"],
            "expected_rows": expected,
            "expected_eval_samples": expected,
            "merged_prediction_rows": len(merged.rows),
            "missing_prediction_rows": len(merged.missing),
        },
        "shard_dirs": list(shard_dirs),
        "issues": issues(merged),
        "partial": bool(merged.missing),
        "identity": merged.identities[0] if len(merged.identities) == 1 else None,
        "error_rows": list(merged.errors),
        "truncated_rows": len(merged.truncated),
        **{name: report[name] for name in ("supported", "baselines", "intervals")},
        **extra,
    }
    publish_json(out / METRICS_FILE, msgspec.to_builtins(metrics))
    return metrics


def issues(merged: Merged) -> list[str]:
    """What keeps the rows from being the evaluation that was asked for, in words."""
    found: list[str] = []
    for name in ("missing", "duplicates", "torn"):
        names = getattr(merged, name)
        if names:
            found.append(f"{len(names)} {name}: {', '.join(names[:5])}")
    if merged.unknown:
        first = ", ".join(f"{name} ({split})" for name, split in list(merged.unknown.items())[:5])
        found.append(f"{len(merged.unknown)} not asked for: {first}")
    if len(merged.identities) > 1:
        found.append(f"{len(merged.identities)} identities: {', '.join(merged.identities)}")
    return found


class _Shape(Struct):
    """What a row must have to count."""

    id: str
    true_label: str
    raw_prediction: str
    split: str
    episode_id: str


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row: dict[str, Any] = msgspec.json.decode(line)
        msgspec.convert(row, _Shape)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return row


def _label(row: Mapping[str, Any], options: Options) -> str:
    return options.label(row["raw_prediction"], parse_answer(row["raw_prediction"]))


def _predictions_csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """As the evaluators wrote it: CRLF, the window as a Python literal."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for row in rows:
        writer.writerow([row.get(column, "") for column in _COLUMNS])
    return text.getvalue().encode("utf-8", "replace")


def _classes_csv(matrix: Confusion, labels: Sequence[str]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("class_name", "support", "predicted", "precision", "recall", "f1"))
    writer.writerows(tuple(matrix.score(label)) for label in labels)
    return text.getvalue().encode("utf-8", "replace")


def _confusion_csv(matrix: Confusion, labels: Sequence[str]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("true\\pred", *labels))
    for true in labels:
        writer.writerow((true, *(matrix.cells[true, predicted] for predicted in labels)))
    return text.getvalue().encode("utf-8", "replace")
