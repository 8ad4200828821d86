"""The one JSON object of `xops watch`: fields, copies, groups."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from logs import encode, eval_rows, event, train_rows, write_log

from pipeline.engine.errors import NotFoundError
from pipeline.engine.watch import summarise

REQUIRED = """
    path family run_id rows bad_lines terminal attempts first_time last_time last_event done total unit
    last_loss min_loss duplicate_of"""


def logs_of(*roots: Path) -> dict[str, dict[str, Any]]:
    return {log["path"]: log for log in summarise(roots)["logs"]}


def test_every_log_has_every_field_and_all_of_it_is_json(tmp_path: Path) -> None:
    write_log(tmp_path / "t" / "progress.jsonl", train_rows("t"))
    write_log(tmp_path / "empty" / "progress.jsonl", [])
    (tmp_path / "bad" / os.fsdecode(b"\xff")).mkdir(parents=True)
    (tmp_path / "bad" / os.fsdecode(b"\xff") / "status.jsonl").write_bytes(
        b'{"event": "x\\ud800", "loss": NaN}\n\xff\n'
    )
    answer = summarise([tmp_path])
    assert answer["schema"] == 1
    assert len(answer["logs"]) == 3
    for log in answer["logs"]:
        assert set(REQUIRED.split()) <= set(log)
    json.dumps(answer, allow_nan=False).encode()


def test_nothing_to_read_is_told(tmp_path: Path) -> None:
    assert summarise([tmp_path])["logs"] == []
    with pytest.raises(NotFoundError, match="no such file or directory"):
        summarise([tmp_path / "nowhere"])


def test_an_empty_log_has_no_story(tmp_path: Path) -> None:
    log = logs_of(write_log(tmp_path / "launch_status.jsonl", []))["launch_status.jsonl"]
    assert (log["rows"], log["attempts"], log["terminal"], log["last_event"]) == (0, 0, "none", None)
    assert (log["family"], log["done"], log["first_time"]) == ("launcher", None, None)


def test_a_torn_last_line_is_pending_and_a_whole_one_counts(tmp_path: Path) -> None:
    path = write_log(tmp_path / "r" / "progress.jsonl", eval_rows("e", 2, 2))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    log = logs_of(tmp_path)["r/progress.jsonl"]
    assert (log["rows"], log["terminal"]) == (4, "complete")
    path.write_bytes(whole[:-10])
    log = logs_of(tmp_path)["r/progress.jsonl"]
    assert (log["rows"], log["bad_lines"], log["terminal"]) == (3, 0, "none")
    assert log["pending"] > 0


def test_the_run_is_named_by_its_rows_or_by_its_place(tmp_path: Path) -> None:
    write_log(tmp_path / "a" / "progress.jsonl", train_rows("named"))
    write_log(tmp_path / "b" / "training" / "progress.jsonl", [event("train_step", 1, global_step=1)])
    write_log(tmp_path / "runs" / "c" / "stages" / "train" / "progress.jsonl", [event("train_step", 1)])
    assert [log["run_id"] for log in logs_of(tmp_path).values()] == ["named", "b", "c"]


def test_the_original_of_copies_does_not_depend_on_order(tmp_path: Path) -> None:
    data = encode(train_rows("run"))
    for place in ("z/run", "a/other", "pkg/run/training"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "progress.jsonl").write_bytes(data)
    copies = {path: log["duplicate_of"] for path, log in logs_of(tmp_path).items()}
    original = "z/run/progress.jsonl"
    assert copies == {
        original: None,
        "a/other/progress.jsonl": original,
        "pkg/run/training/progress.jsonl": original,
    }


def test_equal_size_is_not_equal_content(tmp_path: Path) -> None:
    write_log(tmp_path / "a" / "progress.jsonl", train_rows("a"))
    write_log(tmp_path / "b" / "progress.jsonl", train_rows("b"))
    assert {log["duplicate_of"] for log in logs_of(tmp_path).values()} == {None}


def test_ranks_are_one_group_that_knows_who_is_missing(tmp_path: Path) -> None:
    for rank in (0, 2):
        rows = [
            event("eval_start", 1 + rank, run_id="fd", num_processes=3, process_index=rank),
            event("model_ready", 2, num_eval_samples=56),
            *(event("eval_step", 2 + i, index=i, loss=1.0) for i in (1, 20, 40, 56)),
            event("complete", 99, status="complete"),
        ]
        write_log(tmp_path / "fd" / f"progress_rank{rank}.jsonl", rows)
    (group,) = summarise([tmp_path])["groups"]
    assert (group["expected"], group["missing"], group["done"], group["total"]) == (3, [1], 112, None)
    assert (group["terminal"], group["first_time"], group["last_time"]) == ("none", 1, 99)


@pytest.mark.parametrize("layout", ["suffix", "facts", "ours"])
def test_shards_are_one_group_with_merged_progress(tmp_path: Path, layout: str) -> None:
    for shard, done in ((0, 5), (1, 3)):
        facts = {"sample_offset": shard, "sample_stride": 2} if layout == "facts" else {}
        run_id = f"e_shard{shard}" if layout == "suffix" else "e"
        place = f"runs/e/stages/eval/shards/{shard:02d}" if layout == "ours" else f"e_shard{shard}"
        write_log(tmp_path / place / "progress.jsonl", eval_rows(run_id, done, 5, **facts))
    (group,) = summarise([tmp_path])["groups"]
    assert (group["run_id"], group["kind"], group["done"], group["total"]) == ("e", "shards", 8, 10)
    assert group["terminal"] == "none"


def test_a_failed_part_fails_the_group(tmp_path: Path) -> None:
    for rank in (0, 1):
        name = "progress.jsonl" if rank == 0 else "progress.rank1.jsonl"
        end = event("failed", 9, error="x") if rank else event("complete", 9)
        write_log(tmp_path / "r" / name, [event("train_step", 1, run_id="r", global_step=1, loss=1.0), end])
    (group,) = summarise([tmp_path])["groups"]
    assert (len(group["paths"]), group["terminal"]) == (2, "failed")


def test_text_logs_and_what_was_not_read_are_listed(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_bytes(b"a\r50%\r100%\n")
    (tmp_path / "out.jsonl").symlink_to("/etc/hostname")
    answer = summarise([tmp_path])
    assert [(text["path"], text["lines"]) for text in answer["texts"]] == [("train.log", ["100%"])]
    assert answer["skipped"] == [{"path": "out.jsonl", "reason": "symbolic link that leaves the root"}]
