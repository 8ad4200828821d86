"""Choosing episodes from a pool by size and session, the same way every time.

The rules are those of the published selection: the best-scored episode of each session and band; each band
filled to its share of the target, then topped up from any band; one episode per session; a split drawn
inside each band by hash. `pipeline.hub.pool` filters and scores before that.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from pipeline.engine.errors import StageFailedError, UsageError
from pipeline.hub import names
from pipeline.hub.pool import Candidate, Pool, SelectRules
from pipeline.hub.selection import BANDS, SPLITS, Band, SelectedEpisode, Selection, Split
from pipeline.hub.units import human

#: The split's seed is the selection's plus this.
SPLIT_SEED_OFFSET = 101


def choose(pool: Pool) -> Selection:
    """The selection that `pool`'s rules ask for.

    Raises:
        StageFailedError: fewer sessions with a candidate than episodes wanted.
    """
    rules = pool.rules
    chosen = _fill(pool)
    splits = _split(chosen, rules)
    episodes = tuple(
        selected(candidate, splits[candidate.episode.path], rank)
        for rank, candidate in enumerate(chosen, start=1)
    )
    return Selection(
        status="pass",
        generated_at_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        repo_id=pool.listing.repo_id,
        repo_sha=pool.listing.revision,
        selection_type="metadata_balanced_first_pass",
        target_episodes=rules.target_episodes,
        seed=rules.seed,
        rules=_rules_record(pool),
        available_complete_episodes=pool.complete,
        candidate_episodes_after_filters=len(pool.candidates),
        rejected_counts=dict(sorted(Counter(pool.rejected.values()).items())),
        annotation_size_summary_complete=pool.annotation_summary,
        training_size_summary_complete=pool.training_summary,
        selected_summary=summarise(episodes, rules.windows_per_episode),
        episodes=episodes,
        download_files=tuple(path for episode in episodes for path in episode.download_files),
        revision=pool.listing.revision,
    )


def _fill(pool: Pool) -> list[Candidate]:
    """One candidate per session: each band up to its share, then the best of any band."""
    best: dict[tuple[str, Band], Candidate] = {}
    for candidate in pool.candidates:
        best.setdefault((candidate.episode.session, candidate.band), candidate)
    chosen: list[Candidate] = []
    used: set[str] = set()

    def take(candidates: Iterable[Candidate], upto: int) -> None:
        for candidate in candidates:
            if len(chosen) == upto:
                return
            if candidate.episode.session not in used:
                used.add(candidate.episode.session)
                chosen.append(candidate)

    target = pool.rules.target_episodes
    for position, band in enumerate(BANDS):
        share = target // len(BANDS) + (position < target % len(BANDS))
        take((c for c in best.values() if c.band == band), len(chosen) + share)
    take(best.values(), target)
    if len(chosen) < target:
        raise StageFailedError(
            f"{target} episodes of different sessions are wanted, the listing has {len(chosen)} "
            f"({len(pool.candidates)} candidates of {pool.complete} complete episodes)",
            hint=f"set target_episodes to {len(chosen)} or less, or relax the size filters",
        )
    return sorted(chosen, key=lambda candidate: (BANDS.index(candidate.band), *candidate.order))


def _split(chosen: Sequence[Candidate], rules: SelectRules) -> dict[str, Split]:
    """Split inside each band, in the order of sha256("<seed + 101>:<path>")."""
    splits: dict[str, Split] = {}
    given = [0.0] * len(SPLITS)
    for band in BANDS:
        paths = [candidate.episode.path for candidate in chosen if candidate.band == band]
        paths.sort(
            key=lambda path: hashlib.sha256(f"{rules.seed + SPLIT_SEED_OFFSET}:{path}".encode()).digest()
        )
        counts = band_shares(len(paths), rules.fractions, given)
        labels = [split for split, count in zip(SPLITS, counts, strict=True) for _ in range(count)]
        splits.update(zip(paths, labels, strict=True))
    return splits


def band_shares(size: int, fractions: Sequence[float], given: list[float]) -> list[int]:
    """How many of a band's `size` episodes go to each split; `given` carries the rounding onwards.

    Whole shares first; what is left goes to the splits that are furthest behind over all bands so far, so
    that the totals are right even where a band is too small to hold every split. `given[i]` is what split
    i has received beyond its exact share.
    """
    counts = [math.floor(fraction * size + 1e-9) for fraction in fractions]
    for index, fraction in enumerate(fractions):
        given[index] += counts[index] - fraction * size
    for _ in range(size - sum(counts)):
        behind = min(range(len(fractions)), key=lambda index: (round(given[index], 9), index))
        counts[behind] += 1
        given[behind] += 1
    return counts


def selected(candidate: Candidate, split: Split, rank: int) -> SelectedEpisode:
    """The selection's record of one candidate."""
    episode = candidate.episode
    annotation, training = episode.annotation_bytes, episode.training_bytes
    return SelectedEpisode(
        path=episode.path,
        episode_id=f"ep{episode.number}",
        episode_number=episode.number,
        session=episode.session,
        file_count=len(episode.files) + episode.extra_files,
        total_bytes=training + episode.extra_bytes,
        training_bytes=training,
        annotation_bytes=annotation,
        video_bytes=training - annotation,
        has_annotation=True,
        has_all_six_videos=True,
        has_visualization_rrd=episode.has_viewer_file,
        missing_required_files=(),
        download_files=tuple(file.path for file in episode.files),
        band=candidate.band,
        annotation_human=human(annotation),
        training_human=human(training),
        score=candidate.score,
        split=split,
        rank=rank,
        files=episode.files,
    )


