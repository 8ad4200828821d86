"""Selection from a listing: the rules hold for any listing, and the result never depends on its order."""

import json
import random
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine.errors import DamagedFileError, NotFoundError, StageFailedError
from pipeline.hub import names
from pipeline.hub.choose import band_shares, choose
from pipeline.hub.listing import Listing, make_listing, read_listing, write_listing
from pipeline.hub.pool import SelectRules, make_pool, percentile
from pipeline.hub.revise import explain, replace
from pipeline.hub.selection import (
    Selection,
    complete,
    contradictions,
    decode_selection,
    read_selection,
    write_checksums,
    write_selection,
)
from tests.hub.conftest import episode_files, random_listing

DEMO = SelectRules(target_episodes=16, min_annotation_gib=0)


def same_choice(left: Selection, right: Selection) -> bool:
    return left.episodes == right.episodes


@settings(max_examples=40, deadline=None)
@given(sessions=st.integers(20, 60), seed=st.integers(0, 10_000), target=st.integers(1, 20))
def test_every_selection_obeys_the_rules(sessions: int, seed: int, target: int) -> None:
    listing = random_listing(sessions, seed)
    rules = SelectRules(target_episodes=target, min_annotation_gib=0)
    pool = make_pool(listing, rules)
    if len({candidate.episode.session for candidate in pool.candidates}) < target:
        with pytest.raises(StageFailedError, match="different sessions"):
            choose(pool)
        return
    selection = choose(pool)
    assert list(contradictions(selection)) == []
    assert len(selection.episodes) == target
    assert len({episode.session for episode in selection.episodes}) == target
    assert selection.hashed
    assert not any(names.is_excluded(path) for path in selection.download_files)
    known = listing.by_path()
    for episode in selection.episodes:
        assert episode.annotation_bytes >= pool.annotation_floor
        assert episode.training_bytes >= pool.training_floor
        assert episode.files == tuple(known[path] for path in episode.download_files)
    assert pool.complete == len(pool.candidates) + len(pool.rejected)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_the_order_of_the_listing_does_not_matter(seed: int) -> None:
    listing = random_listing(40, seed)
    shuffled = list(listing.files)
    random.Random(seed).shuffle(shuffled)
    other = make_listing(listing.repo_id, listing.revision, shuffled)
    assert same_choice(choose(make_pool(listing, DEMO)), choose(make_pool(other, DEMO)))


def test_another_seed_is_another_selection(listing: Listing) -> None:
    first = choose(make_pool(listing, DEMO))
    assert not same_choice(
        first, choose(make_pool(listing, SelectRules(target_episodes=16, seed=8, min_annotation_gib=0)))
    )


def test_the_published_shape_from_a_large_enough_listing() -> None:
    selection = choose(make_pool(random_listing(802, 3, most=8), SelectRules(min_annotation_gib=0)))
    summary = selection.selected_summary
    assert summary["size_band_counts"] == {"short": 32, "lower_mid": 32, "upper_mid": 32, "long": 32}
    assert Counter(summary["split_counts"]) == {"train": 96, "val": 16, "test": 16}
    assert set(summary["split_band_counts"].values()) == {24, 4}
    assert len(selection.download_files) == 896


def test_a_small_demo_still_has_all_three_splits(listing: Listing) -> None:
    selection = choose(make_pool(listing, DEMO))
    assert Counter(selection.selected_summary["split_counts"]) == {"train": 12, "val": 2, "test": 2}


@given(st.lists(st.integers(0, 60), min_size=1, max_size=6))
def test_band_shares_add_up_and_stay_near_their_fractions(sizes: list[int]) -> None:
    given_: list[float] = [0.0, 0.0, 0.0]
    totals = [0, 0, 0]
    for size in sizes:
        counts = band_shares(size, (0.75, 0.125, 0.125), given_)
        assert sum(counts) == size
        assert min(counts) >= 0
        totals = [a + b for a, b in zip(totals, counts, strict=True)]
    for total, fraction in zip(totals, (0.75, 0.125, 0.125), strict=True):
        assert abs(total - fraction * sum(sizes)) < 2


def test_percentiles_interpolate() -> None:
    assert percentile([0, 10], 0.25) == 2
    assert percentile([0, 4, 8, 12], 0.5) == 6
    assert percentile([5], 0.95) == 5


def test_fractions_must_add_up_to_one() -> None:
    with pytest.raises(msgspec.ValidationError, match="must be 1"):
        msgspec.convert({"train_fraction": 0.9}, SelectRules)


def test_a_listing_without_a_complete_episode_says_so() -> None:
    files = list(episode_files("s/ep1", 10, 10))[1:]
    with pytest.raises(StageFailedError, match="no complete episode"):
        make_pool(make_listing("a/b", "c" * 40, files), DEMO)


def test_listing_and_selection_survive_their_files(listing: Listing, tmp_path: Path) -> None:
    write_listing(tmp_path / "listing.json", listing)
    assert read_listing(tmp_path / "listing.json") == listing
    selection = choose(make_pool(listing, DEMO))
    write_selection(tmp_path / "selection.json", selection)
    assert read_selection(tmp_path / "selection.json") == selection


