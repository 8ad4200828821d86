"""Exported episodes put together: `dataset.jsonl`, `label_vocabulary.json`, `dataset_manifest.json`.

The parts may come from one process or from several strides; the result is the same to the byte.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from pipeline.data.export.layout import LAYOUTS
from pipeline.data.export.mosaic import COLUMNS, FPS, ROWS
from pipeline.data.export.record import EPISODES_FILE, EpisodeRecord
from pipeline.data.export.rows import Draft, Options, label_options, make_row
from pipeline.data.export.settings import Settings
from pipeline.data.index.record import VOCABULARY_FILE
from pipeline.data.index.vocabulary import Vocabulary
from pipeline.data.splits import episode_path
from pipeline.engine.files import publish_bytes, publish_json

DATASET_FILE = "dataset.jsonl"
MANIFEST_FILE = "dataset_manifest.json"

#: What the original's media helper samples without being told a number: 2 pictures a second, at least 4.
_HELPER_FPS, _HELPER_LEAST = 2, 4


class Part(Struct, frozen=True):
    """An exported episode and the folder its files are relative to."""

    record: EpisodeRecord
    root: Path


class Dataset(Struct, frozen=True, kw_only=True):
    """What was written.

    Attributes:
        drafts: of all rows, in their order.
        records: of all episodes, in the dataset's order, skipped ones too.
        actions, subtasks: the label options.
        manifest: content of `dataset_manifest.json`.
    """

    drafts: tuple[Draft, ...]
    records: tuple[EpisodeRecord, ...]
    actions: tuple[str, ...]
    subtasks: tuple[str, ...]
    manifest: dict[str, Any]


def assemble(
    parts: Sequence[Part],
    out: Path,
    *,
    settings: Settings,
    shards: Mapping[str, int],
    run_id: str,
    parity: bool = False,
    data_roots: Sequence[str] = (),
    refused: Sequence[Mapping[str, Any]] = (),
    check_cancelled: Callable[[], None] = lambda: None,
) -> Dataset:
    """Write a dataset into `out`; files are linked where the file system can, so nothing is copied.

    Args:
        parts: exported episodes, in any order.
        out: empty folder.
        settings: that all parts were exported with.
        shards: see `pipeline.data.export.order.shard_order`.
        run_id: of the export.
        parity: write rows as the original did.
        data_roots: where episodes lie.
        refused: entries of the manifest that no worker got, `episode_path` and `reason`.
        check_cancelled: called per episode.

    Raises:
        DiskFullError: there is no room.
    """
    places = {episode: place for place, episode in enumerate(shards)}
    ordered = sorted(parts, key=lambda part: places[part.record.episode_id])
    records = [part.record for part in ordered]
    drafts = _in_order(records, settings)
    for part in ordered:
        check_cancelled()
        _link(part, out)
    actions, subtasks = label_options(drafts)
    vocabulary = Vocabulary()
    references = Options(
        vocabulary.add("action_options", actions), vocabulary.add("subtask_options", subtasks)
    )
    options = Options(actions, subtasks) if parity else references
    vocabulary.publish(out / VOCABULARY_FILE)
    rows = (
        make_row(draft, options, shard=shards[draft.episode_id], run_id=run_id, parity=parity)
        for draft in drafts
    )
    digest = _write_lines(out / DATASET_FILE, rows)
    _write_lines(out / EPISODES_FILE, iter(records))
    manifest = {
        "run_id": run_id,
        "dataset_path": DATASET_FILE,
        "sha256": {DATASET_FILE: digest},
        "data_roots": list(data_roots),
        **_counts(drafts),
        "action_options": actions,
        "subtask_options": subtasks,
        "parallel_export": {"num_shards": max(shards.values(), default=-1) + 1},
        "clip_policy": _clip_policy(settings),
        "feature_manifest": LAYOUTS[settings.layout].published(),
        "settings": msgspec.to_builtins(settings),
        "available_modalities": [_modalities(record) for record in records if record.rows],
        "null_media": _nulls(records),
        "skipped_episodes": [*map(dict, refused), *_skipped(records, shards)],
        "notes": [
            "Label options come from the train split only.",
            "Camera paths are relative to a data root, all other paths to this file.",
        ],
    }
    publish_json(out / MANIFEST_FILE, manifest)
    return Dataset(
        drafts=tuple(drafts),
        records=tuple(records),
        actions=actions,
        subtasks=subtasks,
        manifest=manifest,
    )


def _in_order(records: Sequence[EpisodeRecord], settings: Settings) -> list[Draft]:
    """All rows; those of several scales scale by scale, as merged datasets have them."""
    rows = [draft for record in records for draft in record.rows]
    scales = [scale.id for scale in settings.scales]
    return sorted(rows, key=lambda row: scales.index(row.scale_id)) if len(scales) > 1 else rows


def _link(part: Part, out: Path) -> None:
    for file in part.record.files:
        target = out / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(part.root / file.path, target)
        except OSError:  # another file system, or one without links
            shutil.copyfile(part.root / file.path, target)


def _write_lines(path: Path, values: Iterator[Any]) -> str:
    """JSON lines, UTF-8, whole or not at all; returns their sha256."""
    encoder = msgspec.json.Encoder()
    data = bytearray()
    for value in values:
        encoder.encode_into(value, data, -1)
        data += b"\n"
    publish_bytes(path, bytes(data))
    return hashlib.sha256(data).hexdigest()


def _counts(drafts: Sequence[Draft]) -> dict[str, Any]:
    labels = Counter(draft.answer_json.action for draft in drafts)
    scales = Counter(draft.scale_id for draft in drafts if draft.scale_id)
    return {
        "num_samples": len(drafts),
        "num_episodes": len({draft.episode_id for draft in drafts}),
        "split_counts": dict(Counter(draft.split for draft in drafts)),
        **({"scale_counts": dict(scales)} if scales else {}),
        "label_counts": dict(sorted(labels.items())),
    }


def _nulls(records: Sequence[EpisodeRecord]) -> dict[str, int]:
    """Rows without each kind of media; a kind that never lacks is listed with 0."""
    counts = Counter[str]()
    for record in records:
        counts.update(record.nulls)
    return dict(counts)


def _clip_policy(settings: Settings) -> dict[str, Any]:
    frames = settings.video_frames
    sampled = max(_HELPER_LEAST, frames * _HELPER_FPS // FPS)
    return {
        "max_windows_per_episode": settings.max_windows,
        "max_video_frames": frames,
        "frames_for_the_model": frames,
        "frames_a_helper_would_sample_if_not_told": min(frames, sampled),
        "fps": FPS,
        "audio_span": "same_as_video_context",
        "mosaic": f"{ROWS}x{COLUMNS} multi-camera grid",
    }


def _modalities(record: EpisodeRecord) -> dict[str, Any]:
    found = [{"modality": name, **msgspec.to_builtins(status)} for name, status in record.streams.items()]
    return {"episode_id": record.episode_id, "frames": record.frames, "modalities": found}


def _skipped(records: Sequence[EpisodeRecord], shards: Mapping[str, int]) -> list[dict[str, Any]]:
    return [
        {
            "shard_index": shards[record.episode_id],
            "episode_path": episode_path(record.episode_id),
            "reason": record.skipped,
        }
        for record in records
        if record.skipped
    ]