def summarise(episodes: Sequence[SelectedEpisode], windows_per_episode: int) -> dict[str, Any]:
    """The `selected_summary` block: counts, bytes and the session overlaps that must be empty."""
    if not episodes:
        raise UsageError("a selection needs at least one episode")
    training = sum(episode.training_bytes for episode in episodes)
    sessions = {split: {e.session for e in episodes if e.split == split} for split in SPLITS}
    return {
        "episode_count": len(episodes),
        "unique_session_count": len({episode.session for episode in episodes}),
        "split_counts": dict(Counter(episode.split for episode in episodes)),
        "size_band_counts": dict(Counter(episode.band for episode in episodes)),
        "split_band_counts": dict(Counter(f"{episode.split}/{episode.band}" for episode in episodes)),
        "estimated_download_bytes_excluding_visualization_rrd": training,
        "estimated_download_human_excluding_visualization_rrd": human(training),
        "estimated_annotation_bytes": sum(episode.annotation_bytes for episode in episodes),
        "estimated_annotation_human": human(sum(episode.annotation_bytes for episode in episodes)),
        "estimated_windows_at_configured_limit": len(episodes) * windows_per_episode,
        "windows_per_episode": windows_per_episode,
        "train_sessions_overlap_val": sorted(sessions["train"] & sessions["val"]),
        "train_sessions_overlap_test": sorted(sessions["train"] & sessions["test"]),
        "val_sessions_overlap_test": sorted(sessions["val"] & sessions["test"]),
    }


def _rules_record(pool: Pool) -> dict[str, Any]:
    return {
        "complete_episode_required_files": list(names.EPISODE_FILES),
        "excluded_training_files": [names.EXCLUDED_FILE],
        "one_episode_per_top_level_session": True,
        "drop_bottom_annotation_percentile": pool.rules.drop_bottom_annotation_percentile,
        "drop_bottom_training_percentile": pool.rules.drop_bottom_training_percentile,
        "min_annotation_bytes": pool.annotation_floor,
        "min_annotation_human": human(pool.annotation_floor),
        "min_training_bytes": pool.training_floor,
        "min_training_human": human(pool.training_floor),
        "content_category_status": "not directly visible in HF metadata; refine after annotations are "
        "downloaded and captions are parsed",
    }
