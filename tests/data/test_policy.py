"""Windows as observations and actions: seven kinds of target, normalised by the train split alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import h5py
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.data.episode import open_episode
from pipeline.data.index.record import WindowRecord
from pipeline.data.layout import ANNOTATION
from pipeline.data.manifest.record import ManifestEpisode
from pipeline.data.policy.checks import policy_checks
from pipeline.data.policy.export import CLASSES, SETS, make_policy, publish_policy
from pipeline.data.policy.kinds import KINDS, Kind
from pipeline.data.policy.normalize import denormalize, fit, from_tokens, normalize, to_tokens
from pipeline.data.policy.targets import read_motion, target_of
from pipeline.data.synth.episode import EpisodeSpec, write_episode

FRAMES, STEPS = 160, 16


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("episodes")
    made = {}
    for number, split in enumerate(("train", "train", "val", "test")):
        name = f"{split}{number}__ep1"
        write_episode(root / name, EpisodeSpec(frames=FRAMES, task=number % 3, seed=number))
        made[name] = root / name
    return made


def record(episode: str, first: int) -> WindowRecord:
    split = episode.rstrip("_ep1").rstrip("0123456789")
    content = {
        "id": f"{episode}:w{first}", "source_record_id": f"{episode}:qa:{first}", "episode_id": episode,
        "split": split, "target": None, "prompt_type": None,
        "window": {"start_frame": first, "end_frame": first + 19, "num_frames": 20},
        "modalities": {
            "media": {"video_streams": [], "mosaic_video_path": None, "audio_path": None,
                      "context_window": {"start_frame": 0, "end_frame": 119, "max_video_frames": 16}},
            "sensor_features": {"path": None, "index": None, "dim": None},
            "language": {"question": "?", "action_options": [], "subtask_options": []},
        },
        "supervision": {"json_answer": {}, "action": None, "subtask": None, "objects": [], "contact": None,
                        "transition": None, "next_action": None, "evidence_window": {}},
        "adapter_views": {
            "qwen3_omni_lora": {"sample_contract": "", "messages_available": False, "direct_modalities": [],
                                "bridged_modalities": []},
            "cosmos_world_model": {"sample_contract": "",
                                   "context_window": {"start_frame": 0, "end_frame": 1},
                                   "available_conditioning": [], "candidate_targets": [],
                                   "requires_new_exporter": True},
            "policy_vla_branch": {"sample_contract": "", "candidate_targets": [],
                                  "observation_window": {"start_frame": 0, "end_frame": 1, "num_frames": 2},
                                  "requires_action_space_design": True},
        },
        "provenance": {"dataset_record_fields": [], "parallel_export_shard": None},
    }  # fmt: skip
    return msgspec.json.decode(msgspec.json.encode(content), type=WindowRecord)


def records(folders: dict[str, Path]) -> list[WindowRecord]:
    return [record(name, first) for name in folders for first in range(0, FRAMES - 20, 20)]


def exported(folders: dict[str, Path], out: Path, kind: Kind) -> tuple[Any, list[dict[str, Any]]]:
    policy = make_policy(records(folders), folders, kind=kind, steps=STEPS)
    publish_policy(policy, out, run_id="r", dataset="index")
    return policy, [json.loads(line) for line in (out / "policy.jsonl").open()]


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_kind_passes_its_gate_and_says_what_it_is(
    folders: dict[str, Path], tmp_path: Path, kind: Kind
) -> None:
    policy, rows = exported(folders, tmp_path, kind)
    total = len(records(folders))
    answers = {check.name: check for check in policy_checks(policy, tmp_path, total, max_skipped_share=0.6)}
    assert all(check.ok for check in answers.values()), [c for c in answers.values() if not c.ok]
    space = json.loads((tmp_path / "action_space.json").read_text())
    assert space["kind"] == kind
    assert space["rule"] == KINDS[kind].rule
    assert {row["split"] for row in rows} == {"train", "val", "test"}
    row = rows[0]
    with np.load(tmp_path / row["action"]["array"].partition("#")[0]) as stored:
        values = stored["action"][row["action"]["row"]]
        assert values.shape == (space["steps"], space["dims"])
        assert stored["is_pad"][row["action"]["row"]].shape == (space["steps"],)
        assert stored["state"].shape[1] == 8
    if KINDS[kind].future:
        assert row["action"]["frames"]["start_frame"] == row["observation"]["window"]["end_frame"] + 1
    assert len(rows) + len(policy.skipped) == total
    assert all(one.reason for one in policy.skipped)


def test_a_hand_trajectory_is_what_a_slow_reading_of_the_file_gives(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    _, rows = exported(folders, tmp_path, "hand_trajectory")
    for row in rows[::7]:
        with h5py.File(folders[row["episode_id"]] / ANNOTATION) as file:
            sides = [np.asarray(file[f"hand_mocap/{side}_joints_3d"]) for side in ("left", "right")]
        last = row["observation"]["window"]["end_frame"]
        with np.load(tmp_path / row["action"]["array"].partition("#")[0]) as stored:
            values, pad = stored["action"][row["action"]["row"]], stored["is_pad"][row["action"]["row"]]
        for step in range(STEPS):
            expected = []
            for joints in sides:
                for joint in range(21):
                    for axis in range(3):
                        frame = last + 1 + step
                        known = frame < len(joints)
                        value = joints[frame][joint][axis] - joints[last][0][axis] if known else np.nan
                        expected.append(value)
            assert bool(pad[step]) is bool(np.isnan(expected).any())
            if not pad[step]:
                assert np.allclose(values[step], expected, atol=1e-5)


def test_only_the_train_split_decides_the_normalizer(folders: dict[str, Path], tmp_path: Path) -> None:
    whole, _ = exported(folders, tmp_path / "a", "body_motion")
    only = [one for one in records(folders) if one.split == "train"]
    alone = make_policy(only, folders, kind="body_motion", steps=STEPS)
    assert whole.normalizer is not None
    assert alone.normalizer is not None
    assert whole.normalizer.sha256 == alone.normalizer.sha256
    assert whole.normalizer.rows == len([one for one in alone.made if one.record.split == "train"])


def test_a_normalizer_that_saw_more_than_train_closes_the_gate(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    policy, _ = exported(folders, tmp_path, "body_motion")
    stats = json.loads((tmp_path / "normalization_stats.json").read_text())
    stats["mean"][0] += 0.001
    (tmp_path / "normalization_stats.json").write_text(json.dumps(stats | {"rows": stats["rows"] + 1}))
    total = len(records(folders))
    bad = {c.name for c in policy_checks(policy, tmp_path, total, max_skipped_share=1.0) if not c.ok}
    assert "normalizer_from_train_only" in bad


def test_a_label_that_train_never_has_is_no_class(folders: dict[str, Path], tmp_path: Path) -> None:
    _, rows = exported(folders, tmp_path, "action_class")
    classes = set(json.loads((tmp_path / "action_space.json").read_text())["classes"])
    strangers = [row for row in rows if row["action"]["label"] not in classes]
    assert strangers, "the third task is in the val split alone"
    assert {row["split"] for row in strangers} <= {"val", "test"}
    row = strangers[0]
    assert row["action"]["seen_in_train"] is False
    with np.load(tmp_path / row["action"]["array"].partition("#")[0]) as stored:
        assert stored["action"][row["action"]["row"]] == -1


@pytest.mark.parametrize(
    ("array", "kind", "told"),
    [
        ("hand_mocap/right_joints_3d", "action_token", "nothing of action_token was measured"),
        ("full_body_mocap/contacts", "contact_state", "no contacts"),
        ("full_body_mocap/keypoints", "body_motion", "nothing of body_motion was measured"),
    ],
)
def test_what_was_not_measured_is_skipped_with_the_reason(
    tmp_path: Path, array: str, kind: Kind, told: str
) -> None:
    write_episode(tmp_path / "train0__ep1", EpisodeSpec(frames=80, seed=3))
    with h5py.File(tmp_path / "train0__ep1" / ANNOTATION, "a") as file:
        if kind == "contact_state":
            del file[array]
        else:
            file[array][...] = np.nan
    folders = {"train0__ep1": tmp_path / "train0__ep1"}
    policy = make_policy([record("train0__ep1", 0)], folders, kind=kind, steps=STEPS)
    assert policy.made == []
    assert told in policy.skipped[0].reason


def test_a_target_beyond_the_end_is_padded_and_a_missing_episode_is_named(tmp_path: Path) -> None:
    write_episode(tmp_path / "train0__ep1", EpisodeSpec(frames=60, seed=3))
    with open_episode(tmp_path / "train0__ep1") as episode:
        motion = read_motion(episode, 60)
    target = target_of(motion, "contact_state", 30, 49, STEPS)
    assert not isinstance(target, str)
    assert target.is_pad.tolist() == [False] * 10 + [True] * 6
    gone = {"train0__ep1": tmp_path / "nowhere"}
    policy = make_policy([record("train0__ep1", 0)], gone, kind="contact_state", steps=STEPS)
    assert "no episode at" in policy.skipped[0].reason


finite = st.floats(-1e3, 1e3, allow_nan=False, width=32)


@given(arrays(np.float64, st.tuples(st.integers(2, 40), st.integers(1, 5)), elements=finite))
def test_there_and_back_loses_nothing_and_bins_at_most_half_of_one(values: np.ndarray[Any, Any]) -> None:
    by = fit([("a", values)])
    assert np.allclose(denormalize(normalize(values, by), by), values, atol=1e-9)
    back = from_tokens(to_tokens(values, by), by)
    low, high = np.array(by.q01), np.array(by.q99)
    inside = (values >= low) & (values <= high)
    width = np.where(high > low, high - low, 1.0) / 256
    assert np.all((np.abs(back - values) <= width / 2 + 1e-9) | ~inside)


def test_the_kinds_of_the_seeds_are_all_there() -> None:
    assert len(KINDS) == 7
    assert set(get_args(Kind)) == KINDS.keys()
    assert KINDS.keys() >= CLASSES | SETS


def manifest_entry(name: str, task: str) -> Any:
    entry = type("Entry", (), {})()
    entry.episode_id, entry.episode_path, entry.main_task = name, name, task
    entry.split = name.rstrip("_ep1").rstrip("0123456789")
    return entry


def test_a_lerobot_dataset_reads_back_as_the_episodes(folders: dict[str, Path], tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet", reason="pip install 'xops[lerobot]'")
    from pipeline.data.policy.lerobot import VIDEO, write_lerobot

    entries: list[ManifestEpisode] = [manifest_entry(name, f"task {n % 2}") for n, name in enumerate(folders)]
    entries.append(manifest_entry("test9__ep1", "gone"))
    info = write_lerobot(tmp_path / "ds", {**folders, "test9__ep1": tmp_path / "gone"}, entries)
    assert info["codebase_version"] == "v3.0"
    assert info["splits"] == {"train": "0:2", "val": "2:3", "test": "3:4"}
    assert list(info["xops_skipped"]) == ["test9__ep1"]
    frames = pq.read_table(tmp_path / "ds/data/chunk-000/file-000.parquet").to_pydict()
    assert len(frames["index"]) == info["total_frames"] == 4 * FRAMES
    assert frames["index"] == list(range(4 * FRAMES))
    assert frames["action"][5] == frames["observation.state"][6]
    assert frames["timestamp"][FRAMES + 3] == pytest.approx(0.15)
    episodes = pq.read_table(tmp_path / "ds/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [one["dataset_to_index"] - one["dataset_from_index"] for one in episodes] == [FRAMES] * 4
    for one in episodes:
        path = (
            tmp_path
            / "ds"
            / info["video_path"].format(
                video_key=VIDEO, chunk_index=0, file_index=one[f"videos/{VIDEO}/file_index"]
            )
        )
        assert path.is_file()
    stats = json.loads((tmp_path / "ds/meta/stats.json").read_text())
    assert np.allclose(stats["action"]["mean"], np.mean(frames["action"], axis=0), atol=1e-6)
    assert np.shape(stats[VIDEO]["mean"]) == (3, 1, 1)
    tasks = pq.read_table(tmp_path / "ds/meta/tasks.parquet").to_pydict()
    assert tasks["task"] == ["task 0", "task 1"]


def test_lerobot_itself_loads_it(folders: dict[str, Path], tmp_path: Path) -> None:
    dataset = pytest.importorskip("lerobot.datasets.lerobot_dataset", reason="lerobot is not installed")
    from pipeline.data.policy.lerobot import write_lerobot

    write_lerobot(tmp_path / "ds", folders, [manifest_entry(name, "t") for name in folders])
    loaded = dataset.LeRobotDataset("local/ds", root=tmp_path / "ds", video_backend="pyav")
    assert len(loaded) == 4 * FRAMES
