"""Downloads: every byte proved, no verified chunk fetched twice, every failure named."""

import asyncio
import errno
import hashlib
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.errors import (
    CancelledByOperatorError,
    DamagedFileError,
    DiskFullError,
    NoPermissionError,
    NotFoundError,
    UnreachableError,
    UsageError,
)
from pipeline.hub.download import FetchResult, Retry, fetch
from pipeline.hub.journal import PartFile, temporaries
from pipeline.hub.source import HubSource, TransientError, retry_after
from pipeline.hub.types import RemoteFile
from pipeline.standin.faults import Fault
from pipeline.standin.hub import REPO_ID, TOKEN, StandinHub, standin_hub
from tests.hub.conftest import Events

PATH = "11111111-0000-4000-8000-000000000000/ep3/annotation.hdf5"
CHUNK = 64 << 10
SIZE = 10 * CHUNK + 1234
FAST = Retry(attempts=4, base_s=0.001, cap_s=0.01)


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    root = tmp_path / "dataset"
    (root / PATH).parent.mkdir(parents=True)
    (root / PATH).write_bytes(random.Random(1).randbytes(SIZE))
    (root / "README.md").write_bytes(b"# hello\n")
    return root


@pytest.fixture
async def hub(dataset: Path) -> AsyncIterator[StandinHub]:
    async with StandinHub(dataset) as server:
        yield server


def remote(hub: StandinHub, path: str = PATH) -> RemoteFile:
    entry = hub.repository.by_path[path]
    return RemoteFile(path, entry.size, entry.sha256 if entry.lfs else None)


async def get(
    hub: StandinHub, destination: Path, events: Events, file: RemoteFile | None = None, **options: object
) -> FetchResult:
    stall = float(str(options.pop("stall_s", 5.0)))
    async with HubSource(REPO_ID, hub.repository.commit, endpoint=hub.endpoint, stall_s=stall) as source:
        return await fetch(
            file or remote(hub),
            destination,
            source=source,
            emit=events,
            chunk_size=CHUNK,
            retry=FAST,
            **options,  # type: ignore[arg-type]
        )


def served(hub: StandinHub) -> int:
    """Chunk requests that reached storage."""
    return sum(request.path.startswith("/storage/") for request in hub.requests)


def nothing_left(destination: Path) -> bool:
    return [path.name for path in destination.parent.iterdir()] in ([], [destination.name])


async def test_a_file_arrives_whole(hub: StandinHub, dataset: Path, tmp_path: Path, events: Events) -> None:
    destination = tmp_path / "out" / "annotation.hdf5"
    result = await get(hub, destination, events)
    assert destination.read_bytes() == (dataset / PATH).read_bytes()
    assert result.sha256 == hashlib.sha256((dataset / PATH).read_bytes()).hexdigest()
    assert (result.received, result.kept, result.retries) == (SIZE, 0, 0)
    assert served(hub) == 11
    assert nothing_left(destination)
    chunks = events.named("chunk_downloaded")
    assert sorted(event["chunk"] for event in chunks) == list(range(11))
    assert chunks[-1]["done"] == chunks[-1]["total"] == 11
    assert events[0][0] == "download_start"
    assert events[-1][0] == "download_done"


async def test_a_finished_file_is_not_fetched_again(hub: StandinHub, tmp_path: Path, events: Events) -> None:
    destination = tmp_path / "x"
    await get(hub, destination, events)
    before = len(hub.requests)
    again = await get(hub, destination, events)
    assert (again.received, again.kept) == (0, SIZE)
    assert len(hub.requests) == before


async def test_a_damaged_finished_file_is_replaced(
    hub: StandinHub, dataset: Path, tmp_path: Path, events: Events
) -> None:
    destination = tmp_path / "x"
    destination.write_bytes(b"\0" * SIZE)
    await get(hub, destination, events)
    assert destination.read_bytes() == (dataset / PATH).read_bytes()


@pytest.mark.parametrize("how", ["close", "reset", "stall", "short"])
async def test_a_broken_body_costs_one_chunk(
    hub: StandinHub, dataset: Path, tmp_path: Path, events: Events, how: str
) -> None:
    hub.faults.add(msgspec.convert({"how": how, "path": PATH, "at": 3 * CHUNK + 100}, Fault))
    destination = tmp_path / "x"
    result = await get(hub, destination, events, stall_s=0.3)
    assert destination.read_bytes() == (dataset / PATH).read_bytes()
    assert result.retries == 1
    assert result.received <= SIZE + CHUNK
    [retried] = events.named("download_retry")
    assert retried["chunk"] == 3
    assert retried["reason"] == {"stall": "stalled", "short": "truncated"}.get(how, "disconnected")


