"""Stage `merge`: the shards' rows as one evaluation, and all metrics computed again from them.

Publishes `metrics.json`, `predictions.jsonl`, `predictions.csv`, `per_class_metrics.csv` and
`confusion_matrix.csv`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from pipeline.engine.context import StageContext

if TYPE_CHECKING:
    from pipeline.evaluate.merge import Merged


class Params(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How shards are put together.

    Attributes:
        bootstrap: resamples over episodes for the intervals.
        full_matrix: write the whole confusion matrix, zeros too, as the original did.
        max_error_share: share of rows without an answer that a merge may have.
    """

    bootstrap: Annotated[int, Meta(ge=0, le=100_000)] = 1000
    full_matrix: bool = False
    max_error_share: Annotated[float, Meta(ge=0, le=1)] = 0.0


def run(context: StageContext) -> None:
    """Merge, compute, and ask the gate's questions."""
    from pipeline.engine.errors import UsageError
    from pipeline.engine.files import read_json
    from pipeline.evaluate.merge import merge_shards, publish_merged
    from pipeline.evaluate.rows import read_eval_rows
    from pipeline.metrics.options import read_dataset_facts

    dataset = context.upstream("export")
    folders = context.upstream_parts("eval")
    shards = [read_json(folder / "shard.json") for folder in folders]
    asked = read_eval_rows(dataset / "dataset.jsonl", shards[0]["split"], limit=shards[0]["limit"])
    context.emit("merge_start", shards=len(folders), expected=len(asked.rows))
    merged = merge_shards(folders, asked)
    if not merged.rows:
        raise UsageError("no shard has a prediction", hint=f"xops run show {context.run.run_id}")
    metrics = publish_merged(
        merged,
        context.out,
        facts=read_dataset_facts(dataset / "dataset_manifest.json"),
        asked=asked,
        run_id=context.run.run_id,
        shard_dirs=[str(folder) for folder in folders],
        resamples=context.params.bootstrap,
        full_matrix=context.params.full_matrix,
        extra={"identity_parts": shards[0]["identity_parts"], "labels_mode": shards[0]["labels"]},
    )
    context.emit(
        "merge_done",
        expected=len(asked.rows),
        merged=len(merged.rows),
        missing=len(merged.missing),
        duplicate=len(merged.duplicates),
        partial=bool(merged.missing),
        accuracy=metrics["accuracy"],
        json_validity_rate=metrics["json_validity_rate"],
        baseline_accuracy=metrics["baselines"]["parity"].get("accuracy"),
    )
    _check(context, merged, len(asked.rows))


def _check(context: StageContext, merged: Merged, expected: int) -> None:
    context.check(
        "nothing_missing",
        not merged.missing,
        f"{len(merged.rows)} of {expected} rows are here",
        missing=list(merged.missing[:20]),
    )
    context.check(
        "nothing_twice",
        not merged.duplicates and not merged.torn,
        f"{len(merged.duplicates)} ids answered twice, {len(merged.torn)} torn lines",
        duplicates=list(merged.duplicates[:20]),
        torn=list(merged.torn[:20]),
    )
    context.check(
        "only_what_was_asked",
        not merged.unknown,
        f"{len(merged.unknown)} rows are of no question of this split",
        unknown=dict(list(merged.unknown.items())[:20]),
    )
    context.check(
        "one_model",
        len(merged.identities) == 1,
        f"rows carry {len(merged.identities)} identity: {', '.join(merged.identities)}",
        identities=list(merged.identities),
    )
    share = len(merged.errors) / len(merged.rows)
    context.check(
        "rows_answered",
        share <= context.params.max_error_share,
        f"{len(merged.errors)} rows have no answer; they count as wrong",
        errors=list(merged.errors[:20]),
    )
