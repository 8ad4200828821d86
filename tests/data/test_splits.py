"""Splits are made of whole sessions and are reproducible to the episode."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.splits import FRACTIONS, episode_id, episode_path, random_split, session_of, split_hash
from pipeline.engine.errors import UsageError


def test_names() -> None:
    assert episode_id("8a8e/ep1") == "8a8e__ep1"
    assert episode_path("8a8e__ep1") == "8a8e/ep1"
    assert episode_path("xperience-10m-sample") == "xperience-10m-sample"
    assert session_of("8a8e__ep1") == session_of("8a8e/ep1") == "8a8e"


def test_the_plans_split_of_128_episodes_is_the_originals() -> None:
    """The documented rule written out: shuffle positions with seed 7, then 96, 16 and 16."""
    episodes = [f"{n:04d}/ep1" for n in range(128)]
    order = list(range(128))
    random.Random(7).shuffle(order)
    expected = {
        episodes[index]: "train" if place < 96 else "val" if place < 112 else "test"
        for place, index in enumerate(order)
    }
    assert random_split(episodes) == expected
    assert list(random_split(episodes)) == episodes


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), unique=True, max_size=80),
    st.integers(0, 2**32),
)
def test_no_session_is_ever_in_two_splits(drawn: list[tuple[int, int]], seed: int) -> None:
    episodes = [f"s{session}__ep{number}" for session, number in drawn]
    found = random_split(episodes, seed=seed)
    assert set(found) == set(episodes)
    by_session: dict[str, set[str]] = {}
    for episode, split in found.items():
        by_session.setdefault(session_of(episode), set()).add(split)
    assert all(len(splits) == 1 for splits in by_session.values())
    if len(by_session) >= 3:
        assert set(found.values()) == {"train", "val", "test"}
    assert random_split(episodes, seed=seed) == found


@pytest.mark.parametrize(("number", "counts"), [(0, {}), (1, {"train": 1}), (2, {"train": 1, "test": 1})])
def test_tiny_sets(number: int, counts: dict[str, int]) -> None:
    assert Counter(random_split([f"s{n}/ep1" for n in range(number)]).values()) == counts


def test_colliding_ids_and_wrong_fractions_are_refused() -> None:
    with pytest.raises(UsageError, match="appears twice"):
        random_split(["ep1", "ep1"])
    with pytest.raises(UsageError, match="fractions"):
        random_split(["a/ep1"], {**FRACTIONS, "val": -0.5})
    with pytest.raises(UsageError, match="fractions"):
        random_split(["a/ep1"], {"train": 0.0, "val": 0.0, "test": 0.0})


def test_the_split_hash_changes_with_any_split_and_with_nothing_else() -> None:
    splits = {"a/ep1": "train", "b/ep1": "test"}
    assert split_hash(splits) == split_hash(dict(reversed(splits.items())))
    assert split_hash(splits) != split_hash({**splits, "b/ep1": "val"})


def test_the_published_selection_and_manifest_agree_on_every_split(published: Path) -> None:
    selection = json.loads((published / "omni" / "xperience10m_128_episode_selection.json").read_bytes())
    manifest = json.loads((published / "omni" / "episode_manifest.json").read_bytes())
    selected = {e["episode_path"]: e["split"] for e in selection["selected_episodes"]}
    manifested = {episode_path(e["episode_id"]): e["split"] for e in manifest["episodes"]}
    assert split_hash(selected) == split_hash(manifested)
    assert {e["top_level_session"] for e in manifest["episodes"]} == {session_of(path) for path in selected}
