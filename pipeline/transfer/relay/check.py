"""`relay verify`: what a run's destination really holds, and sending again only what differs.

Works on the run's own request and ledger, from any terminal of the relay host, whether its stage is done or
was killed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import msgspec
from msgspec import Struct

from pipeline.engine.acts import recorded
from pipeline.engine.claim import Claim
from pipeline.engine.errors import NotReadyError
from pipeline.engine.log import Emit
from pipeline.engine.paths import RunPaths, WorkspacePaths
from pipeline.engine.registry import load_registry
from pipeline.engine.runs import Request, load_request
from pipeline.engine.status import read_run
from pipeline.hub.download import fetch
from pipeline.hub.names import place
from pipeline.hub.selection import Selection, read_selection
from pipeline.hub.source import HubSource
from pipeline.hub.types import RemoteFile
from pipeline.transfer.link import Destination
from pipeline.transfer.outgoing import Outgoing
from pipeline.transfer.relay.options import RelayOptions
from pipeline.transfer.relay.run import LOCK
from pipeline.transfer.sender import Cancel, Sender
from pipeline.transfer.verify import Difference, verify


class Verified(Struct, frozen=True, kw_only=True):
    """What a look at a destination found, and what was repaired.

    Attributes:
        destination: host and directory.
        files, bytes: what should be there.
        differences: what is not right; after a repair, what still is not.
        repaired: files put right.
        sent: bytes sent for that.
    """

    destination: str
    files: int
    bytes: int
    differences: tuple[Difference, ...]
    repaired: tuple[str, ...] = ()
    sent: int = 0


class RelayRun(Struct, frozen=True, kw_only=True):
    """A run with a relay, taken apart.

    Attributes:
        run: its directory.
        request: what it was asked.
        options: of its stage `relay`.
        selection: what it moves.
        root: the relay's directory on this machine.
    """

    run: RunPaths
    request: Request
    options: RelayOptions
    selection: Selection
    root: Path

    @property
    def destination(self) -> Destination:
        """Where it moves it."""
        return Destination(self.options, self.request.config)


def open_relay_run(run: RunPaths, stage: str = "relay") -> RelayRun:
    """Read what a run relays and where to.

    Raises:
        NotReadyError: the run has no selection yet.
        NotFoundError: it has no such stage.
    """
    registry, request = load_registry(), load_request(run)
    options = cast("RelayOptions", request.stage_params(registry.stage(stage)))
    selected = read_run(run, registry, request=request).stage("select")
    if not selected.outputs:
        raise NotReadyError(f"{run.run_id} has selected nothing yet", hint=f"xops run start {run.run_id}")
    hosts = request.config.hosts.values()
    relay = next((host.data_root for host in hosts if host.role == "relay"), "")
    workspace = WorkspacePaths(run.root.parent.parent)
    return RelayRun(
        run=run,
        request=request,
        options=options,
        selection=read_selection(Path(selected.out[0]) / "selection.json"),
        root=Path(options.relay_root or relay or workspace.root / "relay").expanduser(),
    )


async def check(
    relay: RelayRun, *, repair: bool, emit: Emit, cancel: Cancel, trust: bool = False, who: str = ""
) -> Verified:
    """Read back everything a relay should have delivered; send again what differs, if asked.

    Args:
        relay: the run.
        repair: put differences right; files that are not wanted there are only named.
        emit: `verify_file`, `mismatch`, `repaired`, and the sender's events.
        cancel: stops it.
        trust: believe files whose stamp has not changed, instead of reading every byte.
        who: on whose behalf, for the journal.

    Raises:
        BusyError: a repair is asked for while the relay itself is running.
        What `Sender.send` and the download raise.
    """
    destination = relay.destination
    files = [Outgoing(file.path, file.size, file.sha256) for file in relay.selection.files()]
    work = relay.run.stage("relay").work
    async with destination.sender(work, emit, cancel) as sender:
        found, _ = await verify(sender, files, emit=emit, trust=trust)
        before = Verified(
            destination=str(destination),
            files=len(files),
            bytes=relay.selection.size,
            differences=tuple(found),
        )
        wrong = [difference for difference in found if difference.kind != "extra"]
        if not repair or not wrong:
            return before
        with (
            Claim(relay.root / LOCK, what=f"the relay root {relay.root}", hint="wait for it, or cancel it"),
            recorded(relay.run, "repair", False, who, "relay") as detail,
        ):
            sent = await _repair(relay, sender, wrong, emit=emit, cancel=cancel)
            detail |= {"files": [difference.path for difference in wrong], "sent": sent}
        left, _ = await verify(sender, files, emit=emit, trust=True)
    still = {difference.path for difference in left}
    return msgspec.structs.replace(
        before,
        differences=tuple(left),
        repaired=tuple(d.path for d in wrong if d.path not in still),
        sent=sent,
    )


async def _repair(
    relay: RelayRun, sender: Sender, wrong: Sequence[Difference], *, emit: Emit, cancel: Cancel
) -> int:
    """Fetch each file that differs, send the chunks that differ, drop the copy; bytes sent."""
    files = {file.path: file for file in relay.selection.files()}
    staging = relay.root / "staging"
    sent = 0
    endpoint = relay.request.dataset.endpoint
    async with HubSource(relay.selection.repo_id, relay.selection.commit, endpoint=endpoint) as source:
        for difference in wrong:
            file: RemoteFile = files[difference.path]
            local = place(staging, file.path)
            await asyncio.to_thread(local.parent.mkdir, parents=True, exist_ok=True)
            await fetch(file, local, source=source, emit=emit, cancel=cancel)
            sender.ledger.doubt(file.path)
            (delivered,) = await sender.send([Outgoing(file.path, file.size, file.sha256)], staging)
            sent += delivered.sent
            emit("repaired", file=file.path, chunks=list(difference.chunks), bytes=delivered.sent)
            if relay.options.delete_after_transfer:
                local.unlink()
    return sent
