"""Shards put together: in any pieces the same evaluation, and nothing that is not one passes the gate."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from by_rule import Rule, shard_of, write_dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine.context import StageContext, loose_context
from pipeline.engine.errors import UsageError
from pipeline.stages.merge import Params, run

Row = dict[str, Any]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def rows(root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """All rows, one of them without an answer and one with a wrong one."""
    work = tmp_path_factory.mktemp("work")
    found = shard_of(root, work, 0, 1, Rule(broken=("test:5",)), lambda event, **fields: None).run()
    found[7] |= {"raw_prediction": '{"action": "cut"', "pred_json": {}}
    return found


def merge(root: Path, home: Path, shards: Sequence[Sequence[Row]], **params: Any) -> StageContext:
    """The stage, run on shards of these rows."""
    folders = []
    for index, part in enumerate(shards):
        folder = home / f"{index:02d}" / "out"
        folder.mkdir(parents=True)
        (folder / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
        about = {"split": "test", "limit": 0, "identity_parts": {"adapter": "a"}, "labels": "train"}
        (folder / "shard.json").write_text(json.dumps(about))
        folders.append(folder)
    context = loose_context(home / "w", Params(bootstrap=20, **params))
    context.upstreams = {"export": (root,), "eval": tuple(folders)}
    run(context)
    return context


def failing(context: StageContext) -> set[str]:
    return {check.name for check in context.checks if not check.ok}


def metrics(context: StageContext) -> dict[str, Any]:
    return json.loads((context.out / "metrics.json").read_text())


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_in_whatever_pieces_and_order_it_is_the_same_evaluation(
    root: Path, rows: list[Row], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(rows))
    places = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    pieces = [[row for row, place in zip(shuffled, places, strict=True) if place == k] for k in range(4)]
    whole = merge(root, tmp_path_factory.mktemp("whole"), [rows], max_error_share=0.1)
    split = merge(root, tmp_path_factory.mktemp("split"), pieces, max_error_share=0.1)
    assert failing(split) == set()
    same = {"predictions.jsonl", "predictions.csv", "per_class_metrics.csv", "confusion_matrix.csv"}
    assert {path.name for path in split.out.iterdir()} == same | {"metrics.json"}
    for name in same:
        assert (split.out / name).read_bytes() == (whole.out / name).read_bytes()
    assert metrics(split) | {"shard_dirs": []} == metrics(whole) | {"shard_dirs": []}


def test_an_error_is_a_wrong_answer_with_a_name_and_closes_the_gate(
    root: Path, rows: list[Row], tmp_path: Path
) -> None:
    context = merge(root, tmp_path, [rows])
    found = metrics(context)
    assert failing(context) == {"rows_answered"}
    assert found["error_rows"] == ["test:5"]
    assert found["json_validity_rate"] == 22 / 24
    assert found["coverage"]["missing_prediction_rows"] == 0
    assert found["partial"] is False


def test_a_part_of_the_rows_is_marked_as_one_and_closes_the_gate(
    root: Path, rows: list[Row], tmp_path: Path
) -> None:
    context = merge(root, tmp_path, [rows[:10], []], max_error_share=1.0)
    assert failing(context) == {"nothing_missing"}
    assert metrics(context)["partial"] is True
    assert metrics(context)["coverage"]["missing_prediction_rows"] == 14


Spoil = Callable[[list[Row]], list[Row]]


@pytest.mark.parametrize(
    ("spoil", "check"),
    [
        (lambda rows: [rows[0]], "nothing_twice"),
        (lambda rows: [rows[0] | {"raw_prediction": "another"}], "nothing_twice"),
        (lambda rows: [rows[0] | {"id": "nobody"}], "only_what_was_asked"),
        (lambda rows: [rows[0] | {"id": "train:1"}], "only_what_was_asked"),
    ],
    ids=["twice", "twice-and-different", "unknown", "train"],
)
def test_rows_that_do_not_belong_close_the_gate(
    root: Path, rows: list[Row], tmp_path: Path, spoil: Spoil, check: str
) -> None:
    context = merge(root, tmp_path, [rows, spoil(rows)], max_error_share=1.0)
    assert failing(context) == {check}
    assert len(metrics(context)["issues"]) == 1
    assert metrics(context)["coverage"]["merged_prediction_rows"] == 24


def test_shards_of_two_prompts_are_no_evaluation(root: Path, rows: list[Row], tmp_path: Path) -> None:
    other = [row | {"identity": "of another prompt"} for row in rows[12:]]
    context = merge(root, tmp_path, [rows[:12], other], max_error_share=1.0)
    assert failing(context) == {"one_model"}
    assert metrics(context)["identity"] is None


def test_no_rows_at_all_is_an_error(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no shard has a prediction"):
        merge(root, tmp_path, [[], []])


def test_the_matrix_is_sparse_unless_it_is_to_be_the_originals(
    root: Path, rows: list[Row], tmp_path: Path
) -> None:
    def labels(name: str, **params: Any) -> list[str]:
        context = merge(root, tmp_path / name, [rows], **params)
        return next(csv.reader((context.out / "confusion_matrix.csv").open()))[1:]

    manifest = json.loads((root / "dataset_manifest.json").read_text())
    wide = write_dataset(tmp_path / "wide")
    manifest["action_options"] += ["never said"]
    (wide / "dataset_manifest.json").write_text(json.dumps(manifest))
    root = wide
    assert "never said" not in labels("sparse")
    assert "never said" in labels("full", full_matrix=True)
