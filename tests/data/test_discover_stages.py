"""The stages discover, manifest, audit and index one after the other, run as the dispatcher runs them."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline.data.manifest.record import read_manifest
from pipeline.data.qa.quarantine import record_act
from pipeline.engine.context import StageContext, loose_context
from pipeline.engine.errors import DamagedFileError, NotFoundError, UsageError
from pipeline.engine.files import read_json
from pipeline.hub.choose import choose
from pipeline.hub.listing import make_listing, write_listing
from pipeline.hub.pool import SelectRules, make_pool
from pipeline.hub.selection import read_selection, write_selection
from pipeline.hub.types import RemoteFile
from pipeline.stages import audit, discover, index, manifest
from tests.data.rows import row, write_rows
from tests.data.tiny import FILES, write_annotation, write_episode

TASKS = ("Folding paper stars", "Stocking grocery shelves")
SESSIONS = 8


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root of eight sessions with one episode each, two kinds of content."""
    root = tmp_path_factory.mktemp("whole")
    for number in range(SESSIONS):
        write_episode(root / session(number) / "ep1", 120 + number, task=TASKS[number % 2])
    return root


def session(number: int) -> str:
    return f"{number:08d}-0000-4000-8000-000000000000"


class Run:
    """A workspace with a selection and a data root; runs stages in order."""

    def __init__(self, folder: Path, whole: Path) -> None:
        self.folder = folder
        self.data = Path(shutil.copytree(whole, folder / "workspace" / "data"))
        self.outs: dict[str, Path] = {"select": folder / "select"}
        self.events: list[dict[str, Any]] = []
        files = [
            RemoteFile(
                f"{path.parent.parent.name}/ep1/{path.name}",
                path.stat().st_size,
                hashlib.sha256(path.read_bytes()).hexdigest(),
            )
            for path in sorted(self.data.rglob("*"))
            if path.is_file()
        ]
        rules = SelectRules(
            target_episodes=SESSIONS,
            min_annotation_gib=0,
            drop_bottom_annotation_percentile=0,
            drop_bottom_training_percentile=0,
        )
        listing = make_listing("acme/xp", "0123456789abcdef0123456789abcdef01234567", files)
        write_listing(folder / "listing.json", listing)
        write_selection(folder / "select" / "selection.json", choose(make_pool(listing, rules)))

    def stage(self, module: Any, **params: Any) -> StageContext:
        name = module.__name__.rpartition(".")[2]
        context = loose_context(
            self.folder / f"loose-{name}-{len(self.events)}",
            msgspec.convert(params, module.Params),
            upstreams=self.outs,
            emit=lambda event, **fields: self.events.append({"event": event, **fields}),
        )
        context.workspace = type(context.workspace)(self.folder / "workspace")
        module.run(context)
        self.outs[name] = context.out
        return context

    def episode(self, number: int) -> Path:
        return self.data / session(number) / "ep1"


@pytest.fixture
def run(tmp_path: Path, whole: Path) -> Run:
    return Run(tmp_path, whole)


def failed(context: StageContext) -> set[str]:
    return {check.name for check in context.checks if check.ok is False}


def test_a_whole_root_goes_through(run: Run) -> None:
    assert failed(run.stage(discover, workers=2, listing=str(run.folder / "listing.json"))) == set()
    answer = read_json(run.outs["discover"] / "source_discovery.json")
    assert answer["local"]["num_complete_episodes"] == SESSIONS
    assert answer["huggingface"]["num_complete_episodes"] == SESSIONS
    made = run.stage(manifest, workers=1)
    assert failed(made) == set()
    listed = read_manifest(made.out / "episode_manifest.json")
    selection = read_selection(run.outs["select"] / "selection.json")
    assert [e.episode_path for e in listed.episodes] == [e.path for e in selection.episodes]
    assert listed.summary["train_minimal_bytes"] == selection.size
    assert all(e.label_stats.num_labeled_windows["action"] > 0 for e in listed.episodes)
    audited = run.stage(audit, workers=1, max_share=1.0, max_divergence=1.0)
    assert failed(audited) == set()
    (unsigned,) = [check for check in audited.checks if check.ok is None]
    assert unsigned.name == "content_reviewed"
    assert unsigned.evidence["split_hash"] == selection.split_hash()
    assert (audited.out / "content_balance.html").is_file()


