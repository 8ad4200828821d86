"""Published rows, cut into shards and merged, give the published files and numbers again."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.evaluate.merge import issues, merge_shards, publish_merged
from pipeline.evaluate.rows import read_eval_rows
from pipeline.metrics.options import read_dataset_facts

RUNS = ["pkg/q1_valmon_eval/eval", "q2_json_v2_eval", "q4_json_v4_eval"]

#: What a run says of its own circumstances.
OWN = {"run_id", "shard_dirs", "coverage", "issues"}


@pytest.mark.parametrize("name", RUNS)
def test_merging_a_published_run_gives_its_published_files(
    published: Path, tmp_path: Path, name: str
) -> None:
    folder = published / "omni" / name
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").open()]
    write_dataset(tmp_path / "dataset.jsonl", rows)
    asked = read_eval_rows(tmp_path / "dataset.jsonl")
    merged = merge_shards([shard(tmp_path / str(k), rows[k::4]) for k in range(4)], asked)
    assert issues(merged) == []
    out = tmp_path / "merged"
    out.mkdir()
    metrics = publish_merged(
        merged,
        out,
        facts=read_dataset_facts(published / "omni" / "dataset_manifest.json"),
        asked=asked,
        run_id="again",
        shard_dirs=[],
        resamples=0,
        full_matrix=True,
        extra={},
    )
    stored = json.loads((folder / "metrics.json").read_text())
    shared = stored.keys() & metrics.keys() - OWN
    assert {key: metrics[key] for key in shared} == {key: stored[key] for key in shared}
    assert len(shared) >= 17
    assert {key: stored["coverage"][key] for key in stored.get("coverage", ())} == {
        key: metrics["coverage"][key] for key in stored.get("coverage", ())
    }
    for table in ("predictions.csv", "per_class_metrics.csv", "confusion_matrix.csv"):
        if (folder / table).exists():
            assert cells(out / table) == cells(folder / table), table


def cells(path: Path) -> list[list[str]]:
    """A table without its line ends, which version control has changed in some published ones."""
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))


def write_dataset(path: Path, rows: list[dict[str, Any]]) -> None:
    keys = ("id", "split", "episode_id", "center_window")
    asked = [{key: row[key] for key in keys} | {"answer_json": row["true_json"]} for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in asked))


def shard(home: Path, rows: list[dict[str, Any]]) -> Path:
    folder = home / "out"
    folder.mkdir(parents=True)
    (folder / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder
