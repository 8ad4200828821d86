"""Two evaluations side by side: what is more than chance, and what may not be compared."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from console.cli.compare import compare as verb
from pipeline.compare.compare import Comparison, compare
from pipeline.compare.evidence import of_path
from pipeline.engine.errors import NotFoundError, UsageError

ACTIONS = ("cut bread", "pour water", "wipe bench")


def rows(right: float, *, seed: int = 0, count: int = 240, contact: str = "yes") -> list[dict[str, Any]]:
    """Rows of twelve episodes whose action is right with a probability."""
    pick = random.Random(seed)
    made = []
    for index in range(count):
        true = {"action": ACTIONS[index % 3], "subtask": "s", "objects": ["pan"], "contact": "yes",
                "transition": "no", "next_action": "unknown", "evidence_window": {}}  # fmt: skip
        action = true["action"] if pick.random() < right else "something else"
        made.append(
            {
                "id": f"r{index}",
                "split": "test",
                "episode_id": f"session{index % 12}__ep1",
                "true_label": true["action"],
                "raw_prediction": json.dumps(true | {"action": action, "contact": contact}),
                "true_json": true,
                "true_label_seen_in_train": int(index % 3 > 0),
            }
        )
    return made


def side(folder: Path, made: list[dict[str, Any]], **meta: Any) -> Path:
    (folder / "eval").mkdir(parents=True)
    (folder / "eval" / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))
    (folder / "eval" / "metrics.json").write_text(json.dumps({"labels": list(ACTIONS)}))
    (folder / "training").mkdir()
    (folder / "training" / "training_metadata.json").write_text(json.dumps(meta))
    return folder


def found(tmp_path: Path, a: list[dict[str, Any]], b: list[dict[str, Any]], **options: Any) -> Comparison:
    return compare(
        of_path(side(tmp_path / "a", a)), of_path(side(tmp_path / "b", b)), resamples=300, **options
    )


def metric(result: Comparison, name: str) -> Any:
    return next(one for one in result.metrics if one.name == name)


def test_a_real_gain_is_better_and_noise_is_a_tie(tmp_path: Path) -> None:
    gain = metric(found(tmp_path / "x", rows(0.4), rows(0.8)), "accuracy")
    assert gain.verdict == "better"
    assert gain.low > 0
    assert gain.delta == pytest.approx(gain.b - gain.a)
    noise = metric(found(tmp_path / "y", rows(0.6, seed=1), rows(0.6, seed=2)), "accuracy")
    assert noise.verdict == "tie"
    assert noise.low < 0 < noise.high
    worse = metric(found(tmp_path / "z", rows(0.9), rows(0.9, contact="no")), "contact_accuracy")
    assert worse.verdict == "worse"
    assert worse.baseline == 1.0, "and a constant answer would have been right"


def test_a_comparison_with_itself_is_all_ties(tmp_path: Path) -> None:
    result = found(tmp_path, rows(0.5), rows(0.5))
    assert {one.delta for one in result.metrics if one.delta is not None} == {0.0}
    assert result.flips == ()
    assert all(one.a == one.b for one in result.slices)


def test_flips_count_what_was_gained_and_lost(tmp_path: Path) -> None:
    before, after = rows(1.0, count=24), rows(1.0, count=24)
    for index, row in enumerate(after[:5]):
        answer = json.loads(row["raw_prediction"])
        row["raw_prediction"] = json.dumps(answer | {"action": "nonsense"}) if index else "not JSON"
    result = found(tmp_path, before, after)
    assert result.lost["action"] == 5
    assert result.lost["contact"] == 1
    assert result.gained == {}
    assert result.flips[0].true == ACTIONS[0]


def test_slices_show_where_it_changed(tmp_path: Path) -> None:
    after = rows(1.0)
    for row in after:
        if row["true_label_seen_in_train"] == 0:
            row["raw_prediction"] = "{}"
    result = found(tmp_path, rows(1.0), after)
    unseen = next(one for one in result.slices if (one.by, one.name) == ("seen in train", "unseen"))
    assert (unseen.rows, unseen.a, unseen.b) == (80, 1.0, 0.0)
    family = next(one for one in result.slices if (one.by, one.name) == ("action family", "cut"))
    assert family.b == 0.0


def test_other_questions_other_truths_and_other_contracts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no question in common"):
        found(tmp_path / "a", rows(1.0), [row | {"id": "x" + row["id"]} for row in rows(1.0)])
    with pytest.raises(UsageError, match="another true label"):
        found(tmp_path / "b", rows(1.0), [row | {"true_label": "else"} for row in rows(1.0)])
    with pytest.raises(UsageError, match="200 of them in common"):
        found(tmp_path / "c", rows(1.0), rows(1.0)[:200])
    assert found(tmp_path / "d", rows(1.0), rows(1.0)[:200], common=True).rows == 200
    one, other = (
        of_path(side(tmp_path / name, rows(1.0), backbone={"dataset_contract": name})) for name in ("e", "f")
    )
    with pytest.raises(UsageError, match="answers e"):
        compare(one, other)
    with pytest.raises(NotFoundError):
        of_path(tmp_path)


def test_settings_that_differ_are_listed_and_places_are_not(tmp_path: Path) -> None:
    one = side(tmp_path / "a", rows(1.0), settings={"lora_r": 16, "epochs": 1, "model_dir": "/x"})
    other = side(
        tmp_path / "b", rows(1.0), settings={"lora_r": 64, "epochs": 1, "model_dir": "/y"}, run_kind="smoke"
    )
    result = compare(of_path(one), of_path(other), resamples=0)
    assert result.settings == {"lora_r": (16, 64)}
    assert not result.results, "a smoke run is no result"
    assert all(one.verdict == "unknown" for one in result.metrics)


def test_the_published_runs_differ_by_less_than_chance(published: Path) -> None:
    one, other = (published / "omni" / name for name in ("q2_json_v2_eval", "q4_json_v4_eval"))
    result = compare(of_path(one), of_path(other))
    assert result.rows == 448
    assert {one.verdict for one in result.metrics} == {"tie"}
    assert metric(result, "transition_accuracy").b == metric(result, "transition_accuracy").baseline


def test_the_verb_takes_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = side(tmp_path / "a", rows(0.3)), side(tmp_path / "b", rows(0.9), run_kind="overfit")
    verb(str(one), str(other), common=False, bootstrap=200, json=False)
    told = capsys.readouterr().out
    assert "NOT RESULTS" in told
    assert "better" in told
    verb(str(one), str(other), common=False, bootstrap=0, json=True)
    assert json.loads(capsys.readouterr().out)["rows"] == 240
