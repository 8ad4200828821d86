"""`xops data`, on generated episodes."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_process import Answer, Xops


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from pipeline.data.synth.world import WorldSpec, write_world

    root = tmp_path_factory.mktemp("world")
    write_world(
        root, WorldSpec(sessions=2, min_frames=60, max_frames=60, faults={"truncated_mp4": 1}), workers=1
    )
    return root


def episodes(world: Path) -> list[str]:
    return sorted(str(path) for path in world.glob("*/ep*"))


def test_inspect_says_what_every_stream_is(xops: Xops, world: Path) -> None:
    found = [xops("data", "inspect", episode, "--json").data for episode in episodes(world)]
    assert all(len(one["modalities"]) == 11 and one["frames"] == 60 for one in found)
    broken = [
        name for one in found for name, status in one["streams"].items() if status["status"] == "unreadable"
    ]
    assert broken == ["fisheye_cam1.mp4"]
    assert "unreadable" in "".join(xops("data", "inspect", episode).out for episode in episodes(world))


def test_windows_have_labels_and_shares(xops: Xops, world: Path) -> None:
    found = xops(
        "data", "windows", episodes(world)[0], "--window-frames", "20", "--stride", "20", "--json"
    ).data
    assert found["positions"] == 3
    for window in found["windows"]:
        assert window["end"] - window["start"] == 19
        assert window["shares"]["action"] >= 0.6
        assert {"action", "subtask", "objects", "contact", "transition", "next_action"} <= window.keys()


def test_synth_makes_the_same_world_twice_and_names_its_faults(xops: Xops, tmp_path: Path) -> None:
    options = ("--sessions", "1", "--min-frames", "40", "--max-frames", "40", "--fault", "no_caption")
    planned = xops("data", "synth", str(tmp_path / "a"), *options, "--dry-run", "--json").data
    assert not (tmp_path / "a").exists()
    made = [xops("data", "synth", str(tmp_path / name), *options, "--json").data for name in "ab"]
    assert [one["episode"] for one in planned["episodes"]] == [one["episode"] for one in made[0]["episodes"]]
    files = [
        sorted(p.relative_to(tmp_path / n) for p in (tmp_path / n).rglob("*") if p.is_file()) for n in "ab"
    ]
    assert files[0] == files[1]
    assert all(
        (tmp_path / "a" / p).read_bytes() == (tmp_path / "b" / p).read_bytes()
        for p in files[0]
        if p.suffix == ".mp4"
    )
    assert "torn_hdf5" in xops("data", "synth", ".", "--fault", "help").out
    refused = xops("data", "synth", str(tmp_path / "c"), "--fault", "nonsense")
    assert refused.code == 2
    assert "nonsense" in refused.err


def test_qa_tells_usable_from_damaged(xops: Xops, world: Path, tmp_path: Path) -> None:
    assert all(xops("data", "qa", episode).code == 0 for episode in episodes(world))
    bad = tmp_path / "session" / "ep1"
    bad.mkdir(parents=True)
    (bad / "annotation.hdf5").write_text("text")
    answer: Answer = xops("data", "qa", str(bad))
    assert answer.code == 1
    assert "damaged" in answer.out


def test_an_episode_is_taken_out_with_a_reason(xops: Xops, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir(exist_ok=True)
    assert "is taken out" in xops("data", "quarantine", "s/ep1", "--why", "camera upside down").out
    assert "camera upside down" in (tmp_path / "quarantine.jsonl").read_text()
    assert xops("data", "quarantine", "s/ep1", "--why", " ").code == 2


def test_the_real_dataset_becomes_an_index_that_is_valid(xops: Xops, published: Path, tmp_path: Path) -> None:
    source = str(published / "omni" / "dataset.jsonl")
    made = xops("data", "index", "build", source, "-o", str(tmp_path / "index"), "--json").data
    assert (made["rows"], made["records"], made["skipped"]) == (128, 128, 0)
    path = tmp_path / "index" / "window_index.jsonl"
    assert xops("data", "index", "validate", str(path), "--source", source, "--json").data["status"] == "pass"
    path.write_text(path.read_text().replace('"split":"train"', '"split":7', 1))
    assert xops("data", "index", "validate", str(path)).code == 1


def test_what_is_not_there_is_said(xops: Xops) -> None:
    answer = xops("data", "inspect", "/no/such/episode")
    assert answer.code == 66 or answer.code != 0
    assert "is no directory" in answer.err
