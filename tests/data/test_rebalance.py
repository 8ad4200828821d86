"""Balance is measured, and swaps mend it without touching sizes, bands or sessions."""

import json
import math
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.audit.balance import (
    BalanceLimits,
    Labelled,
    balance_checks,
    count,
    divergence,
    measure,
)
from pipeline.data.manifest.record import read_manifest
from pipeline.data.rebalance import Swap, apply_swaps, moved, propose_swaps
from pipeline.data.splits import session_of
from pipeline.data.taxonomy import leading_tag, tags_of
from pipeline.engine.errors import UsageError
from pipeline.hub.selection import decode_selection

counters = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 30), min_size=1)


@given(counters, counters)
def test_divergence_is_a_symmetric_share_of_one_bit(one: dict[str, int], other: dict[str, int]) -> None:
    bits = divergence(one, other)
    assert 0 <= bits <= 1 + 1e-12
    assert math.isclose(bits, divergence(other, one), abs_tol=1e-12)
    assert divergence(one, one) == 0
    assert math.isclose(divergence(one, {k: 3 * v for k, v in one.items()}), 0, abs_tol=1e-9)
    assert (bits > 0.999999) == (not set(one) & set(other))


def test_divergence_of_known_shares() -> None:
    assert divergence({"a": 1}, {"b": 1}) == 1.0
    expected = 0.5 * math.log2(1 / 0.75) + 0.25 * math.log2(0.5 / 0.75) + 0.25 * math.log2(0.5 / 0.25)
    assert math.isclose(divergence({"a": 1}, {"a": 1, "b": 1}), expected)
    assert divergence({}, {"a": 1}) == 0.0


def skewed() -> list[Labelled]:
    """Train is all craft, val and test are all retail, in two bands."""
    plan = {"train": (24, "craft"), "val": (4, "retail"), "test": (4, "retail")}
    return [
        Labelled(f"{split}{n}-{band}/ep1", split, band, category)
        for split, (number, category) in plan.items()
        for band in ("short", "long")
        for n in range(number)
    ]


