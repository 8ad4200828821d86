"""One episode's row of the content audit: the published keys, and our tags beside them."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from pipeline.data.manifest.record import ManifestEpisode
from pipeline.data.taxonomy import UNPARSED, CaptionText, Tag, leading_tag, original_category, tags_of

#: Columns of the published table, then ours.
CSV_COLUMNS = (
    "episode_path",
    "split",
    "size_band",
    "category",
    "main_task",
    "segment_count",
    "actions",
    "objects",
    "annotation_path",
    "leading_tag",
    "tags",
    "labelled_windows",
)


class Caption(Struct, frozen=True, kw_only=True):
    """What an annotation's caption is.

    Attributes:
        parse_status: `missing` and `failed` as in the published audit.
        json_bytes: length of the caption's text.
        text: what it says; empty unless `ok`.
        error: why it failed.
    """

    parse_status: str
    json_bytes: int = 0
    text: CaptionText = CaptionText()
    error: str = ""


class AuditRow(Struct, frozen=True, kw_only=True):
    """One episode; keys up to `category` are the published ones (formats section 2.2).

    Attributes:
        category: the published audit's group, or `unparsed`.
        tags: ours, leading one first.
        leading_tag: the category that balance is measured with, or `uncategorized`, `unparsed`.
        labelled_windows: windows with an action.
    """

    episode_path: str
    annotation_path: str
    split: str
    size_band: str
    parse_status: str
    json_bytes: int
    main_task: str
    global_summary: str
    segment_count: int
    subtasks: tuple[str, ...]
    actions: tuple[str, ...]
    objects: tuple[str, ...]
    interaction_preview: str
    category: str
    tags: tuple[Tag, ...]
    leading_tag: str
    frame_count: int
    labelled_windows: int
    error: str = ""


def make_row(episode: ManifestEpisode, caption: Caption) -> AuditRow:
    """The row of a manifest's episode whose caption was read."""
    text, parsed = caption.text, caption.parse_status == "ok"
    frames = episode.label_stats.frame_labels
    # Captions may name labels that resolve to no frame; each then counts once.
    labels = [frames.action or _once(text.actions), frames.subtask or _once(text.subtasks)]
    tags = tags_of(text.main_task or episode.main_task, labels) if parsed else ()
    return AuditRow(
        episode_path=episode.episode_path,
        annotation_path=episode.annotation,
        split=episode.split,
        size_band=episode.size_band or "",
        parse_status=caption.parse_status,
        json_bytes=caption.json_bytes,
        main_task=text.main_task,
        global_summary=text.global_summary,
        segment_count=text.segment_count,
        subtasks=text.subtasks,
        actions=text.actions,
        objects=text.objects,
        interaction_preview=text.interaction_preview,
        category=original_category(text) if parsed else UNPARSED,
        tags=tags,
        leading_tag=leading_tag(tags) if parsed else UNPARSED,
        frame_count=episode.frame_count,
        labelled_windows=episode.labelled_windows,
        error=caption.error,
    )


def _once(labels: Sequence[str]) -> Mapping[str, int]:
    return dict.fromkeys(labels, 1)


def audit_json(
    rows: Sequence[AuditRow], *, status: str, generated_at: str, data_root: str, selection: str
) -> dict[str, Any]:
    """The content of `staged_content_audit.json`; the published keys come first."""
    return {
        "status": status,
        "generated_at_utc": generated_at,
        "data_root": data_root,
        "selection_json": selection,
        "episode_count": len(rows),
        "category_counts": _counts(row.category for row in rows),
        "split_category_counts": {
            split: _counts(row.category for row in rows if row.split == split)
            for split in dict.fromkeys(row.split for row in rows)
        },
        "rows": msgspec.to_builtins(rows),
        "note": "category is the published keyword rule; leading_tag and tags weigh whole words by time.",
    }


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def audit_csv(rows: Sequence[AuditRow]) -> str:
    """The table of `staged_content_audit.csv`; lists are joined with `; `."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        cells = msgspec.to_builtins(row)
        for key in ("actions", "objects"):
            cells[key] = "; ".join(cells[key])
        cells["tags"] = "; ".join(tag.name for tag in row.tags)
        writer.writerow(cells)
    return text.getvalue()
