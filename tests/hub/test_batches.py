"""Batches and the relay plan: every episode once, in order, never above a cap."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine.errors import NotReadyError, UsageError
from pipeline.hub.batches import cut, make_batches
from pipeline.hub.choose import choose
from pipeline.hub.pool import SelectRules, make_pool
from pipeline.hub.relay_plan import Rate, overlap, plan_relay
from pipeline.hub.selection import SelectedEpisode
from pipeline.hub.units import GIB
from tests.hub.conftest import random_listing

SELECTION = choose(make_pool(random_listing(60, 1), SelectRules(target_episodes=16, min_annotation_gib=0)))


def sized(sizes: list[int]) -> list[SelectedEpisode]:
    template = SELECTION.episodes[0]
    return [msgspec.structs.replace(template, path=f"s/ep{n}", training_bytes=s) for n, s in enumerate(sizes)]


@given(
    sizes=st.lists(st.integers(1, 1000), max_size=60),
    most=st.integers(1, 2000),
    episodes=st.integers(1, 20),
)
def test_greedy_batches(sizes: list[int], most: int, episodes: int) -> None:
    selected = sized(sizes)
    groups = list(cut(selected, max_gib=most / GIB, max_episodes=episodes))
    assert [episode for group in groups for episode in group] == selected
    for group in groups:
        assert 1 <= len(group) <= episodes
        assert len(group) == 1 or sum(episode.training_bytes for episode in group) <= most
    for group, following in pairwise(groups):
        size = sum(episode.training_bytes for episode in group)
        assert len(group) == episodes or size + following[0].training_bytes > most


def test_batches_hold_every_file_once() -> None:
    batches = make_batches(SELECTION, max_episodes=5)
    assert [batch.number for batch in batches] == [1, 2, 3, 4]
    assert [file.path for batch in batches for file in batch.files] == list(SELECTION.download_files)
    assert sum(batch.size for batch in batches) == SELECTION.size


def test_batches_need_sizes_and_hashes() -> None:
    bare = tuple(msgspec.structs.replace(e, files=()) for e in SELECTION.episodes)
    with pytest.raises(NotReadyError, match="no file sizes and hashes"):
        make_batches(msgspec.structs.replace(SELECTION, episodes=bare))


@pytest.mark.parametrize("caps", [{"max_gib": 0}, {"max_episodes": 0}, {"max_gib": -1}])
def test_caps_must_be_positive(caps: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="must be positive"):
        make_batches(SELECTION, **caps)  # type: ignore[arg-type]


def test_a_plan_is_json() -> None:
    plan = plan_relay(SELECTION, download=Rate(1e6, 2e6), transfer=Rate(1e6, 1e6))
    again = msgspec.json.decode(msgspec.json.encode(plan), type=type(plan))
    assert again == plan


def test_the_waterline_counts_the_batch_and_what_is_prefetched() -> None:
    sizes = [batch.size for batch in make_batches(SELECTION, max_episodes=4)]
    for prefetch in (0, 1, 2):
        plan = plan_relay(SELECTION, batch_max_episodes=4, prefetch=prefetch)
        assert [b.relay_bytes for b in plan.batches] == [
            sum(sizes[i : i + 1 + prefetch]) for i in range(len(sizes))
        ]
    kept = plan_relay(SELECTION, batch_max_episodes=4, prefetch=1, delete_after_transfer=False)
    assert kept.relay_peak_bytes == SELECTION.size
    assert [b.destination_bytes for b in kept.batches][-1] == SELECTION.size


def test_verified_files_are_not_planned_again() -> None:
    done = SELECTION.download_files[:7]
    plan = plan_relay(SELECTION, verified=set(done))
    assert plan.batches[0].files_done == 7
    assert plan.bytes_left == SELECTION.size - SELECTION.episodes[0].training_bytes
    assert plan_relay(SELECTION, verified=set(SELECTION.download_files)).bytes_left == 0


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(1, 100), min_size=1, max_size=12),
    download=st.integers(1, 20),
    transfer=st.integers(1, 20),
    prefetch=st.integers(0, 3),
)
def test_two_lanes(sizes: list[int], download: int, transfer: int, prefetch: int) -> None:
    done = overlap(sizes, download=download, transfer=transfer, prefetch=prefetch)
    total = sum(sizes)
    slowest = max(total / download, total / transfer)
    end = done.transferred[-1]
    assert slowest - 1e-9 <= end <= total / download + total / transfer + 1e-9
    if prefetch == 0:
        assert end == pytest.approx(total / download + total / transfer)
    assert all(down < moved for down, moved in zip(done.downloaded, done.transferred, strict=True))
    for index in range(prefetch + 1, len(sizes)):
        assert done.downloaded[index] >= done.transferred[index - prefetch - 1]


def test_a_rate_is_a_positive_range() -> None:
    for low, high in ((0, 1), (2, 1), (-1, 1)):
        with pytest.raises(UsageError, match="positive"):
            Rate(low, high)


def test_the_eta_is_a_range() -> None:
    plan = plan_relay(SELECTION, download=Rate(1e6, 4e6), transfer=Rate(2e6, 4e6), batch_max_episodes=4)
    assert plan.eta_s is not None
    assert plan.eta_s.low < plan.eta_s.high
    ends = [batch.transferred_s for batch in plan.batches]
    assert ends == sorted(ends, key=lambda end: end.low if end else 0)
