"""From options to an open sender: which host, which directory, which limits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.engine.config import HostConfig, WorkspaceConfig
from pipeline.engine.errors import CancelledByOperatorError, UnreachableError, UsageError
from pipeline.engine.log import Emit
from pipeline.hub.keys import DEFAULT_KEY
from pipeline.hub.remote_facts import parse_address
from pipeline.transfer.errors import DestinationFullError
from pipeline.transfer.limits import Limits
from pipeline.transfer.outgoing import Delivered, Outgoing
from pipeline.transfer.relay.options import Link
from pipeline.transfer.rsync import rsync_send
from pipeline.transfer.sender import Cancel, Sender
from pipeline.transfer.ssh import SshTarget

#: How often a wait looks whether the operator asks to stop.
_LOOK_S = 0.2

MIB = 1 << 20
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 60.0
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})


class Destination:
    """Where a transfer goes.

    Args:
        link: the options.
        config: the workspace's, for what the options leave empty.

    Attributes:
        target: the host.
        root: directory there.

    Raises:
        UsageError: neither options nor configuration name a host and a directory.
    """

    def __init__(self, link: Link, config: WorkspaceConfig) -> None:
        training = next(
            (host for host in config.hosts.values() if host.role == "training"), HostConfig(address="")
        )
        address = link.transfer_host or training.address
        self.link = link
        self.root = link.transfer_root or training.data_root
        if not address or not self.root:
            raise UsageError(
                "no training host or data root is named",
                hint="--transfer-host USER@HOST --transfer-root DIR, or a host of role training in xops.toml",
            )
        key = (
            link.ssh_key
            or training.ssh_key
            or (str(DEFAULT_KEY) if DEFAULT_KEY.expanduser().exists() else "")
        )
        self.target = SshTarget(
            address=address, key=key, known_hosts=link.known_hosts, host_keys=link.host_keys
        )

    def __str__(self) -> str:
        return f"{self.target.address}:{self.root}"

    @property
    def is_here(self) -> bool:
        """Whether it is this machine, by its name."""
        return parse_address(self.target.address)[1] in _HERE

    @property
    def limits(self) -> Limits:
        """How hard to work, as the options say."""
        return Limits(
            lanes=self.link.chunk_parallel,
            adaptive=self.link.adaptive,
            bandwidth=int(self.link.bandwidth_mib_per_s * MIB),
        )

    def sender(self, work: Path, emit: Emit, cancel: Cancel) -> Sender:
        """A sender for this destination; open it with `async with`."""
        chunk = max(1, int(self.link.chunk_size_mib * MIB))
        return Sender(
            self.target,
            self.root,
            work=work,
            emit=emit,
            limits=self.limits,
            chunk_bytes=chunk,
            threshold=int(self.link.chunk_threshold_mib * MIB),
            cancel=cancel,
        )


class RsyncSend:
    """Sends files by rsync and has them proved by the sender, which also sends again what differs.

    Args:
        destination: where to.
        sender: open on it.
        emit: `paused`, `continued`.
        cancel: stops it.
    """

    def __init__(self, destination: Destination, sender: Sender, emit: Emit, cancel: Cancel) -> None:
        self._destination = destination
        self._sender = sender
        self._emit = emit
        self._cancel = cancel
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self, files: Sequence[Outgoing], source: Path) -> list[Delivered]:
        """As `Sender.send`."""
        async with self._one_at_a_time:
            await self._copy(files, source)
        return await self._sender.send(files, source)

    async def _copy(self, files: Sequence[Outgoing], source: Path) -> None:
        wait = _FIRST_WAIT_S
        while True:
            try:
                await rsync_send(
                    self._destination.target,
                    self._destination.root,
                    files,
                    source,
                    bandwidth=self._sender.limits.bandwidth,
                    cancel=self._cancel,
                )
            except (UnreachableError, DestinationFullError) as error:
                kind = "disk full" if isinstance(error, DestinationFullError) else "unreachable"
                self._emit("paused", side="transfer", kind=kind, reason=str(error))
                await self._wait(wait)
                wait = min(2 * wait, _LONGEST_WAIT_S)
                self._emit("continued", side="transfer")
            else:
                return

    async def _wait(self, seconds: float) -> None:
        """Wait, unless the operator asks to stop meanwhile."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            if self._cancel.is_set():
                raise CancelledByOperatorError("transfer stopped as asked", hint="what arrived is kept")
            await asyncio.sleep(min(_LOOK_S, seconds))


def send_of(destination: Destination, sender: Sender, emit: Emit, cancel: Cancel) -> Any:
    """How files are sent under the link's `transfer_mode`."""
    if destination.link.transfer_mode == "rsync":
        return RsyncSend(destination, sender, emit, cancel)
    return sender.send
