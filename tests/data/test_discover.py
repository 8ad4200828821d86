"""Discovery: every selected episode is complete, degraded, damaged or absent, and none is lost."""

import json
import shutil
from pathlib import Path

import msgspec
import pytest

from pipeline.data.discover import (
    Staged,
    Wanted,
    discovery_checks,
    find_episode,
    find_others,
    skipped,
    source_discovery,
    with_qa,
)
from pipeline.data.layout import FILES
from pipeline.data.qa.episode import QaTask, check_episode
from pipeline.data.qa.record import Limits
from tests.data.tiny import write_episode, write_video


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_episode(tmp_path_factory.mktemp("whole") / "episode", 120)


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    """Episodes of four sessions: whole, without a side camera, with a torn annotation, with one file."""
    for session in ("good", "side", "torn", "rest"):
        shutil.copytree(whole, tmp_path / "data" / session / "ep1")
    (tmp_path / "data" / "side" / "ep1" / "stereo_left.mp4").unlink()
    (tmp_path / "data" / "torn" / "ep1" / "annotation.hdf5").write_bytes(b"\x89HDF\r\n\x1a\n")
    for name in FILES[1:]:
        (tmp_path / "data" / "rest" / "ep1" / name).unlink()
    return tmp_path / "data"


WANTED = [Wanted(path=f"{name}/ep1", split="train") for name in ("good", "side", "torn", "rest", "gone")]


def inspected(root: Path) -> dict[str, Staged]:
    found = [find_episode(wanted, [root]) for wanted in WANTED]
    return {
        entry.path: with_qa(entry, check_episode(QaTask(entry.path, entry.folder, Limits())))
        if entry.folder
        else entry
        for entry in found
    }


def test_states(root: Path) -> None:
    by_name = {entry.path: entry.state for entry in (find_episode(wanted, [root]) for wanted in WANTED)}
    assert by_name == {
        "good/ep1": "complete",
        "side/ep1": "degraded",
        "torn/ep1": "complete",  # by name alone; its content is QA's to judge
        "rest/ep1": "damaged",
        "gone/ep1": "absent",
    }
    seen = inspected(root)
    assert {path: entry.state for path, entry in seen.items()} == {**by_name, "torn/ep1": "damaged"}
    assert "not a readable HDF5 file" in seen["torn/ep1"].reason


def test_a_file_of_another_size_is_damage(root: Path) -> None:
    wanted = Wanted(path="good/ep1", split="train", sizes={"fisheye_cam0.mp4": 7})
    found = find_episode(wanted, [root])
    assert found.state == "damaged"
    assert "bytes instead of 7" in found.reason
    side = find_episode(Wanted(path="good/ep1", split="train", sizes={"stereo_left.mp4": 7}), [root])
    assert side.state == "degraded"


def test_the_first_root_that_has_it_counts(root: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    found = find_episode(WANTED[0], [tmp_path / "empty", tmp_path / "none", root])
    assert Path(found.folder) == root / "good" / "ep1"


def test_a_side_camera_that_drifts_away_degrades(root: Path) -> None:
    write_video(root / "good" / "ep1" / "stereo_left.mp4", 300)
    found = inspected(root)["good/ep1"]
    assert found.state == "degraded"
    assert "300 frames" in found.reason


def test_the_gate_counts_everything_once(root: Path) -> None:
    staged = list(inspected(root).values())
    others = find_others([root], ["good/ep1", "side/ep1", "torn/ep1"])
    checks = {
        check.name: check
        for check in discovery_checks(staged, target=2, quarantine={"side/ep1": "shows a face"})
    }
    assert {name for name, check in checks.items() if not check.ok} == {
        "none_absent",
        "none_damaged",
        "none_degraded",
        "target_reached",
    }
    assert checks["episodes_conserved"].detail.startswith("5 selected = 1 usable + 4 left out")
    assert others == ["rest/ep1"]
    assert skipped(staged, {"side/ep1": "shows a face"}).keys() == {
        "side/ep1",
        "torn/ep1",
        "rest/ep1",
        "gone/ep1",
    }


def test_a_complete_root_passes(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "data" / "s" / "ep1")
    staged = [find_episode(Wanted(path="s/ep1", split="train"), [tmp_path / "data"])]
    checks = discovery_checks(staged, target=1, quarantine={})
    assert all(check.ok for check in checks)
    assert find_others([tmp_path / "data"], ["s/ep1"]) == []


def test_the_answer_has_the_published_keys(root: Path, published: Path) -> None:
    theirs = json.loads((published / "omni" / "source_discovery.json").read_bytes())
    ours = source_discovery(
        list(inspected(root).values()),
        target=2,
        workspace="/w",
        data_root=str(root),
        hub_files=[f"s1/ep1/{name}" for name in FILES] + ["s2/ep1/annotation.hdf5", "README.md"],
        hub_repo="acme/xp",
    )
    assert list(ours) == list(theirs)
    assert list(ours["local"]) == list(theirs["local"])
    assert list(ours["local"]["episodes"][0]) == list(theirs["local"]["episodes"][0])
    assert list(ours["huggingface"]) == list(theirs["huggingface"])
    assert ours["selected_source"] == "local"
    assert ours["local"]["num_episodes"] == 4
    assert ours["local"]["num_complete_episodes"] == 1
    assert ours["local"]["num_degraded_valid_episodes"] == 2
    assert ours["huggingface"]["num_complete_episodes"] == 1
    assert ours["huggingface"]["episodes"][1]["episode_path"] == "huggingface:acme/xp/s2/ep1"
    assert msgspec.json.encode(ours)


def test_ids_do_not_collide_between_sessions(root: Path) -> None:
    answer = source_discovery(list(inspected(root).values()), target=9, workspace="", data_root="")
    ids = [episode["episode_id"] for episode in answer["local"]["episodes"]]
    assert len(set(ids)) == len(ids)
    assert answer["selected_source"] == "none"
    assert "need 9, local has 2" in answer["data_status_items"][-1]
