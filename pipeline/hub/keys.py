"""The relay's own SSH key: made once, never overwritten, never shown.

Only the public line leaves this module; an operator appends it to `~/.ssh/authorized_keys` of the
training host.
"""

from __future__ import annotations

import os
from pathlib import Path

from msgspec import Struct

from pipeline.engine.errors import DamagedFileError, NotFoundError, UsageError

DEFAULT_KEY = Path("~/.ssh/xperience10m_relay_ed25519")
COMMENT = "xperience10m-relay-to-training"


class RelayKey(Struct, frozen=True):
    """A key pair on disk.

    Attributes:
        path: the private key.
        public_line: what belongs into `authorized_keys`.
        fingerprint: SHA256 fingerprint, as ssh-keygen -l prints it.
        created: whether this call made it.
        problems: what is wrong with modes or owner, each with its fix; empty when ssh will accept it.
    """

    path: Path
    public_line: str
    fingerprint: str
    created: bool
    problems: tuple[str, ...] = ()


def ensure_key(path: Path = DEFAULT_KEY, *, comment: str = COMMENT) -> RelayKey:
    """The key at `path`, made (ed25519, mode 0600, in a directory of mode 0700) if there is none.

    Raises:
        UsageError: `path` exists but is not a regular file, or only its public half exists.
        DamagedFileError: it is not a key that can be read without a passphrase.
    """
    path = path.expanduser()
    try:
        return read_key(path)
    except NotFoundError:
        pass
    public = _public(path)
    if public.exists() or public.is_symlink():
        raise UsageError(f"{public} exists without {path}", hint=f"move {public} away, then try again")
    import asyncssh

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = asyncssh.generate_private_key("ssh-ed25519", comment=comment)
    _create(path, key.export_private_key(), 0o600)
    _create(public, key.export_public_key(), 0o644)
    found = read_key(path)
    return RelayKey(found.path, found.public_line, found.fingerprint, True, found.problems)


def read_key(path: Path = DEFAULT_KEY) -> RelayKey:
    """The existing key at `path`; nothing is changed.

    Raises:
        NotFoundError: there is none.
        UsageError: not a regular file. DamagedFileError: not a readable key.
    """
    import asyncssh

    path = path.expanduser()
    if not path.exists() and not path.is_symlink():
        raise NotFoundError(f"there is no SSH key {path}", hint="make it with: xops relay key")
    if not path.is_file():
        raise UsageError(f"{path} is not a regular file", hint="name another key")
    source = _public(path) if _public(path).is_file() else path
    try:
        key = asyncssh.read_private_key(path) if source == path else asyncssh.read_public_key(source)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, OSError) as error:
        raise DamagedFileError(f"{source} is not a key that can be used: {error}") from None
    line = key.export_public_key().decode().strip()
    return RelayKey(path, line, key.get_fingerprint(), False, tuple(_problems(path)))


def _problems(path: Path) -> list[str]:
    found = []
    if path.stat().st_mode & 0o077:
        found.append(f"others can read it: chmod 600 {path}")
    if path.parent.stat().st_mode & 0o022:
        found.append(f"others can write its directory: chmod 700 {path.parent}")
    if path.stat().st_uid != os.getuid():
        found.append(f"it belongs to somebody else: chown {os.getuid()} {path}")
    return found


def _public(path: Path) -> Path:
    return path.with_name(path.name + ".pub")


def _create(path: Path, data: bytes, mode: int) -> None:
    """Write a file that did not exist before; a link or file that appeared meanwhile is an error."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    except FileExistsError:
        raise UsageError(f"{path} exists already", hint="somebody else is making it; try again") from None
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
