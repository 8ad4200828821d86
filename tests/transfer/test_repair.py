"""`relay verify --repair`: a flipped bit is found, named by its chunk, and only that chunk is sent again."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openssh import Sshd
from stage_process import Events, Staging
from test_relay import generated_names, make_dataset

from pipeline.engine.config import DatasetConfig
from pipeline.engine.errors import BusyError
from pipeline.engine.runs import Request
from pipeline.hub.selection import read_selection
from pipeline.standin.hub import TOKEN, StandinHub, standin_hub
from pipeline.transfer.relay.check import RelayRun, Verified, check

CHUNK_MIB = 0.0078125  # 8 KiB


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandinHub]:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    make_dataset(tmp_path / "dataset", generated_names(2), 60_000)
    with standin_hub(tmp_path / "dataset") as server:
        yield server


@pytest.fixture
def relayed(hub: StandinHub, sshd: Sshd, tmp_path: Path) -> tuple[Staging, RelayRun]:
    """A relay that is done, and its run."""
    staging = Staging(hub, sshd, tmp_path)
    context, _ = staging.run(chunk_size_mib=CHUNK_MIB, chunk_threshold_mib=CHUNK_MIB)
    staging.check(context)
    context.run.root.mkdir(parents=True, exist_ok=True)
    context.run.request.touch()
    work = context.run.stage("relay").work
    shutil.copytree(staging.work, work, dirs_exist_ok=True)
    request = Request(
        run_id=context.run.run_id,
        recipe="relay",
        kind="pilot",
        created=0.0,
        stages=("relay",),
        dataset=DatasetConfig(endpoint=hub.endpoint),
    )
    selection = read_selection(staging.select / "selection.json")
    run = RelayRun(
        run=context.run, request=request, options=context.params, selection=selection, root=staging.relay
    )
    return staging, run


async def look(run: RelayRun, *, repair: bool = False, **options: Any) -> tuple[Verified, Events]:
    events = Events()
    found = await check(run, repair=repair, emit=events, cancel=threading.Event(), **options)
    return found, events


def flip(path: Path, at: int) -> None:
    """Change one bit, and nothing that a look at the directory would show."""
    state = path.stat()
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def largest(staging: Staging) -> Path:
    return max((p for p in staging.destination.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


async def test_one_flipped_bit_is_found_named_and_repaired(relayed: tuple[Staging, RelayRun]) -> None:
    staging, run = relayed
    damaged = largest(staging)
    flip(damaged, 5 * 8192 + 17)
    path = damaged.relative_to(staging.destination).as_posix()
    quick, _ = await look(run, trust=True)
    assert quick.differences == (), "only reading every byte shows it"
    found, events = await look(run)
    assert [(d.path, d.kind, d.chunks) for d in found.differences] == [(path, "content", (5,))]
    assert events.named("mismatch")[0]["file"] == path
    repaired, events = await look(run, repair=True)
    assert repaired.repaired == (path,)
    assert repaired.sent == 8192
    assert repaired.differences == ()
    assert '"verb": "repair"' in run.run.journal.read_text()
    again, _ = await look(run)
    assert again.differences == ()
    staging.check_files()


async def test_missing_short_and_strange_files_are_told_apart(relayed: tuple[Staging, RelayRun]) -> None:
    staging, run = relayed
    files = sorted(p for p in staging.destination.rglob("*") if p.is_file())
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:-1])
    stranger = staging.destination / "stranger"
    stranger.write_bytes(b"?")
    found, _ = await look(run)
    kinds = {d.path: d.kind for d in found.differences}
    assert kinds == {
        files[0].relative_to(staging.destination).as_posix(): "missing",
        files[1].relative_to(staging.destination).as_posix(): "size",
        "stranger": "extra",
    }
    repaired, _ = await look(run, repair=True)
    assert len(repaired.repaired) == 2
    assert [d.kind for d in repaired.differences] == ["extra"]
    assert stranger.exists(), "what is not wanted is named, never removed"
    stranger.unlink()
    staging.check_files()


async def test_nothing_is_repaired_while_the_relay_runs(relayed: tuple[Staging, RelayRun]) -> None:
    from pipeline.engine.claim import Claim
    from pipeline.transfer.relay.run import LOCK

    staging, run = relayed
    flip(largest(staging), 3)
    with Claim(run.root / LOCK, what="the relay root"), pytest.raises(BusyError):
        await look(run, repair=True)
