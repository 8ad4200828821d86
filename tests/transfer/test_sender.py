"""What arrives is what was sent, whatever happens on the way. Against a real OpenSSH server."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from openssh import Sshd

from pipeline.engine.errors import CancelledByOperatorError
from pipeline.transfer.errors import HostKeyError, LoginRefusedError, RefusedPathError, SourceDamagedError
from pipeline.transfer.limits import Limits
from pipeline.transfer.outgoing import Outgoing
from pipeline.transfer.sender import Sender
from pipeline.transfer.ssh import SshTarget

CHUNK = 64 << 10
SIZES = (0, 1, 1000, CHUNK, CHUNK + 1, 5 * CHUNK, 23 * CHUNK + 17)


class Events:
    """Everything that was emitted."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, event: str, **fields: Any) -> None:
        self.seen.append((event, fields))

    def named(self, name: str) -> list[dict[str, Any]]:
        return [fields for event, fields in self.seen if event == name]

    async def until(self, name: str, count: int = 1) -> None:
        while len(self.named(name)) < count:  # noqa: ASYNC110 - emitted by code that knows no event loop
            await asyncio.sleep(0.01)


class Site:
    """Two directories and a server between them."""

    def __init__(self, sshd: Sshd, folder: Path) -> None:
        self.sshd = sshd
        self.source = folder / "source"
        self.destination = folder / "destination"
        self.work = folder / "work"
        self.source.mkdir()
        self.events = Events()

    def make(self, sizes: Sequence[int] = SIZES, *, stated: bool = True) -> list[Outgoing]:
        rng = random.Random(7)
        files = []
        for number, size in enumerate(sizes):
            path = self.source / f"session{number % 3}" / f"file{number}"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(rng.randbytes(size))
            digest = hashlib.sha256(path.read_bytes()).hexdigest() if stated else None
            files.append(Outgoing(path.relative_to(self.source).as_posix(), size, digest))
        return files

    @asynccontextmanager
    async def sender(self, **options: Any) -> AsyncIterator[Sender]:
        options = {"chunk_bytes": CHUNK, "target": self.sshd.target} | options
        target = options.pop("target")
        async with Sender(
            target, str(self.destination), work=self.work, emit=self.events, **options
        ) as sender:
            yield sender

    def check(self) -> None:
        """The destination holds exactly the source's files."""
        found, wanted = (
            {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}
            for root in (self.destination, self.source)
        )
        assert found.keys() == wanted.keys()
        assert found == wanted


@pytest.fixture
def site(sshd: Sshd, tmp_path: Path) -> Site:
    return Site(sshd, tmp_path)


