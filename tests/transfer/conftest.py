"""Servers for the transfer tests, started and stopped by fixtures."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from openssh import Sshd


@pytest.fixture
def new_sshd(tmp_path: Path) -> Iterator[Callable[..., Sshd]]:
    """Start servers with extra settings; all are stopped afterwards."""
    if not (shutil.which("sshd") or Path("/usr/sbin/sshd").exists()):
        pytest.skip("no OpenSSH server is installed (Debian: apt-get install openssh-server)")
    Path("/run/sshd").mkdir(parents=True, exist_ok=True)
    started: list[Sshd] = []

    def start(*settings: str) -> Sshd:
        server = Sshd(tmp_path / f"sshd{len(started)}", *settings)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def sshd(new_sshd: Callable[..., Sshd]) -> Sshd:
    """A server with nothing special about it."""
    return new_sshd()
