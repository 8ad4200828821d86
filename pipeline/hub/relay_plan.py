"""The relay plan: what would be moved, how much disk each step needs, how long it takes.

A plan is computed from the selection alone. It needs no token and no network, and it never touches the
progress log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

from msgspec import Struct

from pipeline.engine.errors import UsageError
from pipeline.hub.batches import DEFAULT_MAX_EPISODES, DEFAULT_MAX_GIB, cut
from pipeline.hub.selection import SelectedEpisode, Selection

DEFAULT_CHUNK = 8 << 20


class Rate(Struct, frozen=True):
    """A measured or assumed speed as a range, in bytes per second."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high:
            raise UsageError(f"a rate is a range of positive bytes/s, not {self.low} to {self.high}")


class Seconds(Struct, frozen=True):
    """A time span as a range, in seconds from the start of the relay."""

    low: float
    high: float


class PlannedBatch(Struct, frozen=True, kw_only=True):
    """One batch of a plan.

    Attributes:
        number: from 1.
        episodes: `<session>/ep<N>` in order.
        files, bytes: all of the batch.
        files_done, bytes_left: what is already verified on the destination; what is still to be moved.
        splits: episodes per split.
        relay_bytes: most that lies on the relay while this batch is the current one: itself and the
            batches that may be prefetched behind it.
        destination_bytes: what lies on the training host when the batch is done.
        downloaded_s, transferred_s: when both lanes are done with it; None without rates.
    """

    number: int
    episodes: tuple[str, ...]
    files: int
    bytes: int
    files_done: int
    bytes_left: int
    splits: dict[str, int]
    relay_bytes: int
    destination_bytes: int
    downloaded_s: Seconds | None = None
    transferred_s: Seconds | None = None


class RelayPlan(Struct, frozen=True, kw_only=True):
    """All batches with totals; see `PlannedBatch`.

    Attributes:
        repo_id, revision, split_hash: which bytes, at which commit, in which split.
        batch_max_gib, batch_max_episodes, prefetch, delete_after_transfer: what the plan assumes.
        chunks: ranges of `chunk_bytes` to move; an estimate within one per file without file sizes.
        relay_peak_bytes: the highest waterline on the relay.
        needed_on_destination_bytes: free space the training host must have.
        eta_s: end of the relay; None without rates.
    """

    repo_id: str
    revision: str
    split_hash: str
    batch_max_gib: float
    batch_max_episodes: int
    prefetch: int
    delete_after_transfer: bool
    episodes: int
    sessions: int
    files: int
    bytes: int
    bytes_left: int
    chunks: int
    chunk_bytes: int
    relay_peak_bytes: int
    needed_on_destination_bytes: int
    eta_s: Seconds | None
    batches: tuple[PlannedBatch, ...]


class Done(NamedTuple):
    """When each batch is downloaded and transferred, in seconds from the start."""

    downloaded: list[float]
    transferred: list[float]


