"""Foreign trees as runs: joined by facts, never by similar names."""

from __future__ import annotations

from pathlib import Path

from logs import eval_rows, event, train_rows, write_log

from pipeline.engine.adopt import AdoptedRun, adopt
from pipeline.engine.watch import open_store, summary_of


def adopted(root: Path) -> list[AdoptedRun]:
    store = open_store([root])
    store.catch_up()
    return adopt(summary_of(store))


def stages(run: AdoptedRun) -> list[tuple[str, str, str]]:
    return [(stage.name, stage.run_id, stage.terminal) for stage in run.stages]


def test_similar_names_join_nothing(tmp_path: Path) -> None:
    write_log(tmp_path / "x" / "progress.jsonl", train_rows("x"))
    write_log(tmp_path / "x_eval" / "progress.jsonl", eval_rows("x_eval", 3, 3))
    assert [run.run_id for run in adopted(tmp_path)] == ["x", "x_eval"]


def test_a_watcher_joins_what_it_names(tmp_path: Path) -> None:
    write_log(tmp_path / "x" / "progress.jsonl", train_rows("x"))
    write_log(tmp_path / "y" / "progress.jsonl", eval_rows("y", 3, 3, start=3000))
    ids = {"dataset_run_id": "data", "train_run_id": "x", "eval_smoke_run_id": "s", "eval_run_id": "y"}
    rows = [event("watch_start", 2000, **ids), event("eval_full_exit", 4000, returncode=0)]
    write_log(tmp_path / "data" / "watch_x.jsonl", rows)
    (run,) = adopted(tmp_path)
    assert (run.run_id, run.dataset_run_id) == ("x", "data")
    assert stages(run) == [("train", "x", "complete"), ("watch", "x", "none"), ("eval", "y", "complete")]


def test_runs_on_one_data_set_stay_apart(tmp_path: Path) -> None:
    for name in "ab":
        write_log(tmp_path / name / "progress.jsonl", train_rows(name))
        ids = {
            "dataset_run_id": "data",
            "train_run_id": name,
            "eval_run_id": f"{name}_eval",
            "eval_smoke_run_id": "",
        }
        write_log(tmp_path / "data" / f"watch_{name}.jsonl", [event("watch_start", 2000, **ids)])
    assert sorted(run.run_id for run in adopted(tmp_path)) == ["a", "b"]


def test_equal_ids_are_one_run_and_copies_count_once(tmp_path: Path) -> None:
    write_log(tmp_path / "x" / "progress.jsonl", train_rows("x"))
    write_log(tmp_path / "x" / "progress_lora.jsonl", train_rows("x"))
    write_log(tmp_path / "x" / "launch_status.jsonl", [event("launch_start", 900, run_id="x")])
    (run,) = adopted(tmp_path)
    assert stages(run) == [("launch", "x", "none"), ("train", "x", "complete")]
    assert len(run.stages[1].logs) == 1


def test_shards_are_one_stage_with_merged_progress(tmp_path: Path) -> None:
    for shard, done in ((0, 5), (1, 3)):
        rows = eval_rows(f"e_shard{shard}", done, 5, sample_offset=shard, sample_stride=2)
        write_log(tmp_path / f"e_shard{shard}" / "progress.jsonl", rows)
    (run,) = adopted(tmp_path)
    (stage,) = run.stages
    assert (run.run_id, stage.done, stage.total, stage.terminal, len(stage.logs)) == ("e", 8, 10, "none", 2)


def test_our_own_run_directories_are_not_adopted(tmp_path: Path) -> None:
    write_log(tmp_path / "runs" / "r" / "stages" / "train" / "progress.jsonl", train_rows("r"))
    assert adopted(tmp_path) == []