async def test_a_flipped_byte_is_found_and_fetched_again(
    hub: StandinHub, dataset: Path, tmp_path: Path, events: Events
) -> None:
    hub.faults.add(Fault("flip", PATH, at=5 * CHUNK))
    destination = tmp_path / "x"
    result = await get(hub, destination, events)
    assert destination.read_bytes() == (dataset / PATH).read_bytes()
    assert result.received == 2 * SIZE
    assert len(events.named("download_mismatch")) == 1


async def test_wrong_bytes_twice_are_an_error_that_says_whose(
    hub: StandinHub, tmp_path: Path, events: Events
) -> None:
    destination = tmp_path / "out" / "x"
    for at in (7, 7):
        hub.faults.add(Fault("flip", PATH, at=at))
    with pytest.raises(DamagedFileError, match="Hub has other bytes"):
        await get(hub, destination, events)
    for at in (7, 8):
        hub.faults.add(Fault("flip", PATH, at=at))
    with pytest.raises(DamagedFileError, match="connection damages bytes"):
        await get(hub, destination, events, parallel=1)
    assert nothing_left(destination)


@pytest.mark.parametrize("seed", range(12))
async def test_any_mix_of_failures_ends_in_the_right_bytes(
    hub: StandinHub, dataset: Path, tmp_path: Path, events: Events, seed: int
) -> None:
    pick = random.Random(seed)
    for _ in range(pick.randint(1, 8)):
        how = pick.choice(["close", "reset", "short", "stall", None])
        status = pick.choice([429, 500, 502, 503])
        at = pick.randrange(SIZE)
        hub.faults.add(msgspec.convert({"how": how, "path": PATH, "at": at, "status": status}, Fault))
    if pick.random() < 0.5:
        hub.faults.add(Fault("flip", PATH, at=pick.randrange(SIZE)))
    destination = tmp_path / "out" / "x"
    for _ in range(4):  # a chunk that meets more failures than it has tries ends one call, not the file
        try:
            await get(hub, destination, events, stall_s=0.2, parallel=pick.randint(1, 5))
            break
        except UnreachableError:
            continue
    assert destination.read_bytes() == (dataset / PATH).read_bytes()
    assert nothing_left(destination)


@pytest.mark.parametrize(
    ("status", "reason"), [(429, "rate_limited"), (500, "server_error"), (503, "server_error")]
)
async def test_a_busy_hub_is_asked_again(
    hub: StandinHub, tmp_path: Path, events: Events, status: int, reason: str
) -> None:
    hub.faults.add(Fault(status=status, path=PATH, times=3))
    await get(hub, tmp_path / "x", events)
    assert {event["reason"] for event in events.named("download_retry")} == {reason}


async def test_retry_after_is_obeyed_by_every_request(hub: StandinHub) -> None:
    hub.faults.add(Fault(status=429, path=PATH, retry_after=0.4))
    async with HubSource(REPO_ID, hub.repository.commit, endpoint=hub.endpoint) as source:
        with pytest.raises(TransientError, match="rate_limited") as caught:
            async with source.range(remote(hub), 0, 10):
                pass
        began = time.monotonic()
        async with source.range(remote(hub), 10, 20) as blocks:
            assert len(b"".join([block async for block in blocks])) == 10
    assert caught.value.wait == 0.4
    assert time.monotonic() - began >= 0.35


async def test_retry_after_is_the_wait_that_is_told(hub: StandinHub, tmp_path: Path, events: Events) -> None:
    hub.faults.add(Fault(status=429, path=PATH, retry_after=0.1))
    await get(hub, tmp_path / "x", events)
    assert [event["wait"] for event in events.named("download_retry")] == [0.1]


async def test_expired_links_are_resolved_again(
    hub: StandinHub, dataset: Path, tmp_path: Path, events: Events
) -> None:
    hub.link_seconds = 0.25
    hub.sender.bytes_per_second = SIZE / 1.0
    destination = tmp_path / "x"
    await get(hub, destination, events, parallel=1)
    assert destination.read_bytes() == (dataset / PATH).read_bytes()
    assert {event["reason"] for event in events.named("download_retry")} == {"link_expired"}


async def test_a_hub_that_stays_broken_ends_the_download_and_keeps_its_chunks(
    hub: StandinHub, tmp_path: Path, events: Events
) -> None:
    destination = tmp_path / "x"
    hub.faults.add(Fault("close", PATH, at=10 * CHUNK, times=99))
    with pytest.raises(UnreachableError, match="could not be had in 4 tries"):
        await get(hub, destination, events, parallel=1)
    hub.faults.waiting.clear()
    result = await get(hub, destination, events)
    assert result.kept == 10 * CHUNK
    assert result.received == SIZE - 10 * CHUNK


