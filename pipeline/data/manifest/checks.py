"""The manifest's gate: nothing leaks, nothing is lost, the split is the selection's, labels are there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.data.layout import MODALITIES
from pipeline.data.leakage import LeakFinder
from pipeline.data.manifest.build import Chosen
from pipeline.data.manifest.record import Manifest
from pipeline.data.splits import SPLITS, split_hash
from pipeline.engine.gates import Check

#: Most names listed in a check's evidence; counts are always complete.
SHOWN = 20


def manifest_checks(
    manifest: Manifest,
    selected: Sequence[Chosen],
    *,
    contents: Mapping[str, Sequence[str]] | None = None,
    max_unlabelled_share: float = 0.1,
    min_episodes: int = 1,
) -> list[Check]:
    """The gate of a manifest.

    Args:
        manifest: what was made.
        selected: what it was made from; empty for a random split.
        contents: episode path -> sha256 of its media files, where known.
        max_unlabelled_share: share of episodes that may have no labelled window.
        min_episodes: episodes with labels that every included split needs.
    """
    checks = leakage_checks(manifest, contents or {})
    if selected:
        checks += [check_conservation(manifest, selected), check_split(manifest, selected)]
    checks += [check_labels(manifest, max_unlabelled_share), check_split_sizes(manifest, min_episodes)]
    checks.append(check_modalities(manifest))
    return checks


def leakage_checks(manifest: Manifest, contents: Mapping[str, Sequence[str]]) -> list[Check]:
    """Episodes, sessions, media files and their contents, each in one split only."""
    finder = LeakFinder()
    for entry in manifest.episodes:
        files = [video.path for video in entry.videos if video.exists]
        known = contents.get(entry.episode_path, ())
        finder.add(entry.episode_id, entry.split, files=[*files, entry.annotation], contents=known)
    return finder.checks()


def check_conservation(manifest: Manifest, selected: Sequence[Chosen]) -> Check:
    """Every selected episode is listed, sealed or left out with a reason, exactly once."""
    listed = Counter(entry.episode_path for entry in manifest.episodes)
    out = Counter(entry.episode_path for entry in manifest.missing_or_incomplete)
    include = manifest.summary.get("included_splits", SPLITS)
    sealed = [c.path for c in selected if c.split not in include and not out[c.path]]
    accounted = listed + out + Counter(sealed)
    unreasoned = [e.episode_path for e in manifest.missing_or_incomplete if not (e.reason or e.missing)]
    return Check(
        name="episodes_conserved",
        ok=accounted == Counter(c.path for c in selected) and not unreasoned,
        detail=f"{len(selected)} selected = {listed.total()} listed + {len(sealed)} sealed + "
        f"{out.total()} left out",
        evidence={
            "left_out": {e.episode_path: e.reason for e in manifest.missing_or_incomplete},
            "without_reason": unreasoned,
        },
    )


def check_split(manifest: Manifest, selected: Sequence[Chosen]) -> Check:
    """Every listed episode has the split of the selection."""
    splits = {chosen.path: chosen.split for chosen in selected}
    moved = {
        entry.episode_path: [splits.get(entry.episode_path, "not selected"), entry.split]
        for entry in manifest.episodes
        if splits.get(entry.episode_path) != entry.split
    }
    return Check(
        name="split_is_the_selections",
        ok=not moved,
        detail=f"{len(moved)} of {len(manifest.episodes)} episodes have another split than the selection",
        evidence={"moved": dict(list(moved.items())[:SHOWN]), "split_hash": split_hash(splits)},
    )


def check_labels(manifest: Manifest, limit: float) -> Check:
    """Episodes without labels are found here, not at export."""
    bare = [entry.episode_path for entry in manifest.episodes if not entry.labelled_windows]
    share = len(bare) / len(manifest.episodes) if manifest.episodes else 1.0
    windows = sum(entry.labelled_windows for entry in manifest.episodes)
    return Check(
        name="labels_available",
        ok=share <= limit,
        detail=f"{len(bare)} of {len(manifest.episodes)} episodes have no labelled window "
        f"(at most {limit:.0%}); the others have {windows}",
        evidence={"unlabelled": bare, "labelled_windows": windows, "limit": limit},
    )


def check_split_sizes(manifest: Manifest, least: int) -> Check:
    """Every included split has labelled episodes."""
    include = manifest.summary.get("included_splits", SPLITS)
    counts = Counter(entry.split for entry in manifest.episodes if entry.labelled_windows)
    short = [split for split in include if counts[split] < least]
    return Check(
        name="splits_not_empty",
        ok=not short,
        detail=", ".join(f"{counts[split]} labelled {split}" for split in include) + f"; {least} each needed",
        evidence={"short": short, "counts": dict(counts)},
    )


def check_modalities(manifest: Manifest) -> Check:
    """Counts of the eleven flags per split; a modality that a whole split lacks cannot be compared."""
    have: dict[str, Any] = {}
    gone = []
    for split in sorted({entry.split for entry in manifest.episodes}):
        entries = [entry for entry in manifest.episodes if entry.split == split]
        have[split] = {
            name: sum(entry.hdf5_modalities.get(name, False) for entry in entries) for name in MODALITIES
        }
        gone += [(split, name) for name, count in have[split].items() if not count]
    everywhere = {name for name in MODALITIES if all(counts[name] == 0 for counts in have.values())}
    uneven = [f"{name} in {split}" for split, name in gone if name not in everywhere]
    return Check(
        name="modalities_in_every_split",
        ok=not uneven,
        detail=f"{len(uneven)} modalities are missing from one split only"
        + (f": {', '.join(uneven)}" if uneven else ""),
        evidence={"episodes_with": have, "absent_everywhere": sorted(everywhere)},
    )
