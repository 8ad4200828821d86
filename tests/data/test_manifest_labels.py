"""Labels of frames and windows from captions in every form, against a slow reading of the rules."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.manifest.build import Windowing
from pipeline.data.manifest.describe import DescribeTask, describe_all, describe_episode
from pipeline.data.manifest.labels import FrameNames, clean_label, frame_labels, label_stats, majority
from pipeline.data.manifest.record import MODALITIES
from tests.data.tiny import START_NS, write_annotation

TIMES = [START_NS + 50_000_000 * i for i in range(30)]
NAMES = FrameNames([f"{time}.jpg" for time in TIMES])


@pytest.mark.parametrize(
    ("reference", "frame"),
    [
        (TIMES[3], 3),
        (str(TIMES[3]), 3),
        (f"{TIMES[3]}.jpg", 3),
        (TIMES[3] + 1_000_000, 3),
        (TIMES[3] + 30_000_000, 4),
        (1, 0),
        ("30", 29),
        (999, 29),
        (0, 0),
        ("frame_0000021", 20),
        ("frame_000999.jpg", 29),
        (10**15, 29),
        ("Image 1", None),
        ("", None),
        (None, None),
        (True, None),
        ([3], None),
        (-4, None),
        ("٣", None),
    ],
)
def test_references(reference: Any, frame: int | None) -> None:
    assert NAMES.resolve(reference) == frame


def test_numbered_names_come_before_counting() -> None:
    names = FrameNames([f"frame_{i:06d}.jpg" for i in range(30)])
    assert names.resolve("frame_000005") == 5  # an exact stem
    assert names.resolve("frame_0000005") == 4  # not a name: 1-based
    assert names.resolve(TIMES[3]) is None  # nothing to be near to


def segment(first: int, last: int, actions: list[tuple[str, int, int]], subtask: str = "s") -> dict[str, Any]:
    return {
        "start_frame": TIMES[first],
        "end_frame": TIMES[last],
        "Sub Task": subtask,
        "Current Action": [
            {"label": label, "start_frame": TIMES[a], "end_frame": TIMES[b]} for label, a, b in actions
        ],
    }


def test_painting_gaps_and_carrying() -> None:
    caption = {
        "segments": [
            segment(2, 9, [("b", 7, 8), ("a", 3, 5)]),
            segment(12, 15, [("c", 12, 14), ("d", 14, 15), ("N/A", 13, 13)], "t"),
        ]
    }
    used, actions, subtasks = frame_labels(caption, NAMES)
    assert used == 2
    assert "".join(a or "." for a in actions) == "..a" + "aaa" + "abb" + "bbb" + "cc" + "dd" + "d" * 14
    assert "".join(s or "." for s in subtasks) == "..ssssssssss" + "t" * 18


def test_a_segment_whose_bounds_mean_nothing_is_placed_by_its_actions() -> None:
    bare = segment(0, 0, [("a", 5, 6)])
    bare["start_frame"] = "?"
    used, actions, subtasks = frame_labels({"segments": [bare, {"Sub Task": "lost"}, "?"]}, NAMES)
    assert (used, actions[4], actions[5], subtasks[5]) == (1, "", "a", "s")


def test_reversed_ranges_are_turned_round() -> None:
    _, actions, _ = frame_labels({"segments": [segment(9, 2, [("a", 6, 4)])]}, NAMES)
    assert actions[2] == actions[4] == actions[6] == "a"


labels = st.sampled_from(["a", "b", "N/A", "", "c"])
drawn = st.lists(
    st.tuples(
        st.integers(0, 29),
        st.integers(0, 29),
        st.lists(st.tuples(labels, st.integers(0, 29), st.integers(0, 29)), max_size=4),
        labels,
    ),
    max_size=5,
)


def slow(caption: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The rules of formats section 1.5, frame by frame."""
    action: dict[int, str] = {}
    subtask: dict[int, str] = {}
    for seg in caption["segments"]:
        spans = []
        for entry in seg["Current Action"]:
            a, b = sorted(TIMES.index(entry[k]) for k in ("start_frame", "end_frame"))
            spans.append((a, b, clean_label(entry["label"])))
        spans.sort(key=lambda s: s[0])
        first, last = sorted(TIMES.index(seg[k]) for k in ("start_frame", "end_frame"))
        for a, b, label in spans:
            for frame in range(a, b + 1):
                action[frame] = label
        for frame in range(30):
            inside = first <= frame <= last
            if (inside or any(a <= frame <= b for a, b, _ in spans)) and not subtask.get(frame):
                subtask[frame] = clean_label(seg["Sub Task"])
            if inside and not action.get(frame) and spans:
                ended = [label for _, b, label in spans if b < frame]
                action[frame] = ended[-1] if ended else spans[0][2]
    for frame in range(1, 30):
        action[frame] = action.get(frame) or action.get(frame - 1, "")
        subtask[frame] = subtask.get(frame) or subtask.get(frame - 1, "")
    return [action.get(f, "") for f in range(30)], [subtask.get(f, "") for f in range(30)]


