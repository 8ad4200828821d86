"""Generated episodes: the reader finds what the generator writes; every fault is read without an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.data.episode import open_episode
from pipeline.data.inspection import inspect_episode
from pipeline.data.layout import FILES, VIDEOS
from pipeline.data.synth.episode import EpisodeSpec, write_episode
from pipeline.data.synth.faults import FAULTS, LOST_VIDEO, TORN_VIDEO, Fault
from pipeline.data.synth.world import WorldSpec, plan_world, write_world
from pipeline.engine.errors import UsageError

SESSION = "00000000-0000-4000-8000-000000000001"


def spec(**fields: object) -> EpisodeSpec:
    return EpisodeSpec(**{"frames": 60, "size": 64, "depth": 8, "seed": 3, **fields})  # type: ignore[arg-type]


def test_the_reader_finds_what_was_written(tmp_path: Path) -> None:
    folder = tmp_path / SESSION / "ep1"
    script = write_episode(folder, spec())
    with open_episode(folder) as episode:
        assert episode.frame_count == 60
        assert {name for name, stream in episode.streams.items() if stream.status != "present"} <= {
            "captions"
        }
        assert len(episode.videos) == len(VIDEOS) == 6
        labels = episode.labels("default")
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert len(labels) == 60
    assert list(labels.action) == list(script.action)


def test_the_same_specification_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_episode(tmp_path / name / "ep1", spec())
    for file in FILES:
        assert (tmp_path / "a" / "ep1" / file).read_bytes() == (tmp_path / "b" / "ep1" / file).read_bytes()


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_read_and_told(tmp_path: Path, fault: Fault) -> None:
    folder = tmp_path / SESSION / "ep1"
    write_episode(folder, spec(faults=(fault,)))
    report = inspect_episode(folder)
    found = {name: stream.status for name, stream in report.streams.items()}
    if fault in ("text_hdf5", "torn_hdf5"):
        assert found["annotation"] == "unreadable"
        assert report.streams["annotation"].reason
    elif fault == "missing_mp4":
        assert found[LOST_VIDEO] == "absent"
    elif fault == "truncated_mp4":
        assert found[TORN_VIDEO] == "unreadable"
    elif fault == "silent_audio":
        assert found["audio"] == "silent"
    elif fault == "no_audio":
        assert found["audio"] == "absent"
    elif fault == "no_slam":
        assert found["slam_pose"] == "absent"
        assert report.windows > 0, "labels resolve through the video's timestamps"
    elif fault in ("no_labels", "empty_caption", "no_caption"):
        assert report.windows == 0


def test_a_world_is_planned_by_its_seed_and_written_once(tmp_path: Path) -> None:
    small = WorldSpec(sessions=3, episodes=4, min_frames=20, max_frames=30, faults={"no_audio": 1})
    planned = plan_world(small)
    assert planned == plan_world(small)
    assert len({episode.path.split("/")[0] for episode in planned}) == 3
    written = write_world(tmp_path, small, workers=1)
    assert [episode.path for episode in written] == [episode.path for episode in planned]
    assert sum("no_audio" in episode.faults for episode in written) == 1
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.mp4")}
    write_world(tmp_path, small, workers=1)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.mp4")} == before


def test_an_impossible_world_is_refused() -> None:
    with pytest.raises(UsageError, match="more than"):
        plan_world(WorldSpec(sessions=1, faults={"short": 2}))