async def test_no_hub_at_all(hub: StandinHub, tmp_path: Path, events: Events) -> None:
    async with HubSource(REPO_ID, "main", endpoint="http://127.0.0.1:9") as source:
        with pytest.raises(UnreachableError, match="unreachable"):
            await fetch(remote(hub), tmp_path / "x", source=source, emit=events, retry=FAST)


async def test_the_gate_closes(dataset: Path, tmp_path: Path, events: Events) -> None:
    async with StandinHub(dataset, accounts={TOKEN: "pending"}) as hub:
        with pytest.raises(NoPermissionError, match="not granted"):
            await get(hub, tmp_path / "x", events)
        assert not events.named("download_retry")


async def test_a_file_that_is_not_there(hub: StandinHub, tmp_path: Path, events: Events) -> None:
    with pytest.raises(NotFoundError, match="no such file"):
        await get(hub, tmp_path / "x", events, RemoteFile("s/ep1/annotation.hdf5", 5, "0" * 64))


async def test_the_hub_has_another_file_than_selected(
    hub: StandinHub, tmp_path: Path, events: Events
) -> None:
    with pytest.raises(DamagedFileError, match="the selection says 5"):
        await get(hub, tmp_path / "x", events, msgspec.structs.replace(remote(hub), size=5))
    with pytest.raises(DamagedFileError, match="the Hub has sha256"):
        await get(hub, tmp_path / "x", events, msgspec.structs.replace(remote(hub), sha256="0" * 64))
    assert served(hub) == 0


async def test_a_selection_without_hashes_takes_the_hubs(
    hub: StandinHub, tmp_path: Path, events: Events
) -> None:
    bare = msgspec.structs.replace(remote(hub), sha256=None)
    assert (await get(hub, tmp_path / "x", events, bare)).sha256 == remote(hub).sha256


async def test_a_small_file_comes_from_the_hub_itself(
    hub: StandinHub, tmp_path: Path, events: Events
) -> None:
    result = await get(hub, tmp_path / "README.md", events, remote(hub, "README.md"))
    assert (tmp_path / "README.md").read_bytes() == b"# hello\n"
    assert result.sha256 is None


async def test_an_empty_file(dataset: Path, tmp_path: Path, events: Events) -> None:
    (dataset / "s" / "ep1").mkdir(parents=True)
    (dataset / "s" / "ep1" / "stereo_left.mp4").touch()
    async with StandinHub(dataset) as hub:
        await get(hub, tmp_path / "x", events, remote(hub, "s/ep1/stereo_left.mp4"))
    assert (tmp_path / "x").read_bytes() == b""


async def test_cancel_keeps_what_is_done(hub: StandinHub, tmp_path: Path, events: Events) -> None:
    destination = tmp_path / "x"
    hub.faults.add(Fault("stall", PATH, at=7 * CHUNK + 1))
    cancel = asyncio.Event()
    asyncio.get_running_loop().call_later(0.5, cancel.set)
    began = time.monotonic()
    with pytest.raises(CancelledByOperatorError):
        await get(hub, destination, events, parallel=1, cancel=cancel, stall_s=60)
    assert time.monotonic() - began < 10
    assert not destination.exists()
    result = await get(hub, destination, events)
    assert result.kept == 7 * CHUNK


async def test_a_limiter_sees_every_byte(hub: StandinHub, tmp_path: Path, events: Events) -> None:
    class Counting:
        seen = 0

        async def acquire(self, size: int) -> None:
            self.seen += size

    limiter = Counting()
    await get(hub, tmp_path / "x", events, limiter=limiter)
    assert limiter.seen == SIZE