@given(drawn)
def test_equal_to_a_slow_reading_of_the_rules(segments: list[Any]) -> None:
    caption = {"segments": [segment(first, last, actions, sub) for first, last, actions, sub in segments]}
    used, actions, subtasks = frame_labels(caption, NAMES)
    assert (actions, subtasks) == slow(caption)
    assert used == len(segments)


@given(st.lists(st.sampled_from(["a", "b", "c", ""]), min_size=1, max_size=20), st.floats(0, 1))
def test_a_majority_is_of_the_labelled_frames(found: list[str], share: float) -> None:
    known = Counter(label for label in found if label)
    label = majority(found, share)
    if label:
        assert known[label] == max(known.values())
        assert known[label] / known.total() >= share
    else:
        assert not known or max(known.values()) / known.total() < share


def test_windows_are_counted_by_majority() -> None:
    stats = label_stats(
        "task",
        (1, ["a"] * 13 + ["b"] * 7 + [""] * 10 + ["c"], ["s"] * 31),
        window_frames=10,
        stride_frames=10,
        min_label_fraction=0.6,
    )
    assert stats.window_labels.action == {"a": 1, "b": 1}
    assert stats.num_labeled_windows == {"action": 2, "subtask": 3}
    assert stats.frame_labels.action == {"a": 13, "b": 7, "c": 1}
    assert sum(stats.frame_labels.subtask.values()) == 31


@pytest.mark.parametrize("value", [None, "", "  ", "N/A", " n/a "])
def test_no_label(value: Any) -> None:
    assert clean_label(value) == ""


# --- episodes ----------------------------------------------------------------------------------------


def describe(folder: Path, **windowing: Any) -> Any:
    return describe_episode(DescribeTask("s1/ep1", str(folder), Windowing(**windowing)))


def test_an_episode_is_described(tmp_path: Path) -> None:
    write_annotation(tmp_path / "annotation.hdf5", 60)
    said = describe(tmp_path)
    assert (said.frame_count, said.problem) == (60, "")
    assert list(said.modalities) == list(MODALITIES)
    assert [flag for flag, there in said.modalities.items() if not there] == ["captions"]
    assert said.labels.frame_labels.action == {"Fold paper strip": 30, "Set down star": 30}
    assert said.labels.window_labels.action == {"Fold paper strip": 1, "Set down star": 1}
    assert said.labels.num_labeled_windows == {"action": 2, "subtask": 3}
    assert describe(tmp_path, stride_frames=10).labels.num_labeled_windows["action"] == 4


def by_time(file: h5py.File) -> None:
    """Captions refer to device timestamps, and SLAM names are gone, as in eight published episodes."""
    text = json.loads(file["caption"][()])
    clock = file["video/device_timestamp"][:]
    for entry in [*text["segments"], *text["segments"][0]["Current Action"]]:
        for key in ("start_frame", "end_frame"):
            entry[key] = int(clock[entry[key] - 1])
    del file["caption"], file["slam"], file["full_body_mocap"]
    file["caption"] = json.dumps(text)


def test_an_episode_without_slam_names_keeps_its_labels(tmp_path: Path) -> None:
    write_annotation(tmp_path / "annotation.hdf5", 60, change=by_time)
    said = describe(tmp_path)
    assert said.labels.num_labeled_windows == {"action": 2, "subtask": 3}
    assert not said.modalities["slam_pose"]
    assert not said.modalities["body_mocap"]


def without_caption(file: h5py.File) -> None:
    del file["caption"]


def test_no_caption_is_no_labels_and_no_problem(tmp_path: Path) -> None:
    write_annotation(tmp_path / "annotation.hdf5", 60, change=without_caption)
    said = describe(tmp_path)
    assert (said.problem, said.labels.num_labeled_windows) == ("", {"action": 0, "subtask": 0})


def test_a_text_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "annotation.hdf5").write_text("text")
    assert "cannot be read" in describe(tmp_path).problem


def test_descriptions_are_kept_for_the_same_files_and_windows(tmp_path: Path) -> None:
    (tmp_path / "ep1").mkdir()
    write_annotation(tmp_path / "ep1" / "annotation.hdf5", 60)
    events: list[dict[str, Any]] = []

    def run(**windowing: Any) -> Any:
        task = DescribeTask("s1/ep1", str(tmp_path / "ep1"), Windowing(**windowing))
        (said,) = describe_all(
            [task], tmp_path / "cache", emit=lambda _, **f: events.append(f), workers=1
        ).values()
        return said

    first = run()
    (tmp_path / "cache" / "s1__ep1.json").touch()
    assert run() == first
    assert run(window_frames=60).labels.num_labeled_windows["subtask"] == 1
    assert events[0]["labelled_windows"] == 2
