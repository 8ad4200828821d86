"""Sensor features: the published layouts, and statistics that equal plain NumPy over the annotation."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.audio import Audio
from pipeline.data.episode import open_episode
from pipeline.data.export.features import Features, Signal, statistics, window_features
from pipeline.data.export.layout import LAYOUTS, LayoutName
from pipeline.data.export.mosaic import even_frames
from pipeline.data.export.order import shard_order
from pipeline.data.export.pictures import CHANNELS as PICTURE_CHANNELS
from pipeline.data.export.pictures import picture_channels
from pipeline.data.export.signals import read_signals
from pipeline.data.export.sound import CHANNELS as SOUND_CHANNELS
from pipeline.data.export.sound import audio_signal
from pipeline.data.synth.episode import EpisodeSpec, write_episode
from pipeline.data.synth.faults import Fault

LAYOUT = LAYOUTS["no_video"]
WINDOWS = [(0, 19), (40, 59), (80, 99)]


def episode(folder: Path, *faults: Fault) -> Path:
    write_episode(folder, EpisodeSpec(frames=100, size=32, depth=16, faults=faults))
    return folder


def features(folder: Path, *, text: bool = False) -> Features:
    with open_episode(folder) as opened:
        signals = read_signals(opened, LAYOUT, labels=opened.labels() if text else None, depth_of=WINDOWS)
        return window_features(signals.values, LAYOUT, WINDOWS)


def block(found: Features, name: str, window: int) -> np.ndarray:
    place = next(block for block in LAYOUT.blocks if block.name == name)
    return found.values[window, place.start : place.end]


def valid(found: Features, name: str) -> np.ndarray:
    return found.valid[:, [block.name for block in LAYOUT.blocks].index(name)]


def reference(values: np.ndarray) -> np.ndarray:
    """Seven statistics, channel by channel, in plain words."""
    values = values.reshape(len(values), -1).astype(np.float64)
    columns = [values[:, channel] for channel in range(values.shape[1])]
    rows = [
        [np.mean(c) for c in columns],
        [np.sqrt(np.mean((c - np.mean(c)) ** 2)) for c in columns],
        [min(c) for c in columns],
        [max(c) for c in columns],
        [c[-1] - c[0] for c in columns],
        [np.mean(c[1:] - c[:-1]) for c in columns],
        [np.sqrt(np.mean(((c[1:] - c[:-1]) - np.mean(c[1:] - c[:-1])) ** 2)) for c in columns],
    ]
    return np.concatenate(rows).astype(np.float32)


def test_the_three_layouts_are_the_published_ones(published: Path) -> None:
    assert {name: layout.dim for name, layout in LAYOUTS.items()} == {
        "full": 8546,
        "no_video": 4430,
        "no_video_no_audio": 4262,
    }
    starts = {block.name: block.start for block in LAYOUTS["full"].blocks}
    assert starts["imu_accel_gyro"] == 2205
    assert starts["audio_fisheye_cam0_aac"] == 7343
    assert starts["calibration"] == 8429
    import json

    manifest = json.loads((published / "omni" / "dataset_manifest.json").read_bytes())
    for shard in manifest["feature_manifest"]:
        assert LAYOUT.published() == shard["feature_manifest"]


def test_features_equal_plain_numpy_over_the_annotation(tmp_path: Path) -> None:
    folder = episode(tmp_path / "ep1")
    found = features(folder)
    with h5py.File(folder / "annotation.hdf5") as file:
        body = file["full_body_mocap/keypoints"][:].astype(np.float64)
        contacts = file["full_body_mocap/contacts"][:]
        keys = file["imu/keyframe_indices"][:]
        imu = np.concatenate([file["imu/accel_xyz"][:], file["imu/gyro_xyz"][:]], axis=1)
    for number, (start, end) in enumerate(WINDOWS):
        part = body[start : end + 1]
        expected = {
            "body_joints": part - part[:, :1],
            "body_contacts": contacts[start : end + 1],
            "imu_accel_gyro": imu[keys[start] : keys[end] + 1],
        }
        for name, values in expected.items():
            np.testing.assert_allclose(block(found, name, number), reference(values), rtol=1e-5, atol=1e-6)


def test_camera_translation_is_relative_to_the_windows_first_frame(tmp_path: Path) -> None:
    folder = episode(tmp_path / "ep1")
    with open_episode(folder) as opened:
        _, translation = opened.annotation.camera_poses()
    found = features(folder)
    for number, (start, end) in enumerate(WINDOWS):
        expected = reference(translation[start : end + 1] - translation[start])
        np.testing.assert_allclose(block(found, "camera_translation", number), expected, atol=1e-5)


def test_depth_is_averaged_over_an_8_by_8_grid_of_valid_pixels(tmp_path: Path) -> None:
    folder = episode(tmp_path / "ep1")
    with h5py.File(folder / "annotation.hdf5", "r+") as file:
        file["depth/depth"][:, :2, :2] = 0
        depth = file["depth/depth"][0:20].astype(np.float64)
    means = block(features(folder), "depth_confidence", 0)[:140]
    assert means[0] == 0  # a cell without any valid pixel
    np.testing.assert_allclose(means[1], depth[:, :2, 2:4].mean(), rtol=1e-5)


def test_text_is_annotation_and_stays_out_unless_asked_for(tmp_path: Path) -> None:
    folder = episode(tmp_path / "ep1")
    name = "caption_objects_interaction_text"
    assert not block(features(folder), name, 0).any()
    assert not valid(features(folder), name).any()
    assert block(features(folder, text=True), name, 0).any()


def test_frames_without_a_valid_pose_are_left_out_and_counted(tmp_path: Path) -> None:
    folder = episode(tmp_path / "ep1", "nan_poses")
    found = features(folder)
    assert np.isfinite(found.values).all()
    assert valid(found, "camera_translation").tolist() == [1.0, 0.0, 1.0]
    assert not block(found, "body_joints", 1).any()


@pytest.mark.parametrize("fault", ["no_slam", "missing_keys"])
def test_a_stream_that_is_not_there_is_empty_and_says_so(tmp_path: Path, fault: Fault) -> None:
    folder = episode(tmp_path / "ep1", fault)
    with open_episode(folder) as opened:
        signals = read_signals(opened, LAYOUT, depth_of=WINDOWS)
    lost = {name for name, status in signals.statuses.items() if status.status == "absent"}
    assert lost
    assert lost.isdisjoint(signals.values)
    found = window_features(signals.values, LAYOUT, WINDOWS)
    assert all(not valid(found, name).any() for name in lost)


@given(
    rows=st.integers(1, 30),
    channels=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
)
def test_statistics_equal_the_reference(rows: int, channels: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(rows, channels))
    if rows > 1:
        np.testing.assert_allclose(statistics(values), reference(values), rtol=1e-5, atol=1e-6)
    else:
        assert not statistics(values)[4 * channels :].any()


def test_a_signal_shorter_than_the_window_lowers_its_validity() -> None:
    signals = {"camera_translation": Signal(np.ones((10, 3)), from_first=True)}
    found = window_features(signals, LAYOUT, [(0, 19), (20, 39)])
    assert valid(found, "camera_translation").tolist() == [0.5, 0.0]


def test_sound_and_pictures_have_their_channels_and_hear_what_is_there() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000).astype(np.float32)
    values = audio_signal(Audio(tone, 16_000, 0.0), 22, 20.0).values
    assert values.shape == (22, SOUND_CHANNELS)
    assert np.isnan(values[20:]).all()
    np.testing.assert_allclose(values[:20, 0], 1 / np.sqrt(2), rtol=1e-2)
    np.testing.assert_allclose(values[:20, 4] * 8000, 1000, rtol=0.05)
    white = picture_channels(np.full((32, 32, 3), 255, np.uint8))
    assert white.shape == (PICTURE_CHANNELS,)
    assert white[:64].tolist() == [1.0] * 64
    assert white[[71, 79, 87]].tolist() == [1.0] * 3


@given(first=st.integers(0, 500), length=st.integers(1, 200), most=st.integers(1, 40))
def test_frames_of_a_clip_are_different_and_span_the_context(first: int, length: int, most: int) -> None:
    frames = even_frames((first, first + length - 1), most)
    assert len(frames) == len(set(frames)) == min(most, length)
    assert frames[0] == first
    assert len(frames) == 1 or frames[-1] == first + length - 1


def test_the_published_row_order_is_reproduced() -> None:
    episodes = [(f"{split}{i}", split) for split in ("val", "train", "test") for i in range(5)]
    order = shard_order(episodes, 2)
    assert list(order)[:8] == ["train0", "train2", "train4", "val0", "val2", "val4", "test0", "test2"]
    assert order["test3"] == 1


def test_layout_names_are_all_known() -> None:
    assert set(LayoutName.__args__) == set(LAYOUTS)