async def test_a_full_disk_says_so_and_keeps_finished_chunks(
    hub: StandinHub, dataset: Path, tmp_path: Path, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    destination = tmp_path / "x"
    room = 6 * CHUNK
    real = os.pwrite

    def pwrite(fd: int, data: bytes, offset: int) -> int:
        if offset >= room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(DiskFullError, match="no room"):
        await get(hub, destination, events, parallel=1)
    monkeypatch.undo()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert (await get(hub, destination, events)).kept == room
    assert destination.read_bytes() == (dataset / PATH).read_bytes()


async def test_a_file_that_cannot_fit_is_refused_before_the_first_byte(
    hub: StandinHub, tmp_path: Path, events: Events
) -> None:
    huge = RemoteFile(PATH, 1 << 62, "0" * 64)
    with pytest.raises(DiskFullError, match="no room"):
        await get(hub, tmp_path / "out" / "x", events, huge)
    assert list((tmp_path / "out").iterdir()) == []
    assert served(hub) == 0


async def test_symbolic_links_are_never_followed(hub: StandinHub, tmp_path: Path, events: Events) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    destination = tmp_path / "x"
    destination.symlink_to(victim)
    with pytest.raises(UsageError, match="symbolic link"):
        await get(hub, destination, events)
    destination.unlink()
    temporaries(destination).part.symlink_to(victim)
    with pytest.raises(UsageError, match="cannot be opened"):
        await get(hub, destination, events)
    assert victim.read_bytes() == b"precious"


KILLED = textwrap.dedent(
    """
    import asyncio, sys
    from pathlib import Path
    from pipeline.hub.download import fetch
    from pipeline.hub.source import HubSource
    from pipeline.hub.types import RemoteFile

    endpoint, repo, revision, path, size, sha256, destination, chunk = sys.argv[1:]

    def emit(event, **fields):
        if event == "chunk_downloaded":
            print(fields["chunk"], flush=True)

    async def main():
        async with HubSource(repo, revision, endpoint=endpoint) as source:
            file = RemoteFile(path, int(size), sha256)
            await fetch(file, Path(destination), source=source, emit=emit, chunk_size=int(chunk), parallel=2)

    asyncio.run(main())
    """
)


def test_killed_at_random_moments_it_loses_only_chunks_in_flight(dataset: Path, tmp_path: Path) -> None:
    destination = tmp_path / "out" / "x"
    pick = random.Random(5)
    kills = 0
    with standin_hub(dataset, bytes_per_second=SIZE / 1.5) as hub:
        entry = hub.repository.by_path[PATH]
        command = [sys.executable, "-c", KILLED, hub.endpoint, REPO_ID, hub.repository.commit, PATH,
                   str(entry.size), entry.sha256, str(destination), str(CHUNK)]  # fmt: skip
        while not destination.exists():
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
                assert process.stdout is not None
                for _ in range(pick.randint(1, 3)):
                    process.stdout.readline()
                time.sleep(pick.uniform(0, 0.1))
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL)
                    kills += 1
        asked = sum(request.path.startswith("/storage/") for request in hub.requests)
    assert kills >= 3
    assert destination.read_bytes() == (dataset / PATH).read_bytes()
    assert asked <= 11 + 2 * kills  # two lanes: at most two chunks in flight are lost per kill
    assert nothing_left(destination)


# The journal.


def test_only_chunks_whose_bytes_are_still_right_are_kept(tmp_path: Path) -> None:
    file = RemoteFile("s/ep1/x", 3 * 100 + 7, "0" * 64)
    destination = tmp_path / "x"
    part = PartFile(file, destination, 100)
    for chunk in range(4):
        start, end = part.span(chunk)
        part.write(chunk, bytes([chunk + 1]) * (end - start))
    part.close()
    paths = temporaries(destination)
    with paths.part.open("r+b") as stream:
        stream.seek(150)
        stream.write(b"!")
    with paths.journal.open("ab") as stream:
        stream.write(b'{"chunk":99,"sha256":"x"}\nnot json\n{"chunk":')
    again = PartFile(file, destination, 100)
    assert again.missing() == [1]
    assert again.kept() == 207
    again.write(1, b"\2" * 100)
    again.close()
    assert PartFile(file, destination, 100).missing() == []


def test_a_journal_of_another_file_is_not_believed(tmp_path: Path) -> None:
    old = PartFile(RemoteFile("s/ep1/x", 100, "0" * 64), tmp_path / "x", 100)
    old.write(0, b"a" * 100)
    old.close()
    assert PartFile(RemoteFile("s/ep1/x", 100, "1" * 64), tmp_path / "x", 100).missing() == [0]


@given(st.binary(max_size=300))
def test_no_journal_content_is_fatal(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    destination = tmp_path_factory.mktemp("journal") / "x"
    temporaries(destination).journal.write_bytes(data)
    part = PartFile(RemoteFile("s/ep1/x", 10, None), destination, 4)
    assert part.missing() == [0, 1, 2]
    part.close()


def test_retry_after_takes_seconds_and_dates() -> None:
    assert retry_after("3") == 3
    assert retry_after("99999") == 3600
    assert retry_after("-1") == 0
    assert retry_after("soon") is None
    assert retry_after("") is None
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    assert 15 < (retry_after(soon) or 0) <= 20
