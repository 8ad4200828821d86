"""A run is frozen when it is made, and says clearly what is wrong with a request."""

from __future__ import annotations

import json
import stat
import tomllib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.config import DatasetConfig, WorkspaceConfig
from pipeline.engine.errors import ConfigError, NotFoundError, UsageError
from pipeline.engine.paths import RunPaths, WorkspacePaths
from pipeline.engine.registry import Recipe, Registry, StageSpec, load_registry
from pipeline.engine.runs import create_run, list_runs, load_request, new_run_id
from pipeline.engine.toml import dump


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Parameters of the only stage; this very module plays the stage's."""

    learning_rate: float = 1e-4
    steps: int = 100
    note: str | None = None
    seed: int = 3


REGISTRY = Registry(
    stages={
        name: StageSpec(name=name, summary="", module=__name__, shards=name == "eval")
        for name in ("train", "eval")
    },
    recipes={
        "lora": Recipe(name="lora", summary="", stages=("train", "eval"), params={"train": {"steps": 7}})
    },
)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WorkspacePaths:
    monkeypatch.setitem(
        __import__("sys").modules, __name__, __import__("types").SimpleNamespace(Params=Params)
    )
    (tmp_path / "xops.toml").write_text("")
    return WorkspacePaths(tmp_path)


def create(workspace: WorkspacePaths, **more: object) -> RunPaths:
    config = WorkspaceConfig(dataset=DatasetConfig(revision="abc"), defaults={"train": {"seed": 11}})
    return create_run(workspace, REGISTRY, config, **{"recipe": "lora", **more})


def test_every_parameter_is_frozen_with_its_default(workspace: WorkspacePaths) -> None:
    run = create(workspace, params={"train": {"learning_rate": 0.5}}, shards={"eval": 4}, by="ann@x")
    assert stat.S_IMODE(run.request.stat().st_mode) == 0o444
    request = load_request(run)
    assert request.params["train"] == {"learning_rate": 0.5, "steps": 7, "seed": 11}
    assert (request.run_id, request.by, request.shards) == (run.run_id, "ann@x", {"eval": 4})
    assert request.dataset.revision == "abc"
    assert request.stage_params(REGISTRY.stage("train")) == Params(learning_rate=0.5, steps=7, seed=11)
    resolved = json.loads(run.resolved.read_text())
    assert resolved["seeds"] == {"train": 11, "eval": 3}
    assert resolved["packages"]["msgspec"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"params": {"train": {"learning_rat": 1}}},
            r"train has no parameter learning_rat \(did you mean learning_rate",
        ),
        ({"params": {"train": {"steps": "many"}}}, r"parameters of train: .*int.*steps"),
        ({"params": {"trian": {}}}, "no stage 'trian'"),
        ({"recipe": "lara"}, "no recipe 'lara'"),
        ({"kind": "serious"}, "no run kind 'serious'"),
        ({"shards": {"train": 2}}, "cannot be split"),
        ({"shards": {"eval": 0}}, "1 to 1000"),
        ({"source": "nope"}, "no run 'nope'"),
        ({"source": "../evil"}, "not usable"),
    ],
)
def test_a_wrong_request_is_refused_and_leaves_nothing(
    workspace: WorkspacePaths, asked: dict[str, object], message: str
) -> None:
    with pytest.raises((ConfigError, NotFoundError, UsageError), match=message):
        create(workspace, **asked)
    assert workspace.list_runs() == []


def test_a_run_made_from_another_keeps_its_parameters(workspace: WorkspacePaths) -> None:
    first = create(workspace, params={"train": {"steps": 1, "seed": 5}})
    second = load_request(create(workspace, recipe="", source=first.run_id, params={"train": {"steps": 2}}))
    assert second.source == first.run_id
    assert second.recipe == "lora"
    assert second.params["train"] == {"learning_rate": 1e-4, "steps": 2, "seed": 5}


def test_a_run_of_a_newer_version_is_listed_but_not_touched(workspace: WorkspacePaths) -> None:
    run = create(workspace)
    run.request.chmod(0o644)
    run.request.write_text(run.request.read_text().replace("schema = 1", "schema = 2\nbrand_new = true"))
    with pytest.raises(UsageError, match="made by a newer xops") as error:
        load_request(run)
    assert "upgrade" in error.value.hint
    (summary,) = list_runs(workspace)
    assert (summary.run_id, summary.request) == (run.run_id, None)
    assert "newer xops" in summary.problem


@pytest.mark.parametrize("content", [b"", b"= 1", b"\xff", b"schema = 1\nrecipe = 3", b"schema = 'x'"])
def test_a_damaged_request_is_listed_with_the_reason(workspace: WorkspacePaths, content: bytes) -> None:
    run = create(workspace)
    run.request.chmod(0o644)
    run.request.write_bytes(content)
    (summary,) = list_runs(workspace)
    assert summary.request is None
    assert "run.toml" in summary.problem


def test_ids_are_safe_names_that_sort_by_time() -> None:
    run_id = new_run_id("My Run: ../../etc; \x1b[31m" + "x" * 200)
    assert WorkspacePaths(Path("/w")).run(run_id).run_id == run_id
    assert new_run_id("a") != new_run_id("a")


def test_a_table_that_is_not_there_is_named() -> None:
    with pytest.raises(NotFoundError, match=r"no table of stages at no\.such:REGISTRY"):
        load_registry("no.such:REGISTRY")
    with pytest.raises(NotFoundError, match="is not a table"):
        load_registry("json:dumps")


SCALARS = st.text() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
TABLES = st.recursive(
    st.dictionaries(st.text(), SCALARS | st.lists(SCALARS, max_size=3), max_size=4),
    lambda inner: st.dictionaries(st.text(), SCALARS | inner | st.lists(inner, max_size=2), max_size=4),
    max_leaves=10,
)


@given(TABLES)
def test_what_is_written_as_toml_reads_back(table: dict[str, object]) -> None:
    assert tomllib.loads(dump(table)) == table


def test_toml_refuses_what_it_cannot_hold() -> None:
    with pytest.raises(ConfigError, match=r"a\.b: set has no TOML form"):
        dump({"a": {"b": {1}}})
    assert dump({"a": None, "b": 1}) == "b = 1\n"
