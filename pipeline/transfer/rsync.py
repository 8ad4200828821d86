"""Transfer by rsync, as the seed offers it, for hosts where only rsync is wanted.

rsync moves the bytes; what arrived is proved like any other file afterwards, by reading it back there. Names
go over standard input, separated by NUL, so that none can be an option or a pattern. What an interrupted copy
left of a file is compared, not sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
from collections.abc import Sequence
from pathlib import Path

from pipeline.engine.errors import CancelledByOperatorError, NotFoundError, UnreachableError
from pipeline.hub.remote_facts import parse_address
from pipeline.transfer.errors import DestinationError, DestinationFullError
from pipeline.transfer.outgoing import Outgoing
from pipeline.transfer.remote import check_path
from pipeline.transfer.sender import Cancel
from pipeline.transfer.ssh import SshTarget

#: rsync's exit codes that another try may cure: socket, stream and time-out errors, and ssh's own failure.
_TRANSIENT = frozenset({10, 12, 30, 35, 255})
#: Where it keeps unfinished files, inside the destination root.
_PARTIAL = ".xops-rsync"


def rsync_command(target: SshTarget, root: str, source: Path, *, bandwidth: int = 0) -> list[str]:
    """The argument list; the names follow on standard input.

    Args:
        target: the host.
        root: directory there.
        source: directory here.
        bandwidth: cap in bytes per second; 0 for none.
    """
    user, host, port = parse_address(target.address)
    shell = ["ssh", "-o", "BatchMode=yes", "-o", f"StrictHostKeyChecking={_checking(target)}"]
    shell += ["-o", f"UserKnownHostsFile={target.known_hosts_path}"]
    shell += ["-i", str(Path(target.key).expanduser()), "-o", "IdentitiesOnly=yes"] if target.key else []
    shell += ["-p", str(port)] if port is not None else []
    where = f"{user}@{host}" if user else host
    command = ["rsync", "--recursive", "--times", "--no-whole-file", "--from0", "--files-from=-"]
    command += [f"--partial-dir={_PARTIAL}", "--exclude=*.[rR][rR][dD]", "--protect-args", "--timeout=120"]
    command += [f"--bwlimit={max(1, bandwidth // 1024)}"] if bandwidth else []
    return [*command, "-e", shlex.join(shell), "--", f"{source}/", f"{where}:{root}/"]


async def rsync_send(
    target: SshTarget,
    root: str,
    files: Sequence[Outgoing],
    source: Path,
    *,
    bandwidth: int = 0,
    cancel: Cancel | None = None,
) -> None:
    """Copy files; they are not proved yet.

    Raises:
        NotFoundError: rsync is not installed here.
        DestinationFullError, DestinationError: the destination refuses.
        UnreachableError: the connection broke; trying again may help.
        CancelledByOperatorError: `cancel` was set.
    """
    names = "\0".join(check_path(file.path) for file in files).encode() + b"\0"
    try:
        process = await asyncio.create_subprocess_exec(
            *rsync_command(target, root, source, bandwidth=bandwidth),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise NotFoundError(
            "rsync is not installed here", hint="--transfer-mode chunked needs nothing"
        ) from None
    talk = asyncio.ensure_future(process.communicate(names))
    try:
        while not (await asyncio.wait({talk}, timeout=0.2))[0]:
            if cancel and cancel.is_set():
                raise CancelledByOperatorError("transfer stopped as asked", hint="what arrived is kept")
        _, told = talk.result()
    finally:
        talk.cancel()
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            await process.wait()
    if process.returncode:
        raise _explained(process.returncode, told.decode(errors="replace"), target.address)


def _checking(target: SshTarget) -> str:
    return "accept-new" if target.host_keys == "accept-new" else "yes"


def _explained(code: int, told: str, host: str) -> Exception:
    last = next((line for line in reversed(told.splitlines()) if line.strip()), f"exit status {code}")
    if "No space left" in told or "Disk quota exceeded" in told:
        return DestinationFullError(
            f"{host}: {last}", hint="free space there; the transfer goes on by itself"
        )
    if code in _TRANSIENT:
        return UnreachableError(f"{host}: rsync: {last}", hint=f"try: ssh {host} hostname")
    return DestinationError(f"{host}: rsync: {last}", code, hint=f"look there: ssh {host} ls -la")
