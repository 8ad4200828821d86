"""Cutting a selection into batches: greedy in selection order, capped by bytes and by episodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.engine.errors import NotReadyError, UsageError
from pipeline.hub.selection import SelectedEpisode, Selection
from pipeline.hub.types import Batch
from pipeline.hub.units import GIB

DEFAULT_MAX_GIB = 40.0
DEFAULT_MAX_EPISODES = 16


def cut(
    episodes: Sequence[SelectedEpisode],
    *,
    max_gib: float = DEFAULT_MAX_GIB,
    max_episodes: int = DEFAULT_MAX_EPISODES,
) -> Iterator[tuple[SelectedEpisode, ...]]:
    """Yield groups of `episodes` in their order, none above either cap.

    A new group starts when the next episode would exceed `max_gib` or the group has `max_episodes`; an
    episode larger than `max_gib` is a group of its own.

    Raises:
        UsageError: a cap is not positive.
    """
    if max_gib <= 0 or max_episodes < 1:
        raise UsageError(f"batch caps must be positive, not {max_gib} GiB and {max_episodes} episodes")
    group: list[SelectedEpisode] = []
    size = 0
    for episode in episodes:
        full = len(group) == max_episodes or size + episode.training_bytes > max_gib * GIB
        if group and full:
            yield tuple(group)
            group, size = [], 0
        group.append(episode)
        size += episode.training_bytes
    if group:
        yield tuple(group)


def make_batches(
    selection: Selection,
    *,
    max_gib: float = DEFAULT_MAX_GIB,
    max_episodes: int = DEFAULT_MAX_EPISODES,
) -> tuple[Batch, ...]:
    """The batches a relay moves, with the size and hash of every file.

    Raises:
        NotReadyError: the selection does not know every file's size; `complete` it from a listing first.
        UsageError: a cap is not positive.
    """
    for episode in selection.episodes:
        if len(episode.files) != len(episode.download_files):
            raise NotReadyError(
                f"the selection has no file sizes and hashes (first: episode {episode.path})",
                hint="complete it from a listing of the same revision: xops relay listing",
            )
    groups = cut(selection.episodes, max_gib=max_gib, max_episodes=max_episodes)
    return tuple(
        Batch(
            number=number,
            episodes=tuple(episode.path for episode in group),
            files=tuple(file for episode in group for file in episode.files),
        )
        for number, group in enumerate(groups, start=1)
    )
