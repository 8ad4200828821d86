"""`RUN_REPORT.md`: the published lines first (formats section 2.6), then what makes them mean something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.reporting.facts import Facts, MetricRow

#: Characters that would end a code span or a table cell.
_UNSAFE = str.maketrans({"`": "'", "|": "/", "\n": " ", "\r": " "})


def run_report(facts: Facts) -> str:
    """The whole file."""
    metrics = facts.metrics
    coverage = metrics["coverage"]
    lines = [
        "# Qwen3-Omni LoRA Sharded Evaluation",
        "",
        _line("Dataset", facts.meta["dataset_jsonl"]),
        _line("Eval split", metrics["eval_split"]),
        _line("Expected eval samples", coverage["expected_eval_samples"]),
        _line("Merged predictions", coverage["merged_prediction_rows"]),
        _line("Held-out episodes", metrics["held_out_episode_count"]),
        _line("Accuracy", _number(metrics["accuracy"])),
        _line("Macro-F1", _number(metrics["macro_f1"])),
        _line("JSON validity", _number(metrics["json_validity_rate"])),
        "",
        "Artifacts include `metrics.json`, `predictions.csv`, `per_class_metrics.csv`, and "
        "`confusion_matrix.csv`.",
        "",
        "## What the numbers are worth",
        "",
        f"Run `{_safe(facts.run_id)}` of kind `{facts.kind}`; answers held to: `{metrics['labels_mode']}`.",
        "",
        _table(facts.rows),
        "",
        "*Without looking* is the best constant or copied answer on the same rows; intervals are 95 % by "
        "resampling episodes.",
        "",
        "## Coverage",
        "",
        _line("Rows without an answer (count as wrong)", len(metrics["error_rows"])),
        _line("Answers cut at the longest length", metrics["truncated_rows"]),
        _line("Rows whose action never occurs in train", metrics["num_unseen_label_samples"]),
        _line("Episodes skipped before", len(facts.skipped)),
        *(f"  - `{_safe(path)}`: {_safe(reason)}" for path, reason in facts.skipped),
        "",
        "## Training",
        "",
        _line("Base model", facts.meta["model_id"]),
        _line("Tuning mode", facts.meta["tuning_mode"]),
        _line("Train samples", facts.meta["num_train_samples"]),
        _line("Validation samples", facts.meta["num_val_samples"]),
        _line("Processes", facts.meta["num_processes"]),
        _line("Loss", "cross entropy of answer tokens only"),
        _line("Final train loss", _number(_last(facts.meta["history"], "train_loss"), 6)),
        _line("Best validation loss", _number(facts.meta["best"]["val_loss"], 6)),
        _line("Adapter sha256", facts.meta["adapter_sha256"]),
        _line("Dataset sha256", facts.meta["dataset_sha256"]),
        "",
        "## Validation",
        "",
        *(_line(name, status) for name, status in facts.validations.items()),
        *(f"  - {issue['severity']}: {_safe(issue['message'])}" for issue in facts.issues),
        "",
    ]
    return "\n".join(lines)


def _table(rows: Sequence[MetricRow]) -> str:
    lines = ["| metric | value | 95 % | without looking |", "|---|---:|---|---:|"]
    for row in rows:
        interval = f"{row.low:.4f} to {row.high:.4f}" if row.low is not None and row.high is not None else ""
        lines.append(f"| {row.name} | {_number(row.value)} | {interval} | {_number(row.baseline)} |")
    return "\n".join(lines)


def _line(name: str, value: Any) -> str:
    return f"- {name}: `{_safe(value)}`"


def _safe(value: Any) -> str:
    text = str(value).translate(_UNSAFE)
    return "".join(c for c in text if c.isprintable())


def _number(value: Any, places: int = 4) -> str:
    return f"{value:.{places}f}" if isinstance(value, (int, float)) else "none"


def _last(history: Sequence[Mapping[str, Any]], key: str) -> Any:
    return history[-1].get(key) if history else None
