"""The stage `export` on generated episodes: what it writes, what bad input becomes, what a kill leaves."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np
import pytest

from pipeline.data.export.dataset import Part, assemble
from pipeline.data.export.order import shard_order
from pipeline.data.export.record import read_episodes
from pipeline.data.export.run import settings_from
from pipeline.data.export.settings import Scale
from pipeline.data.index.build import build_index
from pipeline.data.index.validate import validate_index
from pipeline.data.manifest.record import read_manifest
from pipeline.data.synth.faults import FAULTS, LOST_VIDEO, TORN_VIDEO, Fault
from pipeline.data.video import decode_frames, read_frames
from pipeline.engine.context import StageContext
from tests.data.export_world import entry, failed, rows_of, run_export, session, write_manifest, write_world

Exported = tuple[StageContext, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def exported(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return run_export(world, tmp_path_factory.mktemp("exported"))


def contents(out: Path) -> dict[str, str]:
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in out.rglob("*")
        if path.is_file()
    }


def test_a_whole_world_passes_its_gate(exported: Exported) -> None:
    context, events = exported
    assert failed(context) == set()
    manifest = json.loads((context.out / "dataset_manifest.json").read_bytes())
    assert manifest["num_samples"] == len(rows_of(context)) > 0
    assert manifest["null_media"] == {"mosaic": 0, "audio": 0}
    done = [event for event in events if event["event"] == "episode_export_done"]
    assert [event["done"] for event in done] == [1, 2, 3, 4]
    told = [event for event in events if event["event"] == "export_progress"]
    assert {"episode", "worker", "window", "windows", "bytes", "nulls"} <= set(told[0])


def test_a_clip_shows_the_six_cameras_at_the_frames_of_its_context(world: Path, exported: Exported) -> None:
    context, _ = exported
    row = rows_of(context)[0]
    media = row["media"]
    with av.open(str(context.out / media["mosaic_video_path"])) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(pictures) == media["mosaic_frames"] == 16
    assert pictures[0].shape == (480, 960, 3)
    assert row["messages"][1]["content"][0]["nframes"] == 16
    wanted = np.linspace(media["context_start_frame"], media["context_end_frame"], 16).round().astype(int)
    for place, stream in enumerate(media["video_paths"]):
        frames = dict(read_frames(world / stream["path"], wanted.tolist()))
        for picture, index in zip(pictures, wanted.tolist(), strict=True):
            row_of_tile, column = divmod(place, 3)
            tile = picture[row_of_tile * 240 :, column * 320 :][:240, :320]
            assert np.abs(tile.mean(axis=(0, 1)) - frames[index].mean(axis=(0, 1))).max() < 12


def test_sound_is_the_context_at_16_khz(exported: Exported) -> None:
    context, _ = exported
    for row in rows_of(context):
        media = row["media"]
        with wave.open(str(context.out / media["audio_path"])) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
            frames = media["context_end_frame"] - media["context_start_frame"] + 1
            assert abs(file.getnframes() - frames * 800) <= 800
            assert np.frombuffer(file.readframes(10**6), "<i2").any()


def test_features_lie_where_the_rows_say(exported: Exported) -> None:
    context, _ = exported
    for row in rows_of(context):
        with np.load(context.out / row["sensor_feature_path"], allow_pickle=False) as file:
            window = file["windows"][row["sensor_feature_index"]].tolist()
            assert file["features"].shape[1] == row["sensor_feature_dim"] == 4430
        assert window == [row["center_window"]["start_frame"], row["center_window"]["end_frame"]]


def test_no_row_holds_a_host_path_or_a_list_of_labels(world: Path, exported: Exported) -> None:
    context, _ = exported
    text = (context.out / "dataset.jsonl").read_text()
    assert str(world) not in text
    assert str(context.out) not in text
    assert {tuple(row["action_options"]) for row in rows_of(context)} == {("$ref",)}


def test_label_options_come_from_train_only(tmp_path: Path) -> None:
    world = write_world(tmp_path / "data", {3: ("hostile_labels",)})
    context, _ = run_export(world, tmp_path / "x", parity=True)
    rows = rows_of(context)
    test_only = {row["label"] for row in rows if row["split"] == "test"} - {
        label
        for row in rows
        if row["split"] == "train"
        for label in (row["label"], row["answer_json"]["next_action"])
    }
    assert test_only
    for row in rows:
        assert test_only.isdisjoint(row["action_options"])
        assert not any(f"- {label}" in row["messages"][1]["content"][-1]["text"] for label in test_only)
    assert "no_test_label_in_options" not in failed(context)


@pytest.mark.parametrize("parity", [False, True])
def test_the_index_takes_the_dataset_without_options(world: Path, tmp_path: Path, parity: bool) -> None:
    context, _ = run_export(world, tmp_path, parity=parity, layout="no_video_no_audio")
    result = build_index(context.out / "dataset.jsonl", tmp_path / "index")
    assert result.num_skipped == 0
    assert result.num_records == len(rows_of(context))
    assert validate_index(tmp_path / "index", source=context.out / "dataset.jsonl") == []
    assert not any(result.unseen_options.values())


def test_every_fault_is_a_counted_skip_or_null_and_the_run_goes_on(tmp_path: Path) -> None:
    faults: dict[int, tuple[Fault, ...]] = {number + 2: (fault,) for number, fault in enumerate(FAULTS)}
    world = write_world(tmp_path / "data", faults, episodes=len(FAULTS) + 2)
    context, _ = run_export(world, tmp_path / "x", workers=2)
    assert failed(context) == set()
    records = {record.episode_id: record for record in read_episodes(context.out)}
    assert len(records) == len(FAULTS) + 2
    by_fault = {fault: records[f"{session(n)}__ep1"] for n, (fault,) in faults.items()}
    skipped = {fault for fault, record in by_fault.items() if record.skipped}
    assert {"text_hdf5", "no_caption", "empty_caption", "no_labels"} <= skipped
    assert skipped <= {"text_hdf5", "no_caption", "empty_caption", "no_labels", "torn_hdf5"}
    assert all(record.rows or record.skipped for record in records.values())
    for fault in ("no_audio", "silent_audio"):
        status = by_fault[fault].rows[0].media.status
        assert status["audio"].status == ("absent" if fault == "no_audio" else "silent")
        assert by_fault[fault].nulls["audio"] == len(by_fault[fault].rows)
    assert set(by_fault["missing_mp4"].rows[0].media.black_tiles) == {LOST_VIDEO}
    torn = by_fault["truncated_mp4"].rows[-1].media
    assert torn.black_tiles[TORN_VIDEO] > 0
    assert TORN_VIDEO in torn.status["mosaic"].reason
    assert len(by_fault["short"].rows) <= 1
    assert by_fault["caption_path"].rows
    assert any("\n" in row.answer_json.action for row in by_fault["hostile_labels"].rows)


def test_a_video_with_fewer_frames_than_the_annotation_is_black_from_there_on(tmp_path: Path) -> None:
    world = write_world(tmp_path / "data", episodes=1)
    short = world / session(0) / "ep1" / "stereo_left.mp4"
    write_shorter(short, 60)
    context, _ = run_export(world, tmp_path / "x")
    media = rows_of(context)[0]["media"]
    assert 0 < media["black_tiles"]["stereo_left.mp4"] < 16
    assert "ends before frame" in media["status"]["mosaic"]["reason"]
    assert "frames_as_declared" not in failed(context)


def write_shorter(path: Path, frames: int) -> None:
    pictures = [frame for _, frame in decode_frames(path, range(frames))]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=20)
        stream.width, stream.height, stream.pix_fmt = pictures[0].width, pictures[0].height, "yuv420p"
        for number, picture in enumerate(pictures):
            picture.pts, picture.time_base = number, Fraction(1, 20)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def test_an_episode_id_seen_twice_or_leaving_its_root_is_refused(world: Path, tmp_path: Path) -> None:
    root = shutil.copytree(world, tmp_path / "data")
    one = entry(root, f"{session(0)}/ep1", "train")
    outside = msgspec.structs.replace(one, path="../../etc", episode_id="other__ep1")
    write_manifest(root, [one, one, outside])
    context, _ = run_export(root, tmp_path / "x")
    skipped = json.loads((context.out / "dataset_manifest.json").read_bytes())["skipped_episodes"]
    assert [entry["reason"].partition(" ")[0] for entry in skipped] == ["episode", "path"]
    assert "rows_conserved" not in failed(context)


def test_several_scales_share_one_pass_and_name_their_rows(world: Path, tmp_path: Path) -> None:
    scales = [
        {"window_frames": 20, "stride_frames": 10, "context_frames": 120},
        {"window_frames": 40, "stride_frames": 20, "context_frames": 100},
    ]
    context, _ = run_export(world, tmp_path, scales=scales, max_windows=4)
    assert failed(context) == set()
    rows = rows_of(context)
    assert list(dict.fromkeys(row["scale_id"] for row in rows)) == [
        "dense_20f_stride10",
        "medium_40f_stride20",
    ]
    assert all(row["id"] == f"{row['scale_id']}:{row['source_row_id']}" for row in rows)
    per_episode = [row for row in rows if row["episode_id"] == rows[0]["episode_id"]]
    assert len(per_episode) <= 8


def test_a_context_that_would_cut_the_window_is_refused() -> None:
    with pytest.raises(ValueError, match="cuts windows"):
        Scale(80, 40, 80)


def test_the_full_layout_knows_the_pictures(world: Path, tmp_path: Path) -> None:
    context, _ = run_export(world, tmp_path, layout="full", render_media=False)
    row = rows_of(context)[0]
    assert row["sensor_feature_dim"] == 8546
    assert row["media"]["mosaic_video_path"] is None
    with np.load(context.out / row["sensor_feature_path"]) as file:
        blocks = file["blocks"].tolist()
        assert file["valid"][0][blocks.index("video_stereo_right")] == 1
        assert file["features"][0, 3227:7343].any()


def test_strides_put_together_are_the_whole(world: Path, tmp_path: Path) -> None:
    whole, _ = run_export(world, tmp_path / "whole")
    parts = []
    for stride in range(3):
        context, _ = run_export(world, tmp_path / f"stride{stride}", shard=(stride, 3))
        parts += [Part(record, context.out) for record in read_episodes(context.out)]
    manifest = read_manifest(world / "episode_manifest.json")
    merged = tmp_path / "merged"
    assemble(
        parts,
        merged,
        settings=settings_from(whole.params),
        shards=shard_order([(e.episode_id, e.split) for e in manifest.episodes]),
        run_id=whole.run.run_id,
        data_roots=[str(world)],
    )
    assert contents(merged) == contents(whole.out)


def test_a_second_attempt_does_nothing_again_unless_the_episode_changed(tmp_path: Path) -> None:
    root = write_world(tmp_path / "data", episodes=2)
    first, _ = run_export(root, tmp_path / "x")
    second, events = run_export(root, tmp_path / "x")
    assert done_again(events) == set()
    assert contents(second.out) == contents(first.out)
    os.utime(root / session(1) / "ep1" / "annotation.hdf5")
    _, events = run_export(root, tmp_path / "x")
    assert done_again(events) == {f"{session(1)}__ep1"}


def done_again(events: list[dict[str, Any]]) -> set[str]:
    done = [event for event in events if event["event"] == "episode_export_done"]
    return {event["episode"] for event in done if not event["kept"]}


@pytest.mark.timeout(120)
def test_kill_9_in_the_middle_leaves_nothing_wrong_and_the_next_attempt_resumes(
    world: Path, exported: Exported, tmp_path: Path
) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.data.export_world", str(world), str(folder)],
        cwd=Path(__file__).resolve().parents[2],
        start_new_session=True,
    )
    finished = folder / "work" / "episodes"
    while not list(finished.glob("[!.]*/record.json")) and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = len(list(finished.glob("[!.]*/record.json")))
    assert kept >= 1
    resumed, events = run_export(world, folder)
    assert failed(resumed) == set()
    done = [event for event in events if event["event"] == "episode_export_done"]
    assert sum(event["kept"] for event in done) >= kept
    assert contents(resumed.out) == contents(exported[0].out)
    assert not list(finished.glob(".*"))
