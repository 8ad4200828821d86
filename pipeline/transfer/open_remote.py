"""Opening a lane: the best way to write that the destination allows."""

from __future__ import annotations

import asyncio
from typing import Literal

from pipeline.transfer.errors import NoAgentError
from pipeline.transfer.remote import Remote, Throttle
from pipeline.transfer.ssh import SshTarget, connect

Mode = Literal["auto", "agent", "sftp"]

#: The end of a connection is noticed a moment after the end of what ran over it.
_SETTLE_S = 0.2


class Opener:
    """Opens lanes to one directory of one host.

    With mode `auto` the first lane finds out whether the agent can run there; the others do the same as it.
    Only a host that is still connected and ran no agent is written to by SFTP; a line that dropped says
    nothing about it.

    Args:
        target: the host.
        root: the directory.
        mode: how to write there.
        throttle: asked before each piece of file content.
    """

    def __init__(
        self, target: SshTarget, root: str, *, mode: Mode = "auto", throttle: Throttle | None = None
    ) -> None:
        self._target = target
        self._root = root
        self._mode: Mode = mode
        self._throttle = throttle

    async def __call__(self) -> Remote:
        """Connect and bind a lane.

        Raises:
            HostKeyError, LoginRefusedError, RefusedPathError, DestinationFullError: final.
            LaneLostError, UnreachableError: not now.
        """
        from pipeline.transfer.agent_remote import open_agent
        from pipeline.transfer.sftp_remote import open_sftp

        if self._mode != "sftp":
            connection = await connect(self._target)
            try:
                remote = await open_agent(connection, self._root, throttle=self._throttle)
            except NoAgentError:
                await asyncio.sleep(_SETTLE_S)
                dropped = connection.is_closed()
                connection.abort()
                if dropped or self._mode == "agent":
                    raise
            except BaseException:
                connection.abort()
                raise
            else:
                self._mode = "agent"
                return remote
        connection = await connect(self._target)
        try:
            found = await open_sftp(connection, self._root, throttle=self._throttle)
        except BaseException:
            connection.abort()
            raise
        self._mode = "sftp"
        return found