def test_progress_can_be_followed(run: Run) -> None:
    run.stage(discover, workers=1)
    run.stage(manifest, workers=1)
    run.stage(audit, workers=1)
    for name in ("qa_episode", "episode_described", "caption_read"):
        steps = [event for event in run.events if event["event"] == name]
        assert [event["done"] for event in steps] == list(range(1, SESSIONS + 1))
        assert {(event["total"], event["unit"]) for event in steps} == {(SESSIONS, "episodes")}


def test_every_bad_episode_is_left_out_with_its_reason_and_the_run_goes_on(run: Run) -> None:
    (run.episode(0) / "annotation.hdf5").write_text("404: Not Found")
    shutil.rmtree(run.episode(1))
    (run.episode(2) / "stereo_left.mp4").unlink()
    journal = run.folder / "workspace" / "quarantine.jsonl"
    record_act(journal, f"{session(3)}/ep1", "in", reason="shows a face", who="ann@host")
    found = run.stage(discover, workers=2)
    assert failed(found) == {"none_absent", "none_damaged", "none_degraded", "target_reached", "qa_passed"}
    out = read_json(found.out / "episodes.json")["skipped"]
    assert "not a readable HDF5 file" in out[f"{session(0)}/ep1"]
    assert out[f"{session(1)}/ep1"].startswith("absent")
    assert out[f"{session(3)}/ep1"] == "in quarantine: shows a face"
    made = run.stage(manifest, workers=1, min_episodes=0)
    assert failed(made) == set()
    listed = read_manifest(made.out / "episode_manifest.json")
    assert len(listed.episodes) == 4
    reasons = {entry.episode_path: entry for entry in listed.missing_or_incomplete}
    assert reasons[f"{session(2)}/ep1"].missing == ("stereo_left.mp4",)
    assert all(entry.reason for entry in reasons.values())
    audited = run.stage(audit, workers=1)
    conserved = next(check for check in audited.checks if check.name == "episodes_conserved")
    assert conserved.detail == "8 episodes = 4 audited + 4 left out"
    assert [event["who"] for event in run.events if event["event"] == "quarantined"] == ["qa"]


def test_what_a_person_takes_out_of_quarantine_is_used(run: Run) -> None:
    path = run.episode(0) / "annotation.hdf5"
    size, stamp = path.stat().st_size, path.stat().st_mtime_ns
    write_annotation(path, 125, task=TASKS[0])  # five frames more than the videos of 120 show: a warning
    with path.open("r+b") as file:
        file.truncate(size)
    os.utime(path, ns=(stamp, stamp))
    run.stage(discover, workers=1)
    journal = run.folder / "workspace" / "quarantine.jsonl"
    left = read_json(run.outs["discover"] / "episodes.json")["skipped"]
    assert list(left) == [f"{session(0)}/ep1"]
    record_act(journal, f"{session(0)}/ep1", "out", reason="only the tail is torn", who="ann@host")
    again = run.stage(discover, workers=1)
    assert read_json(again.out / "episodes.json")["skipped"] == {}
    assert failed(again) == set()


def test_a_second_look_reads_nothing_again(run: Run) -> None:
    context = run.stage(discover, workers=1)
    shutil.rmtree(context.out)
    context.out.mkdir()
    run.events.clear()
    context.checks.clear()
    discover.run(context)
    assert all(event["cached"] for event in run.events if event["event"] == "qa_episode")


def test_without_a_selection_only_a_new_split_is_possible_and_it_is_loud(run: Run) -> None:
    del run.outs["select"]
    assert failed(run.stage(discover, workers=1)) == set()
    with pytest.raises(UsageError, match="no selection"):
        run.stage(manifest, workers=1)
    made = run.stage(manifest, workers=1, split="random")
    listed = read_manifest(made.out / "episode_manifest.json")
    assert "NEW RANDOM SPLIT" in listed.summary["notes"][0]
    assert {e.split for e in listed.episodes} == {"train", "val", "test"}
    assert any(event["event"] == "split_made_anew" for event in run.events)


def test_a_new_split_beside_a_selection_closes_the_gate(run: Run) -> None:
    run.stage(discover, workers=1)
    assert "split_is_the_selections" in failed(run.stage(manifest, workers=1, split="random", split_seed=3))


def test_sealed_splits_stay_sealed(run: Run) -> None:
    run.stage(discover, workers=1)
    made = run.stage(manifest, workers=1, include_splits=["train", "val"])
    assert failed(made) == set()
    listed = read_manifest(made.out / "episode_manifest.json")
    assert "test" not in {entry.split for entry in listed.episodes}
    assert listed.summary["sealed_test_episodes_available"] > 0


