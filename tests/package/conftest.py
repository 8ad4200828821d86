"""A finished run's folders, small, as the stages publish them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from published_folders import Folders, write_folders


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return write_folders(tmp_path / "run")


def load(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(path.read_text())
    return record
