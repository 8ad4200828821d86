"""One checkpoint and one dataset for all tests of the branch; none changes them."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from small import ACTIONS, make_dataset


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from pipeline.standin.qwen import write_tiny_checkpoint

    folder = tmp_path_factory.mktemp("model")
    write_tiny_checkpoint(folder, texts=[*ACTIONS, "Part 0", "Part 1", "kettle", "hammer", "tool wall"])
    return folder


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "dataset")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield
