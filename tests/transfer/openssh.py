"""A real OpenSSH server on loopback, with throw-away keys."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from pipeline.transfer.ssh import SshTarget


class Sshd:
    """One server.

    Attributes:
        folder: its configuration, keys and log.
        port, address: where it listens.
        prefix: command it is started through.
    """

    def __init__(
        self, folder: Path, *settings: str, address: str = "127.0.0.1", prefix: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.address = address
        self.prefix = tuple(prefix)
        self.port = _free_port()
        folder.mkdir(parents=True)
        for name in ("host", "user"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True
            )
        shutil.copy(folder / "user.pub", folder / "authorized_keys")
        self.write_known_hosts()
        self.process: subprocess.Popen[bytes] | None = None

    def write_known_hosts(self) -> None:
        public = (self.folder / "host.pub").read_text().split()[:2]
        (self.folder / "known_hosts").write_text(f"[{self.address}]:{self.port} {' '.join(public)}\n")

    @property
    def target(self) -> SshTarget:
        """How to log in."""
        return SshTarget(
            address=f"{os.environ.get('USER') or 'root'}@{self.address}:{self.port}",
            key=str(self.folder / "user"),
            known_hosts=str(self.folder / "known_hosts"),
        )

    def start(self) -> None:
        config = self.folder / "sshd_config"
        lines = (
            f"Port {self.port}",
            f"ListenAddress {self.address}",
            f"HostKey {self.folder / 'host'}",
            f"AuthorizedKeysFile {self.folder / 'authorized_keys'}",
            f"PidFile {self.folder / 'pid'}",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "PermitRootLogin prohibit-password",
            "MaxStartups 100:30:200",
            "MaxSessions 100",
            "Subsystem sftp internal-sftp",
            f"SetEnv HOME={self.folder}",  # start-up files of whoever runs the tests are not under test
            *self.settings,
        )
        config.write_text("\n".join(lines) + "\n")
        sshd = shutil.which("sshd") or "/usr/sbin/sshd"
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(
            [*self.prefix, sshd, "-D", "-e", "-f", str(config)], stderr=log, stdout=log
        )
        log.close()
        if self.prefix:
            time.sleep(1.0)  # it listens in a network of its own, which nobody here can look into
            return
        for _ in range(400):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.025)
        raise AssertionError("sshd does not answer")

    def stop(self) -> None:
        if self.process:
            self.kill_sessions()
            self.process.kill()
            self.process.wait()
            self.process = None

    def sessions(self) -> list[int]:
        """Processes that serve one connection each."""
        if self.process is None:
            return []
        return _children(self.process.pid)

    def kill_sessions(self) -> int:
        """Kill -9 every session with what runs in it; returns how many there were."""
        found = self.sessions()
        for pid in [below for session in found for below in (*_below(session), session)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return len(found)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _below(pid: int) -> list[int]:
    return [below for child in _children(pid) for below in (*_below(child), child)]