def plan_relay(
    selection: Selection,
    *,
    batch_max_gib: float = DEFAULT_MAX_GIB,
    batch_max_episodes: int = DEFAULT_MAX_EPISODES,
    prefetch: int = 1,
    delete_after_transfer: bool = True,
    download: Rate | None = None,
    transfer: Rate | None = None,
    verified: Collection[str] = (),
    chunk_bytes: int = DEFAULT_CHUNK,
) -> RelayPlan:
    """Plan the relay of `selection`.

    Args:
        selection: what to move.
        batch_max_gib: most bytes of a batch, in GiB; a larger episode is a batch of its own.
        batch_max_episodes: most episodes of a batch.
        prefetch: batches that may be downloaded ahead of the one being transferred.
        delete_after_transfer: whether a batch leaves the relay when it is verified on the training host.
        download: speed from the Hub; without both speeds there are no times.
        transfer: speed to the training host.
        verified: repository paths already verified on the destination.
        chunk_bytes: size of a chunk, for counting them.

    Raises:
        UsageError: a cap, the prefetch depth or a rate makes no sense.
    """
    if prefetch < 0:
        raise UsageError(f"prefetch depth must not be negative, is {prefetch}")
    groups = list(cut(selection.episodes, max_gib=batch_max_gib, max_episodes=batch_max_episodes))
    left = [sum(_left(episode, verified) for episode in group) for group in groups]
    times = _times(left, download, transfer, prefetch) or [(None, None)] * len(groups)
    batches: list[PlannedBatch] = []
    for index, group in enumerate(groups):
        first = index if delete_after_transfer else 0
        size = sum(episode.training_bytes for episode in group)
        batches.append(
            PlannedBatch(
                number=index + 1,
                episodes=tuple(episode.path for episode in group),
                files=sum(len(episode.download_files) for episode in group),
                bytes=size,
                files_done=sum(path in verified for episode in group for path in episode.download_files),
                bytes_left=left[index],
                splits=dict(Counter(episode.split for episode in group)),
                relay_bytes=sum(left[first : index + 1 + prefetch]),
                destination_bytes=size + (batches[-1].destination_bytes if batches else 0),
                downloaded_s=times[index][0],
                transferred_s=times[index][1],
            )
        )
    return RelayPlan(
        repo_id=selection.repo_id,
        revision=selection.commit,
        split_hash=selection.split_hash(),
        batch_max_gib=batch_max_gib,
        batch_max_episodes=batch_max_episodes,
        prefetch=prefetch,
        delete_after_transfer=delete_after_transfer,
        episodes=len(selection.episodes),
        sessions=len({episode.session for episode in selection.episodes}),
        files=len(selection.download_files),
        bytes=selection.size,
        bytes_left=sum(left),
        chunks=sum(_chunks(episode, chunk_bytes) for episode in selection.episodes),
        chunk_bytes=chunk_bytes,
        relay_peak_bytes=max((batch.relay_bytes for batch in batches), default=0),
        needed_on_destination_bytes=sum(left),
        eta_s=batches[-1].transferred_s if batches else None,
        batches=tuple(batches),
    )


def overlap(sizes: Sequence[int], *, download: float, transfer: float, prefetch: int) -> Done:
    """When two lanes that work on consecutive batches are done with each, at given bytes per second.

    The download of a batch starts when the one before it is down and when the batch `prefetch + 1` before
    it has left the relay; its transfer starts when it is down and the lane is free.
    """
    down: list[float] = []
    moved: list[float] = []
    for index, size in enumerate(sizes):
        room = moved[index - prefetch - 1] if index > prefetch else 0.0
        start = max(down[-1] if down else 0.0, room)
        down.append(start + size / download)
        moved.append(max(down[-1], moved[-1] if moved else 0.0) + size / transfer)
    return Done(down, moved)


def _times(
    sizes: Sequence[int], download: Rate | None, transfer: Rate | None, prefetch: int
) -> list[tuple[Seconds | None, Seconds | None]]:
    if download is None or transfer is None:
        return []
    fast = overlap(sizes, download=download.high, transfer=transfer.high, prefetch=prefetch)
    slow = overlap(sizes, download=download.low, transfer=transfer.low, prefetch=prefetch)
    downloaded = [Seconds(*pair) for pair in zip(fast.downloaded, slow.downloaded, strict=True)]
    transferred = [Seconds(*pair) for pair in zip(fast.transferred, slow.transferred, strict=True)]
    return list(zip(downloaded, transferred, strict=True))


def _left(episode: SelectedEpisode, verified: Collection[str]) -> int:
    """Bytes still to be moved; an episode without file sizes counts in full until all of it is verified."""
    if episode.files:
        return sum(file.size for file in episode.files if file.path not in verified)
    return 0 if all(path in verified for path in episode.download_files) else episode.training_bytes


def _chunks(episode: SelectedEpisode, chunk: int) -> int:
    if episode.files:
        return sum(-(-file.size // chunk) for file in episode.files)
    videos = len(episode.download_files) - 1
    return -(-episode.annotation_bytes // chunk) + videos * -(-episode.video_bytes // videos // chunk)
