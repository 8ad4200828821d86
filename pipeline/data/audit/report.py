"""The balance report and episode atlas as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct

from pipeline.data.audit.balance import Balance, BalanceLimits
from pipeline.data.audit.rows import AuditRow
from pipeline.data.rebalance import Swap
from pipeline.data.splits import split_hash
from pipeline.data.taxonomy import UNCATEGORIZED, UNPARSED
from pipeline.engine.gates import Check


class Review(Struct, frozen=True, kw_only=True):
    """All that a person should see before signing.

    Attributes:
        rows: every audited episode.
        by_tag, by_group: balance of the leading tags and of the published groups.
        limits: what the measured checks were held against.
        swaps: proposed.
        checks: measured answers.
        skipped: episodes that were not audited -> why.
        generated_at: UTC, ISO 8601.
    """

    rows: tuple[AuditRow, ...]
    by_tag: Balance
    by_group: Balance
    limits: BalanceLimits
    swaps: tuple[Swap, ...]
    checks: tuple[Check, ...]
    skipped: dict[str, str]
    generated_at: str

    @property
    def split_hash(self) -> str:
        """Identity of the split under review."""
        return split_hash({row.episode_path: row.split for row in self.rows})

    @property
    def tag_counts(self) -> dict[str, dict[str, int]]:
        """Tag -> split -> episodes that carry it; an episode counts for each of its tags."""
        counts: dict[str, dict[str, int]] = {}
        for row in self.rows:
            for tag in row.tags:
                splits = counts.setdefault(tag.name, {})
                splits[row.split] = splits.get(row.split, 0) + 1
        return dict(sorted(counts.items(), key=lambda item: -sum(item[1].values())))


def markdown(review: Review) -> str:
    """The whole report."""
    return "\n".join(
        [
            "# Content balance and episode atlas",
            "",
            f"{len(review.rows)} episodes, split `{review.split_hash}`, {review.generated_at}.",
            "",
            *_checks(review),
            "## Splits by leading tag",
            "",
            *_balance(review.by_tag),
            "## Splits by the published keyword groups",
            "",
            *_balance(review.by_group),
            "## Tags (an episode may have several)",
            "",
            *_tags(review),
            "## Proposed swaps",
            "",
            *_swaps(review.swaps),
            "## Not placed",
            "",
            *_unplaced(review),
            "## Atlas",
            "",
            *table(
                ("episode", "split", "band", "main task", "tags", "frames", "windows"),
                [_atlas_row(row) for row in review.rows],
            ),
            "",
        ]
    )


def table(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """A Markdown table; foreign text cannot break out of its cell."""
    return [
        f"| {' | '.join(headers)} |",
        f"|{' --- |' * len(headers)}",
        *(f"| {' | '.join(_cell(value) for value in row)} |" for row in rows),
        "",
    ]


def _cell(value: Any) -> str:
    text = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
    for mark in "\\|`*<>[]":
        text = text.replace(mark, f"\\{mark}")
    return text


def _checks(review: Review) -> list[str]:
    answers = {True: "pass", False: "FAIL", None: "to be signed"}
    return table(("check", "answer", "detail"), [(c.name, answers[c.ok], c.detail) for c in review.checks])


def _balance(balance: Balance) -> list[str]:
    splits = list(balance.splits)
    rows = [
        (category, total, *(balance.splits[split].counts.get(category, 0) for split in splits))
        for category, total in balance.counts.items()
    ]
    measures = [
        (
            split,
            found.episodes,
            found.leading,
            f"{found.share:.0%}",
            f"{found.divergence:.3f}",
            f"{found.chance:.3f}",
        )
        for split, found in balance.splits.items()
    ]
    headers = ("split", "episodes", "largest", "share", "divergence (bits)", "chance, 95 %")
    return [*table(headers, measures), *table(("category", "all", *splits), rows)]


def _tags(review: Review) -> list[str]:
    splits = list(review.by_tag.splits)
    rows = [
        (tag, sum(counts.values()), *(counts.get(s, 0) for s in splits))
        for tag, counts in review.tag_counts.items()
    ]
    return table(("tag", "all", *splits), rows)


def _swaps(swaps: Sequence[Swap]) -> list[str]:
    if not swaps:
        return ["None: the limits hold, or no exchange within a size band helps.", ""]
    rows = [(n, swap, f"{swap.before:.3f} -> {swap.after:.3f}") for n, swap in enumerate(swaps, 1)]
    return table(("#", "exchange", "divergence, all splits"), rows)


def _unplaced(review: Review) -> list[str]:
    rows = [
        (row.episode_path, row.split, row.leading_tag, row.error or "no tag holds")
        for row in review.rows
        if row.leading_tag in (UNCATEGORIZED, UNPARSED)
    ]
    rows += [(path, "", "skipped", reason) for path, reason in review.skipped.items()]
    rows += [
        (row.episode_path, row.split, "no labels", "no labelled window")
        for row in review.rows
        if not row.labelled_windows
    ]
    return table(("episode", "split", "what", "why"), rows) if rows else ["None.", ""]


def _atlas_row(row: AuditRow) -> tuple[Any, ...]:
    tags = ", ".join(f"{tag.name} {tag.share:.0%}" for tag in row.tags)
    return (
        row.episode_path,
        row.split,
        row.size_band,
        row.main_task,
        tags,
        row.frame_count,
        row.labelled_windows,
    )
