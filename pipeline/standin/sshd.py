"""A stand-in for the training host: an SSH server on loopback that runs what its one key asks for.

For the demo, where no OpenSSH server may be started. It executes commands as the user who runs it, so it
listens on loopback only and accepts one throw-away key made beside it. Keys and the address are written
into its directory, where a second start finds them again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    import asyncssh

USER = "standin"


class Login(Struct, frozen=True):
    """What a client needs.

    Attributes:
        address: `user@host:port`.
        key: file of the private key.
        known_hosts: file with the server's key.
    """

    address: str
    key: str
    known_hosts: str


class StandinSshd:
    """The server; open it with `async with`.

    Args:
        folder: its keys, and the home directory of commands.
        port: 0 takes a free one.
        commands: whether commands may be executed; without, only file transfer is left.

    Attributes:
        active_at: when something was last asked of it, in seconds of the monotonic clock.
    """

    def __init__(self, folder: Path, *, port: int = 0, commands: bool = True) -> None:
        self.folder = folder
        self.active_at = time.monotonic()
        self._port = port
        self._commands = commands
        self._server: asyncssh.SSHAcceptor | None = None
        self._processes: set[asyncio.subprocess.Process] = set()

    async def __aenter__(self) -> StandinSshd:
        import asyncssh

        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("host_key", "user_key"):
            _make_key(self.folder / name)
        self._server = await asyncssh.listen(
            "127.0.0.1",
            self._port,
            server_host_keys=[str(self.folder / "host_key")],
            authorized_client_keys=str(self.folder / "user_key.pub"),
            process_factory=self._serve if self._commands else None,
            sftp_factory=True,
            encoding=None,
            compression_algs=None,
        )
        self._port = self._server.get_port()
        self._write_known_hosts()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server:
            self._server.close()
            await self._server.wait_closed()
        for process in self._processes:
            _kill(process)

    def _write_known_hosts(self) -> None:
        public = (self.folder / "host_key.pub").read_text("utf-8").split()[:2]
        line = f"[127.0.0.1]:{self._port} {' '.join(public)}\n"
        Path(self.login.known_hosts).write_text(line, "utf-8")

    @property
    def login(self) -> Login:
        """How to get in."""
        return Login(
            f"{USER}@127.0.0.1:{self._port}",
            str(self.folder / "user_key"),
            str(self.folder / "known_hosts"),
        )

    @property
    def busy(self) -> bool:
        """Whether a command runs."""
        return bool(self._processes)

    async def _serve(self, session: Any) -> None:
        """Run one command with the session's streams."""
        self.active_at = time.monotonic()
        if not session.command:
            session.stderr.write(b"this server has no shell, only commands\n")
            session.exit(1)
            return
        process = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            session.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.folder,
            env={**os.environ, "HOME": str(self.folder)},
            start_new_session=True,
        )
        self._processes.add(process)
        try:
            await session.redirect(
                stdin=process.stdin, stdout=process.stdout, stderr=process.stderr, bufsize=1 << 18
            )
            status = await self._until_over(process, session)
            session.exit(status if status >= 0 else 128 - status)
        finally:
            _kill(process)
            self._processes.discard(process)
            self.active_at = time.monotonic()

    async def _until_over(self, process: asyncio.subprocess.Process, session: Any) -> int:
        """Wait for the command, or for the client to go away."""
        over = asyncio.ensure_future(process.wait())
        gone = asyncio.ensure_future(session.channel.wait_closed())
        await asyncio.wait({over, gone}, return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if over.done():
            await session.stdout.drain()
            return over.result()
        _kill(process)
        return await over


def _make_key(path: Path) -> None:
    import asyncssh

    if not path.exists():
        key = asyncssh.generate_private_key("ssh-ed25519", comment="stand-in")
        path.touch(mode=0o600)
        path.write_bytes(key.export_private_key())
        path.with_name(f"{path.name}.pub").write_bytes(key.export_public_key())


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return


def main(argv: list[str] | None = None) -> None:
    """Serve until interrupted; the first line on stdout is JSON with the login."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.standin.sshd", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="directory of its keys")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--idle-exit", type=float, default=0.0, help="seconds without a command to end after")
    options = parser.parse_args(argv)
    try:
        asyncio.run(_run(options))
    except KeyboardInterrupt:
        sys.exit(130)


async def _run(options: argparse.Namespace) -> None:
    async with StandinSshd(options.folder, port=options.port) as server:
        login = server.login
        told = {"address": login.address, "key": login.key, "known_hosts": login.known_hosts}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        while not options.idle_exit or server.busy or _idle(server) < options.idle_exit:  # noqa: ASYNC110
            await asyncio.sleep(min(options.idle_exit or 3600.0, 5.0))


def _idle(server: StandinSshd) -> float:
    return time.monotonic() - server.active_at


if __name__ == "__main__":
    main()