def test_a_selection_without_hashes_is_completed_from_its_listing(listing: Listing) -> None:
    selection = choose(make_pool(listing, DEMO))
    bare = msgspec.structs.replace(
        selection, episodes=tuple(msgspec.structs.replace(e, files=()) for e in selection.episodes)
    )
    assert not bare.hashed
    assert complete(bare, listing) == selection
    with pytest.raises(DamagedFileError, match="the listing is of"):
        complete(bare, msgspec.structs.replace(listing, revision="f" * 40))
    with pytest.raises(DamagedFileError, match="not in the listing"):
        complete(bare, msgspec.structs.replace(listing, files=listing.files[:50]))


def test_checksums_are_for_sha256sum(listing: Listing, tmp_path: Path) -> None:
    selection = choose(make_pool(listing, DEMO))
    write_checksums(tmp_path / "sums", selection)
    lines = (tmp_path / "sums").read_text().splitlines()
    assert len(lines) == 16 * 7
    assert lines[0] == f"{selection.files()[0].sha256}  {selection.files()[0].path}"


# A selection file that is wrong says where.


def broken(selection: Selection, change: object) -> bytes:
    raw = json.loads(msgspec.json.encode(selection))
    change(raw)  # type: ignore[operator]
    return json.dumps(raw).encode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r["selected_episodes"][3].update(split="dev"), r"sel\.json.*split.*episode '"),
        (lambda r: r["selected_episodes"][3].pop("annotation_bytes"), r"annotation_bytes.*episode '"),
        (lambda r: r.pop("seed"), "seed"),
        (lambda r: r["selected_episodes"][1].update(selection_rank=9), r"selection_rank of episode .*9"),
        (lambda r: r["selected_episodes"].append(r["selected_episodes"][0]), "appears 2 times"),
        (lambda r: r["selected_episodes"][0].update(episode_path="../x/ep1"), "leaves its root"),
        (lambda r: r["selected_episodes"][0].update(video_bytes=1), "not annotation_bytes"),
        (lambda r: r["download_files"].pop(), "download_files is not the union"),
        (
            lambda r: r["selected_episodes"][0]["download_files"].append("s/ep1/visualization.RRD"),
            "viewer file",
        ),
        (lambda r: r["selected_episodes"][0]["files"][0].update(size=3), "do not add up"),
    ],
)
def test_a_wrong_selection_file_names_key_and_episode(listing: Listing, change: object, message: str) -> None:
    data = broken(choose(make_pool(listing, DEMO)), change)
    with pytest.raises(DamagedFileError, match=message):
        decode_selection(data, "sel.json")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
    lambda value: json.dumps({"selected_episodes": value}).encode()
))  # fmt: skip
def test_any_other_file_is_a_clear_error(data: bytes) -> None:
    with pytest.raises(DamagedFileError, match=r"sel\.json"):
        decode_selection(data, "sel.json")


# Asking and exchanging.


def test_every_episode_of_the_listing_has_an_explanation(listing: Listing) -> None:
    pool = make_pool(listing, DEMO)
    selection = choose(pool)
    verdicts = Counter(explain(selection, c.episode.path, pool).verdict for c in pool.candidates)
    assert verdicts["selected"] == 16
    assert verdicts["session_taken"] > 0
    assert verdicts["outscored"] > 0
    assert sum(verdicts.values()) == len(pool.candidates)
    assert {explain(selection, path, pool).verdict for path in pool.rejected} == {"too_small"}
    assert explain(selection, "incomplete/ep1", pool).reason == "lacks stereo_right.mp4"
    assert explain(selection, "nobody/ep1", pool).verdict == "unknown"
    assert explain(selection, "nobody/ep1").verdict == "unknown"


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), which=st.lists(st.integers(0, 15), min_size=1, max_size=6))
def test_replacing_keeps_split_band_rank_and_unique_sessions(seed: int, which: list[int]) -> None:
    pool = make_pool(random_listing(80, seed), DEMO)
    selection = choose(pool)
    for position in which:
        old = selection.episodes[position]
        new = replace(selection, old.path, pool, reason="no labels")
        fresh = new.episodes[position]
        assert fresh.path != old.path
        assert (fresh.split, fresh.band, fresh.rank) == (old.split, old.band, old.rank)
        assert [e for e in new.episodes if e.rank != old.rank] == [
            e for e in selection.episodes if e.rank != old.rank
        ]
        assert list(contradictions(new)) == []
        assert new.version == selection.version + 1
        assert new.replacements[-1].removed == old.path
        selection = new
    removed = [change.removed for change in selection.replacements]
    assert not set(removed) & {episode.path for episode in selection.episodes}


def test_replacing_what_is_not_there_or_has_no_successor(listing: Listing) -> None:
    pool = make_pool(listing, DEMO)
    selection = choose(pool)
    with pytest.raises(NotFoundError, match="not in the selection"):
        replace(selection, "nobody/ep1", pool, reason="")
    only = msgspec.structs.replace(pool, candidates=pool.candidates[:0])
    with pytest.raises(StageFailedError, match="no candidate of band"):
        replace(selection, selection.episodes[0].path, only, reason="")
