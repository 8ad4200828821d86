"""Opening SSH connections: who is trusted, what is offered, and what a failure means.

Host keys are always checked. `accept-new` records the key of a host that has none recorded, as OpenSSH's
option of that name; a changed key is refused in every mode. Keys are named by path and never read here.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from pipeline.engine.errors import NotFoundError, UnreachableError, XopsError
from pipeline.hub.remote_facts import parse_address
from pipeline.transfer.errors import HostKeyError, LoginRefusedError

if TYPE_CHECKING:
    import asyncssh

#: AES-GCM first: it is the fastest where the processor has AES, and authenticated.
CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes256-ctr",
    "aes128-ctr",
)


class SshTarget(Struct, frozen=True, kw_only=True):
    """Where and how to log in.

    Attributes:
        address: `[user@]host[:port]`, or an alias of ~/.ssh/config.
        key: path of the private key; empty leaves it to ssh's configuration and the agent.
        known_hosts: file of recorded host keys; empty means ~/.ssh/known_hosts.
        host_keys: `strict` refuses unknown hosts, `accept-new` records them.
    """

    address: str
    key: str = ""
    known_hosts: str = ""
    host_keys: Literal["strict", "accept-new"] = "strict"

    @property
    def known_hosts_path(self) -> Path:
        """The file of recorded host keys."""
        return Path(self.known_hosts or "~/.ssh/known_hosts").expanduser()


async def connect(target: SshTarget) -> asyncssh.SSHClientConnection:
    """Log in.

    Raises:
        HostKeyError, LoginRefusedError: final; trying again does not help.
        NotFoundError: the key file does not exist.
        UnreachableError: no connection now.
    """
    import asyncssh

    asyncssh.set_log_level("ERROR")
    user, host, port = parse_address(target.address)
    options: dict[str, Any] = {
        name: value for name, value in (("username", user), ("port", port)) if value is not None
    }
    if target.key:
        options["client_keys"] = [str(_key_file(target))]
        options["agent_path"] = None
    trust = _Trust(target)
    try:
        return await asyncssh.connect(
            host,
            known_hosts=trust.known,
            client_factory=trust.client,
            encryption_algs=CIPHERS,
            compression_algs=None,
            rekey_bytes=16 << 30,
            connect_timeout=15,
            login_timeout=30,
            keepalive_interval=15,
            keepalive_count_max=4,
            **options,
        )
    except (OSError, asyncssh.Error, TimeoutError) as error:
        raise explained(error, target) from None


def explained(error: Exception, target: SshTarget) -> XopsError:
    """What a failed connection means."""
    import asyncssh

    host = target.address
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return HostKeyError(
            f"{host}: its host key is not the one recorded in {target.known_hosts_path}, or none is recorded",
            hint=f"compare fingerprints with its owner, then: ssh {host} hostname",
        )
    if isinstance(error, asyncssh.PermissionDenied):
        key = target.key or "the keys of ssh's own configuration"
        return LoginRefusedError(
            f"{host}: the account does not accept {key}",
            hint="append the public key to ~/.ssh/authorized_keys there",
        )
    if isinstance(error, asyncssh.KeyExchangeFailed):
        return LoginRefusedError(
            f"{host}: no common cipher or key exchange ({error})", hint="update its sshd"
        )
    if isinstance(error, (asyncssh.KeyImportError, asyncssh.KeyEncryptionError)):
        return LoginRefusedError(
            f"{target.key}: cannot be used as a key ({error})", hint="make one: xops relay key"
        )
    told = str(error) or type(error).__name__
    return UnreachableError(f"{host} cannot be reached: {told}", hint=f"try: ssh {host} hostname")


def _key_file(target: SshTarget) -> Path:
    path = Path(target.key).expanduser()
    if not path.is_file():
        raise NotFoundError(f"the SSH key {path} does not exist", hint="make one: xops relay key")
    return path


class _Trust:
    """Which keys of one host are trusted; records a first one where that was asked for."""

    def __init__(self, target: SshTarget) -> None:
        self.path = target.known_hosts_path
        self.accept_new = target.host_keys == "accept-new"
        self.seen_any = False

    def known(self, host: str, addr: str, port: int | None) -> Any:
        """Keys recorded for the host, in the shape asyncssh wants."""
        import asyncssh

        try:
            found = asyncssh.match_known_hosts(str(self.path), host, addr, port)
        except FileNotFoundError:
            found = ([], [], [], [], [], [], [])
        self.seen_any = any(found)
        return found

    def client(self) -> asyncssh.SSHClient:
        """The callbacks of one connection."""
        import asyncssh

        trust = self

        class Client(asyncssh.SSHClient):
            def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
                del addr
                if not trust.accept_new or trust.seen_any:
                    return False
                trust.record(host, port, key)
                return True

        return Client()

    def record(self, host: str, port: int, key: asyncssh.SSHKey) -> None:
        """Append a first key under a lock, unless a parallel connection just did."""
        name = host if port == 22 else f"[{host}]:{port}"
        line = f"{name} {key.export_public_key().decode().split(' ', 2)[0]} "
        line += key.export_public_key().decode().split()[1] + "\n"
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(handle, "a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            if line not in file.read():
                file.write(line)
