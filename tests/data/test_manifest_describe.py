"""Episodes described for the manifest: frames, flags and label counts, whatever their caption is."""

import json
from pathlib import Path
from typing import Any

import h5py

from pipeline.data.layout import MODALITIES
from pipeline.data.manifest.build import Windowing
from pipeline.data.manifest.describe import DescribeTask, describe_all, describe_episode
from tests.data.tiny import write_annotation


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
    assert "is not a readable HDF5 file" in describe(tmp_path).problem


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