@pytest.mark.parametrize("stated", [True, False])
async def test_files_of_all_sizes_arrive_proved_under_their_names(site: Site, stated: bool) -> None:
    files = site.make(stated=stated)
    async with site.sender() as sender:
        delivered = await sender.send(files, site.source)
    site.check()
    assert [d.path for d in delivered] == [file.path for file in files]
    assert sum(d.sent for d in delivered) == sum(SIZES)
    assert all(d.sha256 == hashlib.sha256((site.source / d.path).read_bytes()).hexdigest() for d in delivered)
    chunks = [(e["file"], e["chunk"]) for e in site.events.named("chunk_done")]
    assert len(chunks) == len(set(chunks)) == sum(max(1, -(-size // CHUNK)) for size in SIZES)


async def test_sending_again_sends_nothing(site: Site) -> None:
    files = site.make()
    async with site.sender() as sender:
        await sender.send(files, site.source)
    async with site.sender() as sender:
        again = await sender.send(files, site.source)
    assert sum(d.sent for d in again) == 0
    assert sum(d.kept for d in again) == sum(SIZES)


async def test_without_its_memory_it_proves_what_lies_there_instead_of_sending(site: Site) -> None:
    files = site.make()
    async with site.sender() as sender:
        await sender.send(files, site.source)
    (site.work / "delivered.jsonl").write_text('{"path": "torn')
    async with site.sender() as sender:
        again = await sender.send(files, site.source)
    assert sum(d.sent for d in again) == 0
    site.check()


async def test_a_changed_byte_costs_one_chunk(site: Site) -> None:
    files = site.make()
    async with site.sender() as sender:
        await sender.send(files, site.source)
    damaged = site.destination / files[-1].path
    content = bytearray(damaged.read_bytes())
    content[7 * CHUNK + 5] ^= 1
    damaged.write_bytes(content)
    async with site.sender() as sender:
        again = await sender.send(files, site.source)
    assert sum(d.sent for d in again) == CHUNK
    site.check()


async def test_a_file_of_another_size_under_the_name_is_replaced(site: Site) -> None:
    files = site.make()
    place = site.destination / files[-1].path
    place.parent.mkdir(parents=True)
    place.write_bytes(b"something else")
    async with site.sender() as sender:
        await sender.send(files, site.source)
    site.check()


async def test_chunks_that_arrived_in_an_earlier_attempt_are_not_sent_again(site: Site) -> None:
    files = site.make([40 * CHUNK])
    stop = asyncio.Event()

    def emit(event: str, **fields: Any) -> None:
        site.events(event, **fields)
        if len(site.events.named("chunk_done")) == 10:
            stop.set()

    with pytest.raises(CancelledByOperatorError):
        async with Sender(
            site.sshd.target,
            str(site.destination),
            work=site.work,
            emit=emit,
            chunk_bytes=CHUNK,
            cancel=stop,
            limits=Limits(bandwidth=20 * CHUNK),
        ) as sender:
            await sender.send(files, site.source)
    arrived = len(site.events.named("chunk_done"))
    assert 10 <= arrived < 40
    async with site.sender() as sender:
        (delivered,) = await sender.send(files, site.source)
    site.check()
    assert delivered.kept >= arrived * CHUNK
    assert delivered.sent + delivered.kept == 40 * CHUNK


async def test_killed_sessions_are_replaced_and_nothing_is_lost(site: Site) -> None:
    """Ten times, at random moments, every connection dies with the agent in it."""
    files = site.make([300 * CHUNK, 200 * CHUNK, *[5000] * 50])
    rng = random.Random(3)
    async with site.sender(limits=Limits(bandwidth=220 * CHUNK, lanes=4)) as sender:
        sending = asyncio.ensure_future(sender.send(files, site.source))
        kills = 0
        while kills < 10 and not sending.done():
            await asyncio.sleep(rng.uniform(0.05, 0.2))
            kills += bool(await asyncio.to_thread(site.sshd.kill_sessions))
        delivered = await sending
    site.check()
    assert kills == 10
    again = sum(d.sent for d in delivered) - sum(f.size for f in files)
    assert again <= kills * 4 * 2 * CHUNK, "more than what was on the way was sent again"
    assert site.events.named("lane_lost")


async def test_a_server_that_goes_away_is_waited_for(site: Site) -> None:
    files = site.make([100 * CHUNK])
    async with site.sender(limits=Limits(bandwidth=100 * CHUNK)) as sender:
        sending = asyncio.ensure_future(sender.send(files, site.source))
        await site.events.until("chunk_done")
        await asyncio.to_thread(site.sshd.stop)
        await site.events.until("paused")
        assert not sending.done()
        await asyncio.to_thread(site.sshd.start)
        await sending
    assert site.events.named("paused")[0]["kind"] == "unreachable"
    assert site.events.named("continued")
    site.check()


async def test_limits_change_while_bytes_move(site: Site) -> None:
    files = site.make([60 * CHUNK])
    async with site.sender(limits=Limits(paused=True)) as sender:
        sending = asyncio.ensure_future(sender.send(files, site.source))
        await asyncio.sleep(0.3)
        assert not site.events.named("chunk_done")
        sender.change(Limits(lanes=2, bandwidth=40 * CHUNK))
        await site.events.until("chunk_done", 5)
        assert len(site.events.named("chunk_done")) < 55
        sender.change(Limits(lanes=3, adaptive=False))
        await sending
        await site.events.until("lane_up", 3)
    site.check()


async def test_two_batches_at_a_time(site: Site) -> None:
    files = site.make()
    async with site.sender() as sender:
        await asyncio.gather(sender.send(files[:4], site.source), sender.send(files[4:], site.source))
    site.check()


async def test_a_local_file_that_is_not_the_hubs_is_named(site: Site) -> None:
    files = site.make()
    for wrong in (files[2], files[-1]):
        lying = msgspec.structs.replace(wrong, sha256="0" * 64)
        async with site.sender() as sender:
            with pytest.raises(SourceDamagedError) as caught:
                await sender.send([lying], site.source)
        assert caught.value.path == wrong.path
        assert not (site.destination / wrong.path).exists()
    longer = msgspec.structs.replace(files[3], size=files[3].size + 1)
    async with site.sender() as sender:
        with pytest.raises(SourceDamagedError, match="bytes, not"):
            await sender.send([longer], site.source)


@pytest.mark.parametrize(
    "name",
    [
        "../escape",
        "/etc/xops",
        "a/../b",
        "a\nb",
        "visualization.rrd",
        "x/VISUALIZATION.RRD",
        "a.xops-part",
        "",
    ],
)
async def test_hostile_names_are_refused_before_anything_is_sent(site: Site, name: str) -> None:
    async with site.sender() as sender:
        with pytest.raises(RefusedPathError):
            await sender.send([Outgoing(name, 1, "0" * 64)], site.source)
    assert not site.events.named("chunk_done")


@pytest.mark.parametrize("planted", ["session0", "session0/file0", "session0/file0.xops-part"])
async def test_links_planted_on_the_destination_are_never_followed(
    site: Site, tmp_path: Path, planted: str
) -> None:
    files = site.make([3 * CHUNK])
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file0").write_bytes(b"precious")
    link = site.destination / planted
    link.parent.mkdir(parents=True)
    link.symlink_to(outside if planted == "session0" else outside / "file0")
    async with site.sender() as sender:
        with pytest.raises(RefusedPathError):
            await sender.send(files, site.source)
    assert (outside / "file0").read_bytes() == b"precious"
    assert os.listdir(outside) == ["file0"]


async def test_a_changed_host_key_is_refused_and_a_new_one_recorded_only_when_asked(
    site: Site, tmp_path: Path
) -> None:
    files = site.make([10])
    known = tmp_path / "known_hosts"
    strict = msgspec.structs.replace(site.sshd.target, known_hosts=str(known))
    async with site.sender(target=strict) as sender:
        with pytest.raises(HostKeyError):
            await sender.send(files, site.source)
    accepting = msgspec.structs.replace(strict, host_keys="accept-new")
    async with site.sender(target=accepting) as sender:
        await sender.send(files, site.source)
    recorded = known.read_text()
    assert recorded.count("\n") == 1
    other = (site.sshd.folder / "user.pub").read_text().split()[1]
    known.write_text(f"{recorded.split()[0]} ssh-ed25519 {other}\n")
    async with site.sender(target=accepting) as sender:
        with pytest.raises(HostKeyError):
            await sender.send(files, site.source)


async def test_a_key_the_account_does_not_accept_ends_it_at_once(site: Site) -> None:
    (site.sshd.folder / "authorized_keys").write_text("")
    async with site.sender() as sender:
        with pytest.raises(LoginRefusedError):
            await sender.send(site.make([10]), site.source)


async def test_noise_of_start_up_files_is_skipped(new_sshd: Callable[..., Sshd], tmp_path: Path) -> None:
    script = tmp_path / "login"
    script.write_text('#!/bin/sh\necho "Welcome \0 XOPS"; echo\neval "$SSH_ORIGINAL_COMMAND"\n')
    script.chmod(0o755)
    server = new_sshd(f"ForceCommand {script}")
    site = Site(server, tmp_path)
    async with site.sender() as sender:
        await sender.send(site.make(), site.source)
    site.check()


async def test_what_the_server_says_instead_of_an_agent_is_passed_on(
    new_sshd: Callable[..., Sshd], tmp_path: Path
) -> None:
    site = Site(new_sshd('ForceCommand /bin/sh -c "echo no commands here >&2"'), tmp_path)
    stop = asyncio.Event()
    async with site.sender(mode="agent", cancel=stop) as sender:
        sending = asyncio.ensure_future(sender.send(site.make([10]), site.source))
        await site.events.until("lane_lost")
        stop.set()
        with pytest.raises(CancelledByOperatorError):
            await sending
    assert "no commands here" in site.events.named("lane_lost")[0]["error"]


async def test_a_defect_ends_the_transfer_instead_of_leaving_it_waiting(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.transfer import agent_remote

    async def broken(*arguments: Any, **options: Any) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(agent_remote, "open_agent", broken)
    async with site.sender() as sender:
        with pytest.raises(ZeroDivisionError):
            await sender.send(site.make([10]), site.source)


def test_a_target_never_shows_a_key() -> None:
    assert "PRIVATE" not in repr(SshTarget(address="a@b", key="/home/a/.ssh/id"))