def test_the_gate_measures_dominance_and_distance() -> None:
    balance = measure(skewed())
    assert balance.splits["val"].share == 1.0
    assert balance.splits["val"].divergence > balance.splits["val"].chance
    failed = {check.name for check in balance_checks(balance, BalanceLimits()) if not check.ok}
    assert failed == {"no_category_dominates", "splits_alike"}
    even = [
        Labelled(f"s{n}/ep1", ("train", "val", "test")[n % 3], "short", "ab"[n // 3 % 2]) for n in range(60)
    ]
    assert all(check.ok for check in balance_checks(measure(even), BalanceLimits()))


def test_unknown_content_is_listed() -> None:
    episodes = [Labelled(f"s{n}/ep1", "train", "short", "craft") for n in range(8)]
    episodes += [
        Labelled("x/ep1", "train", "short", "uncategorized"),
        Labelled("y/ep1", "train", "short", "unparsed"),
    ]
    balance = measure(episodes)
    assert (balance.uncategorized, balance.unparsed) == (("x/ep1",), ("y/ep1",))
    assert "content_known" in {c.name for c in balance_checks(balance, BalanceLimits()) if not c.ok}
    assert not any(
        check.ok for check in balance_checks(measure([]), BalanceLimits()) if check.name == "content_known"
    )


def test_swaps_mend_what_can_be_mended() -> None:
    episodes = skewed()
    limits = BalanceLimits(max_share=0.8)
    swaps = propose_swaps(episodes, limits, most=20)
    after = episodes
    for swap in swaps:
        after = moved(after, swap)
    assert 8 < len(swaps) <= 20
    assert len(propose_swaps(episodes, limits)) == 8
    balance = measure(after)
    assert all(check.ok for check in balance_checks(balance, limits)), balance
    assert [swap.before for swap in swaps] == sorted((swap.before for swap in swaps), reverse=True)


def test_balanced_splits_need_no_swap_and_hopeless_ones_get_none() -> None:
    same = [Labelled(f"s{n}/ep1", ("train", "test")[n % 2], "short", "craft") for n in range(10)]
    assert propose_swaps(same, BalanceLimits()) == []  # nothing else to swap with
    even = [Labelled(f"s{n}/ep1", ("train", "val")[n % 2], "short", "ab"[n // 2 % 2]) for n in range(20)]
    assert propose_swaps(even, BalanceLimits()) == []


def test_a_kept_split_is_not_touched() -> None:
    swaps = propose_swaps(skewed(), BalanceLimits(), keep=["test"])
    assert swaps
    assert "test" not in {split for swap in swaps for split in (swap.first_split, swap.second_split)}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["train", "val", "test"]),
            st.sampled_from(["short", "long"]),
            st.sampled_from("abcd"),
        ),
        max_size=40,
    )
)
def test_swaps_keep_sizes_bands_and_categories(drawn: list[tuple[str, str, str]]) -> None:
    episodes = [Labelled(f"s{n:02d}/ep1", *kind) for n, kind in enumerate(drawn)]
    after = episodes
    swaps = propose_swaps(episodes, BalanceLimits(max_share=0.3, max_divergence=0.01))
    paths = [path for swap in swaps for path in (swap.first, swap.second)]
    assert len(set(paths)) == len(paths)  # so that the swaps of one report can be applied together
    for swap in swaps:
        total_before = sum(divergence(c, Counter(e.category for e in after)) for c in count(after).values())
        assert math.isclose(total_before, swap.before, abs_tol=1e-3)
        after = moved(after, swap)
    assert Counter((e.split, e.band) for e in after) == Counter((e.split, e.band) for e in episodes)
    assert Counter((e.path, e.category) for e in after) == Counter((e.path, e.category) for e in episodes)


# --- the selection -----------------------------------------------------------------------------------


@pytest.fixture
def selection(published: Path) -> dict[str, object]:
    path = published / "omni" / "xperience10m_128_episode_selection.json"
    found: dict[str, object] = json.loads(path.read_bytes())
    return found


def labelled(published: Path) -> list[Labelled]:
    manifest = read_manifest(published / "omni" / "episode_manifest.json")
    return [
        Labelled(
            entry.episode_path,
            entry.split,
            entry.size_band or "",
            leading_tag(
                tags_of(
                    entry.main_task,
                    [entry.label_stats.frame_labels.action, entry.label_stats.frame_labels.subtask],
                )
            ),
        )
        for entry in manifest.episodes
    ]


def test_the_published_split_is_as_even_as_chance(published: Path) -> None:
    balance = measure(labelled(published))
    assert all(check.ok for check in balance_checks(balance, BalanceLimits()))
    assert all(split.divergence <= split.chance for split in balance.splits.values())
    assert balance.splits["val"].leading == "paper_and_card_craft"
    assert balance.splits["val"].share == 0.5625


def test_applied_swaps_are_a_new_version_of_the_selection(
    published: Path, selection: dict[str, object]
) -> None:
    limits = BalanceLimits(max_divergence=0.08)
    swaps = propose_swaps(labelled(published), limits)
    assert swaps
    changed = apply_swaps(selection, swaps, reason="val is mostly craft")
    before = decode_selection(json.dumps(selection).encode(), "before")
    after = decode_selection(json.dumps(changed).encode(), "after")
    assert after.version == 2
    assert before.version == 1
    assert after.split_hash() != before.split_hash()
    assert len(after.replacements) == 2 * len(swaps)
    assert Counter((e.split, e.band) for e in after.episodes) == Counter(
        (e.split, e.band) for e in before.episodes
    )
    assert [e.path for e in after.episodes] == [e.path for e in before.episodes]
    assert len({session_of(e.path) for e in after.episodes}) == 128
    moved_paths = {
        e.path for e, old in zip(after.episodes, before.episodes, strict=True) if e.split != old.split
    }
    assert moved_paths == {path for swap in swaps for path in (swap.first, swap.second)}
    again = apply_swaps(changed, [back(swaps[0])], reason="undo")
    assert again["version"] == 3


def back(swap: Swap) -> Swap:
    return msgspec.structs.replace(swap, first_split=swap.second_split, second_split=swap.first_split)


def test_stale_and_wrong_swaps_are_refused(published: Path, selection: dict[str, object]) -> None:
    swap = propose_swaps(labelled(published), BalanceLimits(max_divergence=0.08))[0]
    changed = apply_swaps(selection, [swap], reason="x")
    with pytest.raises(UsageError, match="the swap expects"):
        apply_swaps(changed, [swap], reason="again")
    with pytest.raises(UsageError, match="swapped twice"):
        apply_swaps(selection, [swap, swap], reason="x")
    with pytest.raises(UsageError, match="reason"):
        apply_swaps(selection, [swap], reason="  ")
    with pytest.raises(UsageError, match="not in the selection"):
        apply_swaps({**selection, "selected_episodes": []}, [swap], reason="x")
