"""A real terminal for whole programs, and the helper modules beside these tests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from pseudo_terminal import Terminal


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Start `programs/<name>.py` with arguments in a terminal of its own; killed after the test."""
    started: list[Terminal] = []

    def start(name: str, *arguments: str, **options: Any) -> Terminal:
        script = Path(__file__).parent / "programs" / f"{name}.py"
        env = {"XDG_STATE_HOME": str(tmp_path / "state"), **options.pop("env", {})}
        started.append(Terminal([sys.executable, str(script), *arguments], env=env, **options))
        return started[-1]

    yield start
    for terminal in started:
        terminal.close()
