"""Running the real command in a process of its own, in a workspace of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from cli_process import Answer, Xops

TOYS = Path(__file__).parents[1] / "engine" / "toys"


@pytest.fixture
def xops(tmp_path: Path) -> Xops:
    """`xops("run", "ls", "--json")` in a fresh workspace whose stages are the engine tests' toys."""
    (tmp_path / "xops.toml").write_text('name = "lab"\n')
    environ = {
        **os.environ,
        "XOPS_REGISTRY": "toy_table:REGISTRY",
        "PYTHONPATH": str(TOYS),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "COLUMNS": "200",
    }

    def run(*arguments: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> Answer:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "console", *arguments],
            cwd=cwd or tmp_path,
            env={**environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Answer(done.returncode, done.stdout, done.stderr)

    return run
