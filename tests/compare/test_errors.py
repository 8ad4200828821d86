"""Error tables: the published ones to the digit, and what is worth a look."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import msgspec
import pytest

from console.cli.analyze import analyze
from pipeline.compare.errors import analyse
from pipeline.compare.evidence import of_path


def test_the_published_tables_are_reproduced(published: Path, tmp_path: Path) -> None:
    package = published / "omni" / "pkg" / "q1_valmon_eval"
    if not (package / "analysis").is_dir():
        pytest.skip(f"no {package / 'analysis'}")
    found = analyse(of_path(package))
    summary = json.loads((package / "analysis" / "error_analysis_summary.json").read_text())
    assert msgspec.to_builtins(found.overall) == summary["computed"]
    theirs = {
        row["group"]: row
        for row in csv.DictReader((package / "analysis" / "episode_error_analysis.csv").open())
    }
    assert {group.group for group in found.episodes} == theirs.keys()
    for group in found.episodes:
        for name, value in msgspec.to_builtins(group).items():
            told = theirs[group.group][name]
            assert told == value if name == "group" else float(told) == value, (group.group, name)
    seen = {group["group"]: group for group in summary["train_seen_groups"]}
    assert {g.group: msgspec.to_builtins(g) for g in found.train_seen} == seen
    assert [e.id for e in found.overgenerated] == [e["id"] for e in summary["object_overgeneration_examples"]]
    assert len(found.invalid) == 12


def test_tables_are_written_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {
            "id": f"r{n}",
            "split": "test",
            "episode_id": f"s{n % 2}__ep1",
            "true_label": "cut | bread\x1b[31m",
            "raw_prediction": "not JSON" if n == 0 else json.dumps({"action": "cut", "objects": ["a"] * 25}),
            "true_json": {"action": "cut | bread\x1b[31m", "objects": ["a"]},
        }
        for n in range(4)
    ]
    path = tmp_path / "predictions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    analyze(str(path), out=tmp_path / "out", json=False)
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert "not valid: r0" in told
    assert "too many objects: r1" in told
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "ERROR_ANALYSIS.md",
        "action_family_error_analysis.csv",
        "episode_error_analysis.csv",
        "error_analysis_summary.json",
        "object_name_error_analysis.csv",
        "train_seen_error_analysis.csv",
    ]
    assert "\x1b" not in (tmp_path / "out" / "ERROR_ANALYSIS.md").read_text()
    analyze(str(path), out=None, json=True)
    assert json.loads(capsys.readouterr().out)["overall"]["samples"] == 4