def test_proposed_swaps_make_a_selection_that_loads(run: Run) -> None:
    selection = read_selection(run.outs["select"] / "selection.json")
    rewritten = []
    for episode in selection.episodes:
        task, path = TASKS[episode.split != "train"], run.data / episode.path / "annotation.hdf5"
        write_annotation(path, 120, task=task, change=relabel(task))
        size = path.stat().st_size
        sizes = {"annotation_bytes": size, "training_bytes": size + episode.video_bytes, "files": ()}
        rewritten.append(msgspec.structs.replace(episode, **sizes))
    selection = msgspec.structs.replace(selection, episodes=tuple(rewritten))
    write_selection(run.outs["select"] / "selection.json", selection)
    run.stage(discover, workers=1, qa=False)
    run.stage(manifest, workers=1)
    found = run.stage(audit, workers=1)
    assert "splits_alike" in failed(found)
    proposed = read_selection(found.out / "proposed_selection.json")
    assert proposed.version == 2
    assert proposed.split_hash() != selection.split_hash()
    swaps = audit.read_swaps(found.out / "balance.json")
    before = run.outs["select"] / "selection.json"
    one = audit.swap_selection(before, swaps[:1], run.folder / "v2.json", reason="only this one")
    assert read_selection(run.folder / "v2.json") == one
    assert len(one.replacements) == 2
    assert read_selection(before).version == 1
    with pytest.raises(DamagedFileError, match="no balance report"):
        audit.read_swaps(before)


def relabel(task: str) -> Any:
    def change(file: Any) -> None:
        text = json.loads(file["caption"][()])
        for action in text["segments"][0]["Current Action"]:
            action["label"] = task
        del file["caption"]
        file["caption"] = json.dumps(text)

    return change


def test_a_root_that_does_not_exist_is_named(run: Run) -> None:
    with pytest.raises(NotFoundError, match="/nowhere"):
        run.stage(discover, data_roots=["/nowhere"])


def test_a_staging_stage_says_where_the_data_is(run: Run, tmp_path: Path) -> None:
    from pipeline.engine.outputs import publish_outputs
    from pipeline.engine.paths import StagePaths

    moved = tmp_path / "elsewhere"
    run.data.rename(moved)
    paths = StagePaths(tmp_path / "stages" / "download")
    paths.out_tmp(1).mkdir(parents=True)
    from pipeline.engine.context import Artefact

    publish_outputs(paths, 1, [Artefact("data_root", moved, "stat")])
    run.outs["download"] = paths.out
    assert failed(run.stage(discover, workers=1)) == set()


# --- index -------------------------------------------------------------------------------------------


def test_an_export_is_indexed(run: Run) -> None:
    splits = {0: "train", 1: "val", 2: "test"}
    rows = [row(n, w, split=split) for n, split in splits.items() for w in range(3)]
    write_rows(run.folder / "export" / "dataset.jsonl", rows)
    run.outs["export"] = run.folder / "export"
    made = run.stage(index)
    assert failed(made) == {"label_options_from_train"}  # the original's defect: options of all splits
    assert (made.out / "window_index_manifest.json").is_file()


def test_rows_that_were_left_out_close_the_gate(run: Run) -> None:
    write_rows(run.folder / "dataset.jsonl", [row(0, 0), "not json\n"])
    made = run.stage(index, dataset=str(run.folder / "dataset.jsonl"))
    assert {"rows_conserved"} <= failed(made)
    conserved = next(check for check in made.checks if check.name == "rows_conserved")
    assert conserved.detail == "2 rows = 1 records + 1 left out"
    assert index.inputs(made.params) == [("dataset", run.folder / "dataset.jsonl", "stat")]


def test_missing_media_are_counted_by_the_gate(run: Run) -> None:
    rows = [row(0, w) for w in range(9)] + [row(0, 9, sensor_feature_path=None)]
    write_rows(run.folder / "dataset.jsonl", rows)
    assert "media_present" in failed(run.stage(index, dataset=str(run.folder / "dataset.jsonl")))
    with pytest.raises(UsageError, match="no dataset to index"):
        run.stage(index)


def test_names_of_files_are_the_hubs() -> None:
    from pipeline.data.layout import FILES as LOOKED_AT
    from pipeline.hub.names import EPISODE_FILES

    assert LOOKED_AT == EPISODE_FILES == FILES
