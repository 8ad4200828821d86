"""The stand-in for a training host behaves like one, for as long as somebody uses it."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.standin.sshd import StandinSshd
from pipeline.transfer.errors import LoginRefusedError
from pipeline.transfer.outgoing import Outgoing
from pipeline.transfer.sender import Sender
from pipeline.transfer.ssh import SshTarget, connect

ROOT = Path(__file__).parents[2]


def target(server: StandinSshd, **changes: Any) -> SshTarget:
    login = server.login
    return SshTarget(
        **{"address": login.address, "key": login.key, "known_hosts": login.known_hosts, **changes}
    )


def quiet(event: str, **fields: Any) -> None:
    """No events are wanted."""


async def test_files_arrive_through_it(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number, size in enumerate((0, 10, 300_000, 3_000_000)):
        (source / f"file{number}").write_bytes(random.Random(number).randbytes(size))
    files = [Outgoing(path.name, path.stat().st_size) for path in sorted(source.iterdir())]
    async with StandinSshd(tmp_path / "sshd") as server:
        sender = Sender(
            target(server), str(tmp_path / "there"), work=tmp_path / "work", emit=quiet, chunk_bytes=1 << 18
        )
        async with sender:
            await sender.send(files, source)
    for path in source.iterdir():
        assert (tmp_path / "there" / path.name).read_bytes() == path.read_bytes()


async def test_a_command_answers_with_its_output_and_status(tmp_path: Path) -> None:
    async with StandinSshd(tmp_path / "sshd") as server, await connect(target(server)) as connection:
        done = await connection.run("cat; echo problem >&2; exit 7", input="given")
        assert (done.stdout, done.stderr, done.exit_status) == ("given", "problem\n", 7)


async def test_only_its_own_key_is_let_in(tmp_path: Path) -> None:
    async with StandinSshd(tmp_path / "one") as server, StandinSshd(tmp_path / "two") as other:
        with pytest.raises(LoginRefusedError):
            await connect(target(server, key=other.login.key))


async def test_keys_stay_the_same_and_are_nobody_elses(tmp_path: Path) -> None:
    async with StandinSshd(tmp_path / "sshd") as server:
        key = Path(server.login.key)
        first = key.read_bytes()
    async with StandinSshd(tmp_path / "sshd"):
        assert key.read_bytes() == first
    assert key.stat().st_mode & 0o077 == 0


def test_as_a_process_it_tells_its_login_and_ends_when_unused(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-P",
        "-m",
        "pipeline.standin.sshd",
        str(tmp_path / "sshd"),
        "--idle-exit",
        "0.3",
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert process.stdout
    told = json.loads(process.stdout.readline())
    assert told["address"].startswith("standin@127.0.0.1:")
    assert process.wait(60) == 0
