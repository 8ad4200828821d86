"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def published() -> Path:
    """The published files of the original project: `XOPS_PUBLISHED`, else beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data" / "published"
    found = Path(os.environ.get("XOPS_PUBLISHED") or beside)
    if not found.is_dir():
        pytest.skip(f"no published data at {found} (set XOPS_PUBLISHED)")
    return found


@pytest.fixture(autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the operator's own state directory."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
