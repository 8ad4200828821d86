"""Where only SFTP is allowed, the same files arrive and are proved, only slower."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from openssh import Sshd
from test_sender import CHUNK, SIZES, Site

from pipeline.transfer.errors import RefusedPathError
from pipeline.transfer.verify import verify


@pytest.fixture
def site(new_sshd: Callable[..., Sshd], tmp_path: Path) -> Site:
    return Site(new_sshd("ForceCommand internal-sftp"), tmp_path)


async def test_it_is_found_out_and_used(site: Site) -> None:
    files = site.make()
    async with site.sender() as sender:
        delivered = await sender.send(files, site.source)
    site.check()
    assert {event["kind"] for event in site.events.named("lane_up")} == {"sftp"}
    assert sum(one.sent for one in delivered) == sum(SIZES)


async def test_what_lies_there_is_compared_chunk_by_chunk(site: Site) -> None:
    files = site.make()
    async with site.sender() as sender:
        await sender.send(files, site.source)
        damaged = site.destination / files[-1].path
        content = bytearray(damaged.read_bytes())
        content[3 * CHUNK] ^= 1
        damaged.write_bytes(content)
        (site.destination / files[2].path).unlink()
        differences, _ = await verify(sender, files, emit=site.events)
        assert {(d.path, d.kind, d.chunks) for d in differences} == {
            (files[-1].path, "content", (3,)),
            (files[2].path, "missing", ()),
        }
        again = await sender.send(files, site.source)
    site.check()
    assert sum(one.sent for one in again) == CHUNK + files[2].size


async def test_a_directory_that_is_a_link_is_refused(site: Site, tmp_path: Path) -> None:
    files = site.make([10])
    site.destination.mkdir()
    (tmp_path / "outside").mkdir()
    (site.destination / "session0").symlink_to(tmp_path / "outside")
    async with site.sender() as sender:
        with pytest.raises(RefusedPathError):
            await sender.send(files, site.source)
    assert not list((tmp_path / "outside").iterdir())


async def test_killed_sessions_are_replaced(site: Site) -> None:
    files = site.make([40 * CHUNK])
    async with site.sender() as sender:
        import asyncio

        sending = asyncio.ensure_future(sender.send(files, site.source))
        await site.events.until("chunk_done", 3)
        await asyncio.to_thread(site.sshd.kill_sessions)
        await sending
    site.check()
