"""Nothing may belong to two splits: no episode, session, media file or content."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.leakage import Leak, LeakFinder
from pipeline.data.splits import SPLITS, session_of


def test_each_kind_of_leak_is_named_with_its_splits() -> None:
    finder = LeakFinder()
    finder.add("s1__ep1", "train", files=["s1/ep1/a.mp4"], contents=["aa"])
    finder.add("s1__ep2", "test")
    finder.add("s2__ep1", "val", files=["s2/ep1/a.mp4"], contents=["aa"])
    finder.add("s3__ep1", "val", files=["s1/ep1/a.mp4"])
    finder.add("s3__ep1", "train")
    assert set(finder.leaks()) == {
        Leak("session", "s1", ("test", "train")),
        Leak("session", "s3", ("train", "val")),
        Leak("episode", "s3__ep1", ("train", "val")),
        Leak("file", "s1/ep1/a.mp4", ("train", "val")),
        Leak("content", "aa", ("train", "val")),
    }
    checks = {check.name: check.ok for check in finder.checks()}
    assert checks == {
        "no_episode_in_two_splits": False,
        "no_session_in_two_splits": False,
        "no_file_in_two_splits": False,
        "no_content_in_two_splits": False,
        "splits_known": True,
    }


def test_id_and_path_of_an_episode_are_of_one_session() -> None:
    finder = LeakFinder()
    finder.add("s1__ep1", "train")
    finder.add("s1/ep2", "val")
    assert finder.leaks() == (Leak("session", "s1", ("train", "val")),)


def test_kinds_that_were_not_looked_at_are_not_claimed_clean() -> None:
    finder = LeakFinder()
    finder.add("s1__ep1", "train")
    names = {check.name for check in finder.checks()}
    assert names == {"no_episode_in_two_splits", "no_session_in_two_splits", "splits_known"}


def test_an_unknown_split_is_not_passed_over() -> None:
    finder = LeakFinder()
    finder.add("s1__ep1", "holdout")
    (check,) = [check for check in finder.checks() if not check.ok]
    assert check.evidence == {"unknown": ["holdout"]}


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 3), st.sampled_from(SPLITS), st.integers(0, 8)),
        max_size=40,
    )
)
def test_equal_to_comparing_all_pairs(rows: list[tuple[int, int, str, int]]) -> None:
    finder = LeakFinder()
    uses = []
    for session, number, split, file in rows:
        episode = f"s{session}__ep{number}"
        finder.add(episode, split, files=[f"f{file}"])
        uses += [
            ("episode", episode, split),
            ("session", session_of(episode), split),
            ("file", f"f{file}", split),
        ]
    expected = {(a[0], a[1]) for a in uses for b in uses if a[:2] == b[:2] and a[2] != b[2]}
    assert {(leak.kind, leak.value) for leak in finder.leaks()} == expected
    for leak in finder.leaks():
        assert set(leak.splits) == {
            split for kind, value, split in uses if (kind, value) == (leak.kind, leak.value)
        }


def test_the_published_manifest_leaks_nothing(published: Path) -> None:
    manifest = json.loads((published / "omni" / "episode_manifest.json").read_bytes())
    finder = LeakFinder()
    for episode in manifest["episodes"]:
        finder.add(
            episode["episode_id"], episode["split"], files=[video["path"] for video in episode["videos"]]
        )
    assert all(check.ok for check in finder.checks())
    assert finder.checks()[2].evidence["distinct"] == 768
