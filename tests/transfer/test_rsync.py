"""rsync mode: what it is told, how it goes on, what its failures mean."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from openssh import Sshd
from test_sender import Events, Site

from pipeline.engine.errors import CancelledByOperatorError, UnreachableError
from pipeline.transfer.errors import DestinationError, DestinationFullError, RefusedPathError
from pipeline.transfer.outgoing import Outgoing
from pipeline.transfer.rsync import _explained, rsync_command, rsync_send
from pipeline.transfer.ssh import SshTarget

pytestmark = pytest.mark.skipif(not shutil.which("rsync"), reason="rsync is not installed")


def test_names_never_become_arguments_and_keys_are_named_by_path() -> None:
    target = SshTarget(address="op@train:2222", key="/home/op/my key", known_hosts="/k")
    command = rsync_command(target, "/data", Path("/relay"), bandwidth=2 << 20)
    assert "--files-from=-" in command
    assert "--from0" in command
    assert "--bwlimit=2048" in command
    assert command[-3:] == ["--", "/relay/", "op@train:/data/"]
    shell = command[command.index("-e") + 1]
    assert "'/home/op/my key'" in shell
    assert "-p 2222" in shell
    assert "StrictHostKeyChecking=yes" in shell


async def test_an_interrupted_copy_goes_on_inside_the_file(sshd: Sshd, tmp_path: Path) -> None:
    site = Site(sshd, tmp_path)
    (file,) = site.make([3_000_000])
    left = site.destination / "session0" / ".xops-rsync" / "file0"
    left.parent.mkdir(parents=True)
    left.write_bytes((site.source / file.path).read_bytes()[:2_500_000])
    await rsync_send(sshd.target, str(site.destination), [file], site.source)
    assert (site.destination / file.path).read_bytes() == (site.source / file.path).read_bytes()
    assert not left.exists()


async def test_cancelling_ends_the_process(sshd: Sshd, tmp_path: Path) -> None:
    site = Site(sshd, tmp_path)
    files = site.make([3_000_000])
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.5, stop.set)
    with pytest.raises(CancelledByOperatorError):
        await rsync_send(
            sshd.target, str(site.destination), files, site.source, bandwidth=100_000, cancel=stop
        )


@pytest.mark.parametrize(
    ("code", "told", "kind"),
    [
        (255, "ssh: connect to host train port 22: Connection refused", UnreachableError),
        (12, "rsync error: error in rsync protocol data stream", UnreachableError),
        (11, "write failed: No space left on device (28)", DestinationFullError),
        (23, "Permission denied (13)", DestinationError),
    ],
)
def test_an_exit_status_means_what_the_operator_must_do(code: int, told: str, kind: type[Exception]) -> None:
    assert isinstance(_explained(code, told, "train"), kind)


async def test_hostile_names_are_refused(sshd: Sshd, tmp_path: Path) -> None:
    for name in ("../escape", "a\nb", "x/View.RRD"):
        with pytest.raises(RefusedPathError):
            await rsync_send(sshd.target, str(tmp_path), [Outgoing(name, 1)], tmp_path)


async def test_a_line_that_drops_once_does_not_change_how_lanes_write(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.transfer import agent_remote

    real, dropped = agent_remote.open_agent, []

    async def flaky(connection: object, *arguments: object, **options: object) -> object:
        if not dropped:
            dropped.append(True)
            connection.abort()  # type: ignore[attr-defined]
        return await real(connection, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(agent_remote, "open_agent", flaky)
    site = Site(sshd, tmp_path)
    async with site.sender() as sender:
        await sender.send(site.make(), site.source)
    assert isinstance(site.events, Events)
    assert {event["kind"] for event in site.events.named("lane_up")} == {"agent"}
