"""Future windows: nothing of the target is visible, and the published pairs are reproduced."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.future import FutureRule, future_checks, make_futures
from pipeline.data.index.record import WindowRecord


def record(
    name: str, episode: str, start: int, end: int, *, split: str = "train", available: tuple[str, ...] = ()
) -> WindowRecord:
    """A record of the neutral index with only what matters here."""
    window = {"start_frame": start, "end_frame": end, "num_frames": end - start + 1}
    seen = {"start_frame": max(0, start - 50), "end_frame": max(0, start - 50) + 119}
    content: dict[str, Any] = {
        "id": name,
        "source_record_id": name,
        "episode_id": episode,
        "split": split,
        "target": None,
        "prompt_type": None,
        "window": window,
        "modalities": {
            "media": {
                "video_streams": [{"name": "fisheye_cam0.mp4", "path": f"{episode}/fisheye_cam0.mp4"}],
                "mosaic_video_path": None,
                "audio_path": None,
                "context_window": {**seen, "max_video_frames": 16},
            },
            "sensor_features": {"path": "sensor_features/a.npz", "index": 3, "dim": 8},
            "language": {"question": "What?", "action_options": [], "subtask_options": []},
        },
        "supervision": {
            "json_answer": {},
            "action": "cut",
            "subtask": None,
            "objects": [],
            "contact": "yes",
            "transition": "no",
            "next_action": None,
            "evidence_window": {},
        },
        "adapter_views": {
            "qwen3_omni_lora": {
                "sample_contract": "",
                "messages_available": False,
                "direct_modalities": [],
                "bridged_modalities": [],
            },
            "cosmos_world_model": {
                "sample_contract": "",
                "context_window": seen,
                "available_conditioning": available,
                "candidate_targets": [],
                "requires_new_exporter": True,
            },
            "policy_vla_branch": {
                "sample_contract": "",
                "observation_window": window,
                "candidate_targets": [],
                "requires_action_space_design": True,
            },
        },
        "provenance": {"dataset_record_fields": [], "parallel_export_shard": None},
    }
    return msgspec.json.decode(json.dumps(content), type=WindowRecord)


def answers(records: list[WindowRecord], rule: FutureRule, frames: int = 400) -> dict[str, bool | None]:
    futures = make_futures(records, rule, dict.fromkeys((r.episode_id for r in records), frames))
    return {check.name: check.ok for check in future_checks(futures, rule)}


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 380)), max_size=30, unique=True),
    st.integers(1, 150),
    st.integers(1, 150),
)
def test_a_strict_target_begins_where_its_context_ends(
    places: list[tuple[str, int]], context: int, horizon: int
) -> None:
    records = [record(f"{e}:qa:{start}", f"s__{e}", start, start + 19) for e, start in places]
    rule = FutureRule(context_frames=context, horizon_frames=horizon)
    futures = make_futures(records, rule, {"s__a": 400, "s__b": 200})
    assert len(futures.samples) + sum(futures.left_out.values()) == len(records)
    for sample in futures.samples:
        frames = 400 if sample.episode_id == "s__a" else 200
        assert sample.context_window.start_frame >= 0
        assert sample.context_window.end_frame + 1 == sample.target_window.start_frame
        assert sample.target_window.end_frame < frames
    expected = sum(start >= context and start + horizon <= (400 if e == "a" else 200) for e, start in places)
    assert len(futures.samples) == expected
    checks = {check.name: check.ok for check in future_checks(futures, rule)}
    assert checks["target_strictly_after_context"]
    assert checks["horizon_honoured"]


def test_the_published_pairs_are_reproduced_but_overlap_their_contexts(published: Path) -> None:
    with (published / "omni" / "base128" / "windows.csv").open(newline="") as table:
        rows = [row for row in csv.DictReader(table) if row["split"] == "test"]
    records = [
        record(row["id"], row["episode_id"], int(row["start_frame"]), int(row["end_frame"]), split="test")
        for row in rows
    ]
    rule = FutureRule(rule="published", horizon_windows=5)
    futures = make_futures(records, rule, {})
    lines = (published / "omni" / "c_nano_eval" / "future_predictions.jsonl").read_text().splitlines()
    expected = {(p["id"], p["context_record_id"], p["future_record_id"]) for p in map(json.loads, lines)}
    assert {(s.id, s.context_record_id, s.future_record_id) for s in futures.samples} == expected
    assert len(expected) == 378
    checks = {check.name: check.ok for check in future_checks(futures, rule)}
    assert checks["target_strictly_after_context"] is None, "a person must say that this is wanted"


def test_a_sample_has_the_contracts_shape_and_names_only_what_is_there() -> None:
    found = record("e:qa:1", "session__ep1", 200, 219, available=("video", "audio", "sensor_features"))
    (sample,) = make_futures([found], FutureRule(), {"session__ep1": 400}).samples
    shape = msgspec.to_builtins(sample)
    assert shape["context_window"] == {"start_frame": 80, "end_frame": 199}
    assert shape["target_window"] == {"start_frame": 200, "end_frame": 259}
    assert set(shape["conditioning"]) == {"video", "audio", "pose", "depth", "mocap", "imu", "language"}
    assert shape["conditioning"]["pose"] == "session/ep1/annotation.hdf5#/slam"
    assert shape["target"]["future_sensor_features"] == "sensor_features/a.npz#3"
    (bare,) = make_futures([record("e:qa:1", "s__ep1", 200, 219)], FutureRule(), {"s__ep1": 400}).samples
    assert bare.conditioning["audio"] is None
    assert bare.conditioning["imu"] is None


def test_an_episode_in_two_splits_and_an_empty_index_fail_the_gate() -> None:
    both = [record("a", "s__ep1", 200, 219), record("b", "s__ep1", 240, 259, split="test")]
    assert answers(both, FutureRule())["no_episode_in_two_splits"] is False
    assert answers([], FutureRule())["records_conserved"] is False
    early = [record("a", "s__ep1", 0, 19), record("b", "s__ep1", 390, 399)]
    futures = make_futures(early, FutureRule(), {"s__ep1": 400})
    assert futures.left_out == {"no whole context before it": 1, "the episode ends inside its horizon": 1}
