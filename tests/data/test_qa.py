"""QA of episodes: each fault is found, named and weighed; a whole episode has none."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import msgspec
import numpy as np
import pytest

from pipeline.data.layout import FILES
from pipeline.data.qa.episode import QaTask, check_episode, file_identity
from pipeline.data.qa.quarantine import overruled, quarantined, read_quarantine, record_act, record_failures
from pipeline.data.qa.record import EpisodeQa, Limits
from pipeline.data.qa.run import qa_checks, run_qa
from pipeline.engine.errors import DamagedFileError, UsageError
from tests.data.tiny import write_annotation, write_episode, write_video

FRAMES = 130


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_episode(tmp_path_factory.mktemp("whole") / "s1" / "ep1", FRAMES)


@pytest.fixture
def episode(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "s1" / "ep1"))


def look(folder: Path, **limits: Any) -> EpisodeQa:
    return check_episode(QaTask("s1/ep1", str(folder), Limits(**limits)))


def named(result: EpisodeQa) -> set[tuple[str, str, str]]:
    return {(finding.severity, finding.file, finding.check) for finding in result.findings}


def test_a_whole_episode_has_no_findings(whole: Path) -> None:
    result = look(whole)
    assert result.findings == ()
    assert (result.verdict, result.frames, result.lost) == ("good", FRAMES, ())
    assert result.facts["fisheye_cam0.mp4"]["audio"] == "present"
    assert result.facts["annotation.hdf5"]["imu_hz"] == 200.0
    assert {result.facts[name]["frames"] for name in FILES} == {FRAMES}


def delete(*names: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        for name in names:
            del file[name]

    return change


def put(name: str, edit: Callable[[Any], Any]) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        value = edit(file[name][()])
        del file[name]
        file[name] = value

    return change


def first_set(value: Any, rows: slice = slice(0, 1)) -> Callable[[Any], Any]:
    def edit(array: Any) -> Any:
        array = array.copy()
        array[rows] = value
        return array

    return edit


ANNOTATION_FAULTS = [
    (delete("slam", "full_body_mocap"), "warn", "groups"),
    (delete("video/device_timestamp"), "warn", "video_clock"),
    (delete("imu/device_timestamp_ns"), "warn", "imu_clock"),
    (put("hand_mocap/left_joints_3d", lambda a: a[:-3]), "fail", "frames_agree"),
    (put("video/device_timestamp", first_set(0, slice(9, 10))), "warn", "video_clock_monotonic"),
    (
        put("video/device_timestamp", lambda a: a + (np.arange(a.size) > 50) * 10**9),
        "warn",
        "video_clock_gaps",
    ),
    (put("video/device_timestamp", lambda a: a[0] + (a - a[0]) * 2), "warn", "video_clock_rate"),
    (put("imu/device_timestamp_ns", lambda a: a[0] + (a - a[0]) * 2), "warn", "imu_rate"),
    (put("imu/device_timestamp_ns", lambda a: a[0] + (a - a[0]) * 11 // 10), "warn", "imu_drift"),
    (put("imu/device_timestamp_ns", first_set(0, slice(7, 8))), "warn", "imu_clock_monotonic"),
    (put("imu/gyro_xyz", lambda a: a[:-1]), "warn", "imu_rows"),
    (put("imu/keyframe_indices", lambda a: a + 10), "warn", "imu_keyframes"),
    (put("imu/keyframe_indices", lambda a: a[::-1]), "warn", "imu_keyframes_order"),
    (put("full_body_mocap/keypoints", first_set(np.nan, slice(0, 40))), "warn", "body_pose_valid"),
    (put("slam/quat_wxyz", first_set(np.nan, slice(0, 40))), "warn", "camera_pose_valid"),
    (put("calibration/cam2/K", lambda a: -a), "warn", "calibration"),
    (put("calibration/cam2/K", lambda a: a * np.nan), "warn", "calibration"),
    (put("calibration/cam2/D", lambda a: a + 100), "warn", "calibration"),
    (put("calibration/cam01/T_c0_b", lambda a: a * 2), "warn", "calibration"),
    (put("calibration/cam1/T_cn_cnm1", lambda a: a + np.diag([5.0, 5.0, 5.0], 1)), "warn", "calibration"),
    (put("calibration/cam01/baseline", lambda _: 6.0), "warn", "calibration"),
    (delete("caption"), "note", "caption"),
    (put("caption", lambda _: "captions/ep1.json"), "note", "caption_path"),
    (put("caption", lambda _: '{"segments": ['), "warn", "caption_json"),
    (put("caption", lambda _: '{"segments": []}'), "note", "caption_segments"),
]


@pytest.mark.parametrize(("change", "severity", "check"), ANNOTATION_FAULTS)
def test_a_fault_in_the_annotation(
    episode: Path, change: Callable[[h5py.File], None], severity: str, check: str
) -> None:
    with h5py.File(episode / "annotation.hdf5", "r+") as file:
        change(file)
    result = look(episode)
    assert (severity, "annotation.hdf5", check) in named(result)
    assert result.frames == FRAMES


def test_an_annotation_that_is_text(episode: Path) -> None:
    (episode / "annotation.hdf5").write_text("404: Not Found")
    result = look(episode)
    assert named(result) == {("fail", "annotation.hdf5", "hdf5_opens")}
    assert "not a readable HDF5 file" in result.reason


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
def test_a_torn_annotation(episode: Path, keep: float) -> None:
    path = episode / "annotation.hdf5"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    assert look(episode).verdict == "failed"


def test_noise_in_an_annotation_never_raises(episode: Path) -> None:
    path = episode / "annotation.hdf5"
    data = bytearray(path.read_bytes())
    random = np.random.default_rng(0)
    for _ in range(12):
        for place in random.integers(0, 4000, 20):
            data[place] = random.integers(0, 256)
        path.write_bytes(data)
        (outcome,) = run_qa(
            [QaTask("s1/ep1", str(episode), Limits())], episode.parent / "cache", emit=lambda *_, **__: None
        )
        assert outcome.episode == "s1/ep1"


@pytest.mark.parametrize(
    ("frames", "verdict"), [(19, "failed"), (20, "warned"), (119, "warned"), (121, "good")]
)
def test_short_episodes(tmp_path: Path, frames: int, verdict: str) -> None:
    assert look(write_episode(tmp_path / "s1" / "ep1", frames)).verdict == verdict


def test_keypoints_with_a_leading_axis_are_not_one_frame(episode: Path) -> None:
    with h5py.File(episode / "annotation.hdf5", "r+") as file:
        put("full_body_mocap/keypoints", lambda a: a[None])(file)
        put("full_body_mocap/contacts", lambda a: a[None])(file)
    assert look(episode).findings == ()


@pytest.mark.parametrize(
    ("frames", "severity"),
    [(FRAMES + 1, None), (FRAMES - 5, "warn"), (FRAMES + 20, "warn"), (FRAMES + 60, "fail")],
)
def test_a_main_video_with_more_or_fewer_frames(episode: Path, frames: int, severity: str | None) -> None:
    write_video(episode / "fisheye_cam0.mp4", frames, audio=True)
    found = named(look(episode))
    assert found == ({(severity, "fisheye_cam0.mp4", "frames_match")} if severity else set())


def test_a_side_camera_costs_itself_and_not_the_episode(episode: Path) -> None:
    (episode / "stereo_left.mp4").write_bytes((episode / "stereo_left.mp4").read_bytes()[:900])
    (episode / "stereo_right.mp4").unlink()
    write_video(episode / "fisheye_cam3.mp4", FRAMES + 60)
    result = look(episode)
    assert result.verdict == "warned"
    assert result.lost == ("fisheye_cam3.mp4", "stereo_left.mp4", "stereo_right.mp4")


def test_a_truncated_main_video_fails(episode: Path) -> None:
    path = episode / "fisheye_cam0.mp4"
    path.write_bytes(path.read_bytes()[:-2000])
    assert ("fail", "fisheye_cam0.mp4", "mp4_opens") in named(look(episode))


@pytest.mark.parametrize("cut", [5, 1000])
def test_a_video_whose_index_promises_more_than_there_is(episode: Path, cut: int) -> None:
    """An index at the front opens although the frames behind it are cut off."""
    import av

    path = episode / "fisheye_cam0.mp4"
    front = path.with_name("front.mp4")
    with av.open(str(path)) as source, av.open(str(front), "w", options={"movflags": "faststart"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    data = front.read_bytes()
    front.unlink()
    path.write_bytes(data[: len(data) - cut])
    assert ("fail", "fisheye_cam0.mp4", "whole") in named(look(episode))


def test_rate_and_sound(episode: Path) -> None:
    write_video(episode / "fisheye_cam0.mp4", FRAMES, audio=True, silent=True)
    result = look(episode)
    assert named(result) == {("warn", "fisheye_cam0.mp4", "audio")}
    assert result.facts["fisheye_cam0.mp4"]["audio"] == "silent"
    write_video(episode / "fisheye_cam0.mp4", FRAMES, fps=10)
    result = look(episode)
    assert {check for _, _, check in named(result)} == {"fps", "duration", "audio"}
    assert result.facts["fisheye_cam0.mp4"]["audio"] == "absent"


def test_an_empty_folder_and_empty_files(tmp_path: Path) -> None:
    (tmp_path / "ep1").mkdir()
    assert look(tmp_path / "ep1").verdict == "failed"
    for name in FILES:
        (tmp_path / "ep1" / name).touch()
    result = look(tmp_path / "ep1")
    assert ("fail", "annotation.hdf5", "empty") in named(result)
    assert result.frames is None


# --- many episodes -----------------------------------------------------------------------------------


def test_results_are_kept_until_a_file_changes(episode: Path, tmp_path: Path) -> None:
    tasks = [QaTask("s1/ep1", str(episode), Limits())]
    events: list[dict[str, Any]] = []

    def emit(event: str, **fields: Any) -> None:
        events.append({"event": event, **fields})

    first = run_qa(tasks, tmp_path / "cache", emit=emit, workers=1)
    assert run_qa(tasks, tmp_path / "cache", emit=emit, workers=1) == first
    write_annotation(episode / "annotation.hdf5", FRAMES, change=delete("caption"))
    (changed,) = run_qa(tasks, tmp_path / "cache", emit=emit, workers=1)
    assert [event["cached"] for event in events] == [False, True, False]
    assert [finding.check for finding in changed.findings] == ["caption"]
    stricter = [msgspec.structs.replace(tasks[0], limits=Limits(min_frames=500))]
    assert run_qa(stricter, tmp_path / "cache", emit=emit, workers=1)[0].verdict == "failed"
    assert (events[0]["done"], events[0]["total"], events[0]["unit"]) == (1, 1, "episodes")


def test_one_bad_episode_does_not_stop_the_others(episode: Path, tmp_path: Path) -> None:
    bad = tmp_path / "s2" / "ep1"
    shutil.copytree(episode, bad)
    (bad / "annotation.hdf5").write_text("text")
    tasks = [QaTask(f"{p.parent.name}/ep1", str(p), Limits()) for p in (bad, episode)]
    results = run_qa(tasks, tmp_path / "cache", emit=lambda *_, **__: None, workers=2)
    assert [result.verdict for result in results] == ["failed", "good"]
    (check,) = qa_checks(results)
    assert not check.ok
    assert list(check.evidence["failed"]) == ["s2/ep1"]


# --- quarantine --------------------------------------------------------------------------------------


def failed(episode: str, identity: str = "a") -> EpisodeQa:
    from pipeline.data.qa.record import Finding

    finding = Finding("fail", "hdf5_opens", "annotation.hdf5", "not a readable HDF5 file")
    return EpisodeQa(episode=episode, identity=identity, frames=None, findings=(finding,), lost=(), facts={})


def test_failures_go_in_once_and_come_back_when_the_file_is_another(tmp_path: Path) -> None:
    path = tmp_path / "quarantine.jsonl"
    assert len(record_failures(path, [failed("s1/ep1"), failed("s2/ep1")])) == 2
    assert record_failures(path, [failed("s1/ep1")]) == []
    inside = quarantined(read_quarantine(path), {"s1/ep1": "a", "s2/ep1": "repaired"})
    assert {episode: act.who for episode, act in inside.items()} == {"s1/ep1": "qa"}
    assert "HDF5" in inside["s1/ep1"].reason


def test_a_person_has_the_last_word(tmp_path: Path) -> None:
    path = tmp_path / "quarantine.jsonl"
    record_failures(path, [failed("s1/ep1")])
    record_act(path, "s1/ep1", "out", reason="the tear is in the depth", who="ann@host")
    record_failures(path, [failed("s1/ep1")])
    record_act(path, "s2/ep1", "in", reason="shows a face", who="ann@host")
    inside = quarantined(read_quarantine(path), {"s1/ep1": "a", "s2/ep1": "whatever"})
    assert list(inside) == ["s2/ep1"]
    assert list(overruled(read_quarantine(path), {})) == ["s1/ep1"]
    with pytest.raises(UsageError, match="reason"):
        record_act(path, "s2/ep1", "out", reason=" ", who="ann@host")


def test_a_damaged_journal_is_named_by_line(tmp_path: Path) -> None:
    path = tmp_path / "quarantine.jsonl"
    record_act(path, "s1/ep1", "in", reason="x", who="a")
    path.write_text(path.read_text() + json.dumps({"episode": "s1/ep1"}) + "\n")
    with pytest.raises(DamagedFileError, match="line 2"):
        read_quarantine(path)
    assert read_quarantine(tmp_path / "none.jsonl") == []


def test_identity_follows_the_files(episode: Path) -> None:
    before = file_identity(episode)
    write_video(episode / "stereo_left.mp4", 10)
    assert file_identity(episode) != before
