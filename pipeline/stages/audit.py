"""Stage `audit`: what the staged episodes show, how alike the splits are, and a person's word on it.

Reads every manifested episode's caption (each once for its file), measures the balance of the splits,
proposes swaps, and writes the report. The gate stays closed until somebody has read it and signs.

Publishes `content_balance.html`, `CONTENT_BALANCE.md`, `staged_content_audit.{json,csv}` (the published
keys), `balance.json`, and `proposed_selection.json` if swaps are proposed: a new version of the selection,
to be used by a new run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from pipeline.engine.context import StageContext
from pipeline.stages.select import SELECTION_FILE

if TYPE_CHECKING:
    from pipeline.data.audit.report import Review
    from pipeline.data.audit.rows import AuditRow
    from pipeline.data.manifest.record import Manifest
    from pipeline.data.rebalance import Swap
    from pipeline.hub.selection import Selection

PROPOSED_FILE = "proposed_selection.json"


class Params(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What counts as balanced, and what swaps may touch.

    Attributes:
        taxonomy: categories the gate goes by: our leading tags, or the published keyword groups.
        max_share: largest share of a split that one category may have.
        max_divergence: largest Jensen-Shannon divergence of a split from all episodes, bits.
        max_unknown_share: largest share of episodes that no category fits.
        most_swaps: most swaps to propose.
        keep_splits: splits that no proposed swap may touch, such as a test split that was already used.
        workers: processes; 0 takes one per core.
    """

    taxonomy: Literal["tags", "published_groups"] = "tags"
    max_share: Annotated[float, Meta(gt=0, le=1)] = 0.6
    max_divergence: Annotated[float, Meta(ge=0, le=1)] = 0.15
    max_unknown_share: Annotated[float, Meta(ge=0, le=1)] = 0.1
    most_swaps: Annotated[int, Meta(ge=0, le=64)] = 8
    keep_splits: tuple[str, ...] = ()
    workers: Annotated[int, Meta(ge=0, le=256)] = 0


def run(context: StageContext) -> None:
    """Read, measure, propose, publish, and ask for a signature."""
    from pipeline.data.audit.balance import BalanceLimits
    from pipeline.data.audit.review import PAGE_FILE, make_review, publish_review
    from pipeline.data.manifest.record import FILE, read_manifest

    params = context.params
    manifest_path = context.upstream("manifest") / FILE
    manifest = read_manifest(manifest_path)
    review = make_review(
        _rows(context, manifest),
        skipped={entry.episode_path: entry.reason for entry in manifest.missing_or_incomplete},
        limits=BalanceLimits(
            max_share=params.max_share,
            max_divergence=params.max_divergence,
            max_unknown_share=params.max_unknown_share,
        ),
        taxonomy=params.taxonomy,
        keep_splits=params.keep_splits,
        most_swaps=params.most_swaps,
        generated_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    selection = manifest.summary.get("selection_json", "")
    roots = manifest.summary.get("data_roots", [])
    publish_review(context.out, review, data_root=", ".join(roots), selection=str(selection))
    _propose(context, review)
    for check in review.checks:
        context.check(check.name, bool(check.ok), check.detail, **check.evidence)
    context.needs_signature(
        "content_reviewed",
        f"a person has read {PAGE_FILE} ({len(review.rows)} episodes, {len(review.swaps)} proposed swaps)",
        split_hash=review.split_hash,
        manifest_sha256=hashlib.sha256(manifest_path.read_bytes()).hexdigest(),
        swaps=[str(swap) for swap in review.swaps],
    )


def _rows(context: StageContext, manifest: Manifest) -> Sequence[AuditRow]:
    from pipeline.data.audit.caption import read_captions
    from pipeline.data.audit.rows import make_row

    roots = [Path(root) for root in manifest.summary.get("data_roots", [])]
    captions = read_captions(
        [entry.annotation for entry in manifest.episodes],
        roots,
        cache=context.work / "captions",
        emit=context.emit,
        workers=context.params.workers,
        check_cancelled=context.check_cancelled,
    )
    return [make_row(entry, captions[entry.annotation]) for entry in manifest.episodes]


def _propose(context: StageContext, review: Review) -> None:
    """A new version of the selection with all proposed swaps, and an event that says so."""
    context.emit(
        "audited",
        episodes=len(review.rows),
        categories=review.by_tag.counts,
        divergence={split: found.divergence for split, found in review.by_tag.splits.items()},
        swaps=len(review.swaps),
    )
    if review.swaps and "select" in context.upstreams:
        swap_selection(
            context.upstream("select") / SELECTION_FILE,
            review.swaps,
            context.out / PROPOSED_FILE,
            reason=f"content audit of {context.run.run_id}",
        )


def swap_selection(selection: Path, swaps: Sequence[Swap], target: Path, *, reason: str) -> Selection:
    """Write a new version of a selection file with some swaps made; the old file stays as it is.

    Raises:
        NotFoundError, DamagedFileError: there is no such selection, or it is something else.
        UsageError: a swap does not fit the selection; see `pipeline.data.rebalance.apply_swaps`.
    """
    from pipeline.data.rebalance import apply_swaps
    from pipeline.engine.files import publish_json, read_json
    from pipeline.hub.selection import decode_selection

    proposed = apply_swaps(read_json(selection), swaps, reason=reason)
    made = decode_selection(msgspec.json.encode(proposed), str(target))  # refuses what would not load again
    publish_json(target, proposed)
    return made


def read_swaps(balance: Path) -> tuple[Swap, ...]:
    """The swaps an audit proposed, from its `balance.json`.

    Raises:
        NotFoundError, DamagedFileError: there is no such file, or it is something else.
    """
    from pipeline.data.rebalance import Swap
    from pipeline.engine.errors import DamagedFileError
    from pipeline.engine.files import read_json

    try:
        return msgspec.convert(read_json(balance)["swaps"], tuple[Swap, ...])
    except (msgspec.ValidationError, KeyError, TypeError) as error:
        raise DamagedFileError(f"{balance} is no balance report: {error}") from None
