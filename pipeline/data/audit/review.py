"""From rows to everything a person reviews: balance, checks, swaps and the files that show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from pipeline.data.audit.balance import BalanceLimits, Labelled, balance_checks, measure
from pipeline.data.audit.page import page
from pipeline.data.audit.report import Review, markdown
from pipeline.data.audit.rows import AuditRow, audit_csv, audit_json
from pipeline.data.rebalance import propose_swaps
from pipeline.engine.files import publish_bytes, publish_json
from pipeline.engine.gates import Check

#: Files of the audit, the page first: what a person opens.
PAGE_FILE, REPORT_FILE, AUDIT_FILE, TABLE_FILE, BALANCE_FILE = (
    "content_balance.html",
    "CONTENT_BALANCE.md",
    "staged_content_audit.json",
    "staged_content_audit.csv",
    "balance.json",
)

Taxonomy = Literal["tags", "published_groups"]


def make_review(
    rows: Sequence[AuditRow],
    *,
    skipped: Mapping[str, str],
    limits: BalanceLimits,
    taxonomy: Taxonomy,
    keep_splits: Sequence[str],
    most_swaps: int,
    generated_at: str,
) -> Review:
    """Measure and propose.

    Args:
        rows: the audited episodes.
        skipped: episodes without a row -> why.
        limits: what counts as balanced.
        taxonomy: which categories the gate and the swaps go by.
        keep_splits: splits that no swap may touch.
        most_swaps: most swaps to propose.
        generated_at: UTC, ISO 8601.
    """
    by_tag = _labelled(rows, "tags")
    by_group = _labelled(rows, "published_groups")
    judged = by_tag if taxonomy == "tags" else by_group
    total = len(rows) + len(skipped)
    conserved = Check(
        name="episodes_conserved",
        ok=len({row.episode_path for row in rows} | set(skipped)) == total and all(skipped.values()),
        detail=f"{total} episodes = {len(rows)} audited + {len(skipped)} left out",
        evidence={"left_out": dict(skipped)},
    )
    return Review(
        rows=tuple(rows),
        by_tag=measure(by_tag),
        by_group=measure(by_group),
        limits=limits,
        swaps=tuple(propose_swaps(judged, limits, most=most_swaps, keep=keep_splits)),
        checks=(conserved, *balance_checks(measure(judged), limits)),
        skipped=dict(skipped),
        generated_at=generated_at,
    )


def _labelled(rows: Sequence[AuditRow], taxonomy: Taxonomy) -> list[Labelled]:
    return [
        Labelled(
            row.episode_path,
            row.split,
            row.size_band,
            row.leading_tag if taxonomy == "tags" else row.category,
        )
        for row in rows
    ]


def publish_review(out: Path, review: Review, *, data_root: str, selection: str) -> None:
    """Write the five files of the audit into `out`."""
    status = "pass" if all(check.ok for check in review.checks) else "fail"
    audit = audit_json(
        review.rows,
        status=status,
        generated_at=review.generated_at,
        data_root=data_root,
        selection=selection,
    )
    publish_json(out / AUDIT_FILE, audit)
    publish_bytes(out / TABLE_FILE, audit_csv(review.rows).encode("utf-8", "replace"))
    publish_json(out / BALANCE_FILE, balance_json(review))
    publish_bytes(out / REPORT_FILE, markdown(review).encode("utf-8", "replace"))
    publish_bytes(out / PAGE_FILE, page(review).encode("utf-8", "replace"))


def balance_json(review: Review) -> dict[str, Any]:
    """Balance, tags and swaps for screens and scripts."""
    built: dict[str, Any] = msgspec.to_builtins(
        {
            "split_hash": review.split_hash,
            "limits": review.limits,
            "by_tag": review.by_tag,
            "by_group": review.by_group,
            "tag_counts": review.tag_counts,
            "swaps": review.swaps,
            "skipped": review.skipped,
        }
    )
    return built
