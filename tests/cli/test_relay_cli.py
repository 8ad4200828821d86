"""`xops relay`, typed as an operator types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_process import Answer, Xops

from pipeline.engine.config import WorkspaceConfig
from pipeline.engine.paths import RunPaths, WorkspacePaths
from pipeline.engine.runs import create_run
from pipeline.stages.table import REGISTRY


@pytest.fixture
def real_selection(published: Path) -> str:
    return str(published / "omni" / "xperience10m_128_episode_selection.json")


@pytest.fixture
def real(xops: Xops) -> Xops:
    """The command with the product's own stages instead of the toys."""

    def run(*arguments: str) -> Answer:
        return xops(*arguments, env={"XOPS_REGISTRY": "pipeline.stages.table:REGISTRY"})

    return run


@pytest.fixture
def run(real: Xops, tmp_path: Path) -> RunPaths:
    """A run of recipe relay that nobody started."""
    (tmp_path / "runs").mkdir(exist_ok=True)
    return create_run(WorkspacePaths(tmp_path), REGISTRY, WorkspaceConfig(), recipe="relay")


def test_the_plan_of_the_real_selection_needs_no_token_and_no_network(
    real: Xops, real_selection: str
) -> None:
    answer = real("relay", "plan", "--selection", real_selection, "--json")
    plan = answer.data
    assert [len(batch["episodes"]) for batch in plan["batches"]] == [16] * 8
    assert (plan["files"], plan["bytes"]) == (896, 298_189_759_263)
    seeds = ("--batch-max-gib", "40", "--batch-max-episodes", "16", "--transfer-mode", "chunked")
    more = (
        "--chunk-parallel",
        "8",
        "--chunk-size-mib",
        "8",
        "--chunk-threshold-mib",
        "8",
        "--delete-after-transfer",
    )
    dry = real("relay", "run", "--selection-json", real_selection, *seeds, *more, "--dry-run", "--json")
    assert json.loads(dry.out)["plan"]["batches"] == plan["batches"]


def test_an_episode_is_explained(real: Xops, real_selection: str) -> None:
    episode = json.loads(Path(real_selection).read_text())["selected_episodes"][0]["episode_path"]
    answer = real("relay", "explain", episode, "--selection", real_selection)
    assert f"{episode}: selected: rank 1" in answer.out


def test_a_key_is_made_once_and_its_private_half_never_shown(real: Xops, tmp_path: Path) -> None:
    path = tmp_path / "keys" / "relay"
    first = json.loads(real("relay", "key", "--path", str(path), "--json").out)
    again = json.loads(real("relay", "key", "--path", str(path), "--json").out)
    assert (first["created"], again["created"]) == (True, False)
    assert first["public_line"] == again["public_line"]
    assert "PRIVATE" not in real("relay", "key", "--path", str(path)).out


def test_limits_are_kept_shown_and_journalled(real: Xops, run: RunPaths) -> None:
    changed = real(
        "relay", "limit", run.run_id, "--pause", "transfer", "--lanes", "3", "--bandwidth-mib", "20"
    )
    assert "paused: transfer" in changed.out
    shown = json.loads(real("relay", "limit", run.run_id, "--json").out)
    assert (shown["lanes"], shown["transfer_paused"], shown["bandwidth_mib_per_s"]) == (3, True, 20.0)
    real("relay", "limit", run.run_id, "--continue", "all", "--retry", "s/ep1/a:4")
    shown = json.loads(real("relay", "limit", run.run_id, "--json").out)
    assert not shown["transfer_paused"]
    assert (shown["retry"][0]["file"], shown["retry"][0]["chunk"]) == ("s/ep1/a", 4)
    assert run.journal.read_text().count('"verb": "limit"') == 2


def test_nonsense_is_refused_with_the_way_out(real: Xops, run: RunPaths) -> None:
    for options, told in (
        (("--lanes", "0"), "connections make no sense"),
        (("--pause", "everything"), "no side of a relay"),
        (("--bandwidth-mib", "-1"), "makes no sense"),
    ):
        answer = real("relay", "limit", run.run_id, *options)
        assert answer.code == 2
        assert told in answer.err
    stranger = real("relay", "limit", run.run_id, "--stage", "transfer", "--lanes", "2")
    assert "has no stage 'transfer'" in stranger.err
    assert not run.stage("transfer").root.exists()
    nothing = real("relay", "verify", run.run_id)
    assert "has selected nothing yet" in nothing.err
    before = real("relay", "status", run.run_id)
    assert "the relay has not begun" in before.out
