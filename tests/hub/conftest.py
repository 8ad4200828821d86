"""Listings made of nothing but numbers: sizes from a seeded generator, hashes from the path."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.hub import names
from pipeline.hub.listing import Listing, make_listing
from pipeline.hub.types import RemoteFile

REVISION = "0123456789abcdef0123456789abcdef01234567"


def remote_file(path: str, size: int) -> RemoteFile:
    return RemoteFile(path, size, hashlib.sha256(path.encode()).hexdigest())


def episode_files(path: str, annotation: int, video: int) -> Iterator[RemoteFile]:
    for name in names.EPISODE_FILES:
        yield remote_file(f"{path}/{name}", annotation if name == names.ANNOTATION else video)


def random_listing(sessions: int, seed: int = 0, *, most: int = 4) -> Listing:
    """`sessions` sessions of 1..`most` episodes; some have a viewer file, one more lacks a video."""
    pick = random.Random(seed)
    files = [remote_file("README.md", 100)]
    for index in range(sessions):
        session = f"{index:08d}-0000-4000-8000-000000000000"
        for number in range(1, pick.randint(1, most) + 1):
            path = f"{session}/ep{number}"
            files += episode_files(path, pick.randint(1_000, 2_000_000), pick.randint(100, 90_000))
            if pick.random() < 0.1:
                files.append(remote_file(f"{path}/{names.EXCLUDED_FILE}", 5_000_000))
    files += list(episode_files("incomplete/ep1", 10, 10))[:-1]
    return make_listing("acme/xp", REVISION, files)


@pytest.fixture
def listing() -> Listing:
    """200 sessions."""
    return random_listing(200)


class Events(list[tuple[str, dict[str, Any]]]):
    """An `Emit` that remembers."""

    def __call__(self, event: str, **fields: Any) -> None:
        self.append((event, fields))

    def named(self, event: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self if name == event]


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def real_selection(published: Path) -> Path:
    return published / "omni" / "xperience10m_128_episode_selection.json"
