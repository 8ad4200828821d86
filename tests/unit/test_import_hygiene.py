"""What each entry point may import: proved in processes of their own, by what is loaded afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ["torch", "transformers", "peft", "h5py", "av", "numpy"]
INTERFACE = ["textual", "rich"]
NETWORK = ["asyncssh", "aiohttp", "huggingface_hub"]


def loaded_after(code: str, cwd: Path) -> set[str]:
    report = (
        "\nimport sys, json\nsys.stdout.write('\\n' + json.dumps([m.split('.')[0] for m in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code + report], cwd=cwd, capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "xops.toml").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        ["run", "ls", "--json"],
        ["run", "new", "demo", "--json"],
        ["config", "show", "--json"],
        ["spec", "--json"],
        ["handover", "--json"],
    ],
)
def test_headless_verbs_stay_light(workspace: Path, command: list[str]) -> None:
    code = (
        "import sys\nfrom console.cli import _main\nfrom console.diagnostics import guarded\n"
        f"sys.argv = ['xops', *{command!r}]\nguarded(_main)"
    )
    loaded = loaded_after(code, workspace)
    assert not loaded & {*HEAVY, *INTERFACE, *NETWORK}


def test_the_supervisor_needs_only_the_standard_library(workspace: Path) -> None:
    loaded = loaded_after("import pipeline.engine.supervise", workspace)
    assert not loaded & {"msgspec", *HEAVY, *INTERFACE, *NETWORK}


def test_the_engine_imports_no_interface_and_nothing_heavy(workspace: Path) -> None:
    loaded = loaded_after(
        "import pipeline.engine.operations, pipeline.engine.watch, pipeline.engine.follow", workspace
    )
    assert not loaded & {*HEAVY, *INTERFACE, *NETWORK}


def test_stage_modules_are_light_until_they_run(workspace: Path) -> None:
    code = "from pipeline.stages.table import REGISTRY\n[s.params_type() for s in REGISTRY.stages.values()]"
    assert not loaded_after(code, workspace) & {*HEAVY, *INTERFACE, *NETWORK}
