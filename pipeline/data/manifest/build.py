"""Making a manifest: descriptions of episodes joined with the selection's word on split, rank and band.

The split is the selection's. Where no selection exists, `random_manifest` makes a new split by sessions and
says so in its summary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from pipeline.data.layout import ANNOTATION, FILES, VIDEOS, VIEWER_FILE
from pipeline.data.manifest.record import (
    FileEntry,
    LabelStats,
    Manifest,
    ManifestEpisode,
    Missing,
    VideoEntry,
)
from pipeline.data.splits import FRACTIONS, SEED, SPLITS, Split, episode_id, random_split, session_of


class Windowing(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How windows are cut for the label counts: frames, step, and the majority a label needs."""

    window_frames: int = 20
    stride_frames: int = 20
    min_label_fraction: float = 0.6


class Chosen(Struct, frozen=True, kw_only=True):
    """What the selection says of an episode."""

    path: str
    split: str
    rank: int | None = None
    score: float | None = None
    band: str | None = None


class Description(Struct, frozen=True, kw_only=True):
    """What an episode's annotation says, or why it says nothing.

    Attributes:
        frame_count: frames of the annotation.
        modalities: the eleven flags.
        labels: counts of frames and windows.
        problem: why the episode cannot be described; the rest is then empty.
    """

    frame_count: int = 0
    modalities: dict[str, bool] = {}
    labels: LabelStats = LabelStats()
    problem: str = ""


def make_episode(chosen: Chosen, folder: Path, said: Description) -> ManifestEpisode:
    """One manifest entry, from the files in `folder` and what they say."""
    sizes = {name: _size(folder / name) for name in (*FILES, VIEWER_FILE)}
    present = [name for name in VIDEOS if sizes[name] is not None]
    total = sum(size or 0 for size in sizes.values())
    return ManifestEpisode(
        episode_id=episode_id(chosen.path),
        path=chosen.path,
        annotation=f"{chosen.path}/{ANNOTATION}",
        frame_count=said.frame_count,
        main_task=said.labels.main_task,
        files=tuple(FileEntry(name, size or 0, size is not None) for name, size in sizes.items()),
        videos=tuple(
            VideoEntry(name, f"{chosen.path}/{name}", sizes[name] or 0, sizes[name] is not None)
            for name in VIDEOS
        ),
        hdf5_modalities=said.modalities,
        label_stats=said.labels,
        total_bytes=total,
        train_minimal_bytes=total - (sizes[VIEWER_FILE] or 0),
        has_annotation=sizes[ANNOTATION] is not None,
        has_any_video=bool(present),
        has_all_videos=len(present) == len(VIDEOS),
        has_rrd=sizes[VIEWER_FILE] is not None,
        source_episode_id=chosen.path.rpartition("/")[2],
        episode_path=chosen.path,
        split=chosen.split,
        selection_rank=chosen.rank,
        selection_score=chosen.score,
        size_band=chosen.band,
        top_level_session=session_of(chosen.path),
    )


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def selection_manifest(
    selected: Sequence[Chosen],
    described: Mapping[str, ManifestEpisode],
    skipped: Mapping[str, Missing],
    *,
    selection: str,
    data_roots: Sequence[str],
    windowing: Windowing,
    require_all_videos: bool = True,
    include: Sequence[Split] = SPLITS,
) -> Manifest:
    """The manifest of a selection, in its order.

    Args:
        selected: all episodes of the selection.
        described: entries by path.
        skipped: selected episodes without an entry, by path.
        selection: where the selection came from, for the summary.
        data_roots: where the entries' paths begin.
        windowing: what the label counts were made with.
        require_all_videos: leave out episodes that lack a camera.
        include: splits to list; the others stay sealed and are only counted.
    """
    missing = [skipped[chosen.path] for chosen in selected if chosen.path in skipped]
    usable = [described[chosen.path] for chosen in selected if chosen.path in described]
    if require_all_videos:
        missing += [_lacks_videos(entry) for entry in usable if not entry.has_all_videos]
        usable = [entry for entry in usable if entry.has_all_videos]
    included = [entry for entry in usable if entry.split in include]
    complete = Counter(entry.split for entry in usable)
    summary = {
        "selection_json": selection,
        "selected_episode_count": len(selected),
        "selected_split_counts": dict(Counter(chosen.split for chosen in selected)),
        "complete_selected_split_counts": dict(complete),
        "included_splits": list(include),
        "included_episode_count": len(included),
        "included_split_counts": dict(Counter(entry.split for entry in included)),
        "sealed_test_episodes_available": 0 if "test" in include else complete["test"],
        "require_all_videos": require_all_videos,
        **_sizes(included),
        "windowing": msgspec.to_builtins(windowing),
        "notes": [
            "Splits are inherited from the selection.",
            "Episode ids are qualified by their session; ep1, ep2 ... repeat between sessions.",
            "Paths are relative to the first of data_roots that holds them.",
        ],
        "data_roots": list(data_roots),
    }
    return Manifest(summary=summary, episodes=tuple(included), missing_or_incomplete=tuple(missing))


def random_manifest(
    described: Sequence[ManifestEpisode],
    *,
    data_roots: Sequence[str],
    windowing: Windowing,
    fractions: Mapping[Split, float] = FRACTIONS,
    seed: int = SEED,
    skipped: Iterable[Missing] = (),
) -> Manifest:
    """The manifest of whatever is staged, with a new split by sessions; not comparable with a selection's."""
    splits = random_split([entry.episode_path for entry in described], fractions, seed)
    episodes = [msgspec.structs.replace(entry, split=splits[entry.episode_path]) for entry in described]
    counts = Counter(entry.split for entry in episodes)
    summary: dict[str, Any] = {
        "num_episodes": len(episodes),
        **_sizes(episodes),
        "split_counts": {split: counts[split] for split in SPLITS},
        "split_fractions": {**dict(fractions), "seed": seed},
        "windowing": msgspec.to_builtins(windowing),
        "notes": [
            "A NEW RANDOM SPLIT: results cannot be compared with those of a selection's split.",
            "Sessions are never divided between splits.",
            "train_minimal_bytes leaves out visualization.rrd, which no training reads.",
        ],
        "data_roots": list(data_roots),
    }
    return Manifest(summary=summary, episodes=tuple(episodes), missing_or_incomplete=tuple(skipped))


def _sizes(entries: Sequence[ManifestEpisode]) -> dict[str, Any]:
    return {
        "train_minimal_bytes": sum(entry.train_minimal_bytes for entry in entries),
        "total_bytes": sum(entry.total_bytes for entry in entries),
    }


def _lacks_videos(entry: ManifestEpisode) -> Missing:
    names = tuple(video.name for video in entry.videos if not video.exists)
    return Missing(entry.episode_path, entry.split, names, "all six cameras are required")
