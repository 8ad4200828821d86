"""What an evaluation must show: every held-out question answered once by the weights that were trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from pipeline.backbones.contract import Contract
from pipeline.engine.files import read_json
from pipeline.verdicts.record import Question

#: Written by the report stage, which comes after.
_LATER = frozenset({"RUN_REPORT.md"})


def evaluation_questions(
    merge: Path,
    contract: Contract,
    *,
    splits: Mapping[str, str],
    meta: Mapping[str, Any],
    min_json_validity: float,
) -> Iterator[Question]:
    """Of one merged evaluation.

    Args:
        merge: its published folder.
        contract: what it owes.
        splits: id of every row of the dataset -> its split.
        meta: `training_metadata.json` of the training it is about.
        min_json_validity: least share of valid answers.
    """
    metrics = read_json(merge / "metrics.json")
    missing = [
        name
        for name in contract.artifact_contract.required_eval_files
        if name not in _LATER and not (merge / name).is_file()
    ]
    yield Question("eval_files", "eval", not missing, f"missing: {', '.join(missing) or 'none'}")
    null = [name for name in contract.primary_metrics if metrics.get(name) is None]
    yield Question("primary_metrics", "eval", not null, f"missing or null: {', '.join(null) or 'none'}")
    yield from _row_questions(merge, splits, metrics)
    yield Question(
        "held_out",
        "eval",
        metrics.get("eval_split") == "test" and bool(metrics.get("held_out_episode_count")),
        f"{metrics.get('held_out_episode_count')} episodes of split {metrics.get('eval_split')!r}",
    )
    parts = metrics.get("identity_parts") or {}
    for name, key in (
        ("adapter", "adapter_sha256"),
        ("dataset", "dataset_sha256"),
        ("prompt", "prompt_hash"),
    ):
        told, trained = str(parts.get(name)), str(meta.get(key))
        yield Question(
            f"same_{name}_as_trained", "eval", told == trained, f"asked {told[:12]}, trained {trained[:12]}"
        )
    validity = metrics.get("json_validity_rate") or 0.0
    yield Question(
        "json_validity",
        "eval",
        validity >= min_json_validity,
        f"{validity:.4f} of the answers are valid, {min_json_validity:.4f} must be",
    )
    failed = len(metrics.get("error_rows") or ())
    yield Question(
        "every_row_answered",
        "eval",
        None if failed else True,
        f"{failed} rows have no answer and count as wrong",
    )


def _row_questions(merge: Path, splits: Mapping[str, str], metrics: Mapping[str, Any]) -> Iterator[Question]:
    rows = [msgspec.json.decode(line) for line in (merge / "predictions.jsonl").open("rb")]
    split = metrics.get("eval_split")
    expected = sum(1 for found in splits.values() if found == split)
    share = len(rows) / expected if expected else 0.0
    yield Question(
        "coverage",
        "eval",
        True if len(rows) == expected else None if rows else False,
        f"{len(rows)} of {expected} rows of split {split!r} ({share:.1%})",
    )
    foreign = [
        f"{row['id']} ({splits.get(row['id'], 'unknown')})" for row in rows if splits.get(row["id"]) != split
    ]
    yield Question(
        "only_held_out_ids",
        "eval",
        not foreign,
        f"{len(foreign)} other rows {', '.join(foreign[:3])}".strip(),
    )
    identities = {row.get("identity") for row in rows}
    yield Question("one_model", "eval", len(identities) == 1, f"{len(identities)} identities")
