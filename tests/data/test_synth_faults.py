"""Every fault of the generator is found by QA, and costs exactly what it must."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.data.inspection import inspect_episode
from pipeline.data.qa.episode import QaTask, check_episode
from pipeline.data.qa.record import Limits
from pipeline.data.synth.episode import EpisodeSpec, write_episode
from pipeline.data.synth.faults import FAULTS, Fault
from pipeline.data.synth.vocabulary import DEFAULT

#: What QA must say; faults that leave every file sound are seen by the reader instead, as `STREAMS` has it.
FINDINGS: dict[Fault, set[tuple[str, str]]] = {
    "caption_path": {("note", "caption_path")},
    "empty_caption": {("warn", "caption_json"), ("note", "caption_path")},
    "missing_mp4": {("warn", "present")},
    "nan_poses": {("warn", "body_pose_valid"), ("warn", "camera_pose_valid")},
    "no_audio": {("warn", "audio")},
    "no_caption": {("note", "caption")},
    "no_labels": {("note", "caption_segments")},
    "short": {("warn", "context_frames")},
    "silent_audio": {("warn", "audio")},
    "stream_drift": {("warn", "imu_rate"), ("warn", "imu_drift")},
    "text_hdf5": {("fail", "hdf5_opens")},
    "torn_hdf5": {("fail", "hdf5_opens")},
    "truncated_mp4": {("warn", "mp4_opens")},
}
STREAMS: dict[Fault, dict[str, str]] = {
    "empty_caption": {"caption": "silent"},
    "missing_keys": {"depth_confidence": "absent", "imu": "absent"},
    "missing_mp4": {"stereo_right.mp4": "absent"},
    "no_audio": {"audio": "absent"},
    "no_caption": {"caption": "absent"},
    "no_labels": {"caption": "silent"},
    "no_slam": dict.fromkeys(("slam_pose", "slam_point_cloud", "body_mocap", "contacts"), "absent"),
    "silent_audio": {"audio": "silent"},
    "truncated_mp4": {"fisheye_cam1.mp4": "unreadable"},
}
UNLABELLED = {"empty_caption", "no_caption", "no_labels", "text_hdf5", "torn_hdf5", "short"}


@pytest.mark.parametrize("fault", [None, *FAULTS])
def test_a_fault_is_found_and_costs_what_it_must(tmp_path: Path, fault: Fault | None) -> None:
    folder = tmp_path / "session" / "ep1"
    spec = EpisodeSpec(frames=130, size=64, depth=16, task=1, seed=3, faults=(fault,) if fault else ())
    write_episode(folder, spec, DEFAULT)
    qa = check_episode(QaTask("session/ep1", str(folder), Limits()))
    seen = inspect_episode(folder)
    not_there = {n: s.status for n, s in seen.streams.items() if s.status != "present" and n != "captions"}
    if fault in ("text_hdf5", "torn_hdf5"):
        assert set(not_there.values()) == {"unreadable"}
        assert len(not_there) == 11
    else:
        assert not_there == (STREAMS.get(fault, {}) if fault else {})
    assert {(f.severity, f.check) for f in qa.findings} == (FINDINGS.get(fault, set()) if fault else set())
    assert (seen.windows == 0) is (fault in UNLABELLED)
