"""Opening a lane: the best way to write that the destination allows."""

from __future__ import annotations

from typing import Literal

from pipeline.transfer.remote import Remote, Throttle
from pipeline.transfer.ssh import SshTarget, connect


async def open_remote(
    target: SshTarget,
    root: str,
    *,
    mode: Literal["auto", "agent", "shell", "sftp"] = "auto",
    create: bool = True,
    throttle: Throttle | None = None,
) -> Remote:
    """Connect and bind a lane to `root`.

    Raises:
        HostKeyError, LoginRefusedError, RefusedPathError, DestinationFullError: final.
        LaneLostError, UnreachableError: not now.
    """
    from pipeline.transfer.agent_remote import open_agent

    del mode
    connection = await connect(target)
    try:
        return await open_agent(connection, root, create=create, throttle=throttle)
    except BaseException:
        connection.abort()
        raise
