"""Stage `index`: the exported windows as a neutral index that every backbone can read.

Publishes `window_index.jsonl`, `label_vocabulary.json` and `window_index_manifest.json`, validated against
the dataset they were made from.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from pipeline.engine.context import StageContext
from pipeline.engine.errors import UsageError

if TYPE_CHECKING:
    from pipeline.data.index.build import IndexResult

DATASET_FILE = "dataset.jsonl"

#: Most names listed in a check's evidence; counts are always complete.
SHOWN = 20


class Params(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is converted.

    Attributes:
        dataset: `dataset.jsonl` to convert; empty takes the run's own export.
        dataset_manifest: its manifest; empty takes the one beside it.
        data_root: what absolute camera paths of the rows begin with; empty finds out.
        dataset_root: what absolute paths of renderings and features begin with; empty finds out.
        inline_options: keep label lists in every record, as the original did.
        max_missing_share: share of records that may lack mosaic, audio or features.
    """

    dataset: str = ""
    dataset_manifest: str = ""
    data_root: str = ""
    dataset_root: str = ""
    inline_options: bool = False
    max_missing_share: Annotated[float, Meta(ge=0, le=1)] = 0.02


def inputs(params: Params) -> list[tuple[str, Path, str]]:
    """A dataset from outside the run is an input; a changed one makes the index stale."""
    return [("dataset", Path(params.dataset).expanduser(), "stat")] if params.dataset else []


def run(context: StageContext) -> None:
    """Convert, validate, and ask the gate's questions."""
    from pipeline.data.index.build import build_index
    from pipeline.data.index.validate import validate_index

    params = context.params
    dataset = _dataset(context)
    result = build_index(
        dataset,
        context.out,
        run_id=context.run.run_id,
        dataset_manifest=Path(params.dataset_manifest).expanduser() if params.dataset_manifest else None,
        data_root=params.data_root,
        dataset_root=params.dataset_root,
        inline_options=params.inline_options,
        emit=context.emit,
        check_cancelled=context.check_cancelled,
    )
    issues = validate_index(context.out, source=dataset)
    context.check(
        "schema_valid_boundaries_equal",
        not issues,
        f"{len(issues)} issues in {result.num_records} records",
        issues=[str(issue) for issue in issues[:SHOWN]],
    )
    _check_result(context, result)
    context.emit(
        "indexed",
        records=result.num_records,
        skipped=result.num_skipped,
        episodes=result.manifest["num_episodes"],
        splits=result.manifest["sample_split_counts"],
    )


def _dataset(context: StageContext) -> Path:
    if context.params.dataset:
        return Path(context.params.dataset).expanduser()
    if "export" not in context.upstreams:
        raise UsageError("there is no dataset to index", hint="set index.dataset, or add the export stage")
    return context.upstream("export") / DATASET_FILE


def _check_result(context: StageContext, result: IndexResult) -> None:
    context.check(
        "rows_conserved",
        result.num_records > 0 and not result.num_skipped,
        f"{result.num_rows} rows = {result.num_records} records + {result.num_skipped} left out",
        left_out=result.manifest["skipped_records"][:SHOWN],
    )
    for check in result.leaks.checks():
        context.check(check.name, bool(check.ok), check.detail, **check.evidence)
    leaked = {kind: options[:SHOWN] for kind, options in result.unseen_options.items() if options}
    context.check(
        "label_options_from_train",
        not leaked,
        ", ".join(f"{len(o)} {kind} that train never has" for kind, o in result.unseen_options.items()),
        options=leaked,
    )
    missing = result.manifest["missing_modality_counts"]
    most = context.params.max_missing_share
    context.check(
        "media_present",
        all(count <= most * result.num_records for count in missing.values()),
        ", ".join(f"{count} without {name}" for name, count in missing.items()) + f" (at most {most:.0%})",
        missing=missing,
    )
