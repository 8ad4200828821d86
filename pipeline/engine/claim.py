"""The claim: one `flock` that is held while any process of a stage attempt lives.

The descriptor is inherited on purpose by the stage and by the workers it forks, so a free lock means that
nothing of the attempt is alive and that starting again is safe; no pid has to be trusted for that. The
file's 512 bytes say who holds it, for people; they are rewritten in place, because truncating costs a
flush on ext4.

On shared file systems a lock is advice only (some accept every caller), so outputs are attempt-unique and
published by rename all the same. Standard library only, because the supervisor uses it.
"""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import random
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline.engine import procfs
from pipeline.engine.errors import BusyError, NoPermissionError

_SIZE = 512

#: How long an attempt to claim outlasts readers that only look (see `holder`), in seconds.
_PATIENCE_S = 0.5


@dataclass(frozen=True, slots=True)
class Holder:
    """Who took a claim.

    Attributes:
        pid, pgid, start_ticks, boot_id, host: the process that took it, usually a supervisor.
        user: login name.
        since: Unix seconds.
    """

    pid: int = 0
    pgid: int = 0
    start_ticks: int = 0
    boot_id: str = ""
    host: str = ""
    user: str = ""
    since: float = 0.0

    @property
    def identity(self) -> procfs.Identity:
        """The process that took the claim; its children may hold it after that process died."""
        return procfs.Identity(self.pid, self.start_ticks, self.boot_id, self.host)

    def __str__(self) -> str:
        age = spoken_seconds(time.time() - self.since)
        return (
            f"pid {self.pid} on {self.host} (user {self.user}) for {age}"
            if self.pid
            else "an unnamed process"
        )


class Claim:
    """A claim this process holds; closing it gives it up, unless a child inherited it.

    Args:
        path: the lock file; created if missing.
        what: what is claimed, for the message of BusyError.
        hint: the next command to type when somebody else holds it.

    Raises:
        BusyError: somebody else holds it.
        NoPermissionError: the file belongs to somebody else.
    """

    def __init__(self, path: Path, *, what: str, hint: str = "") -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except PermissionError:
            raise NoPermissionError(f"{what}: {path} belongs to another user") from None
        if not _lock(self.fd):
            who = _read(self.fd)
            os.close(self.fd)
            raise BusyError(f"{what} is held by {who}", hint=hint)
        _write(self.fd)

    def release(self) -> None:
        """Give up this process's hold."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def holder(path: Path) -> Holder | None:
    """Who holds the claim at `path`; None if it is free or was never taken."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(fd)
    else:
        return None
    finally:
        os.close(fd)


def user() -> str:
    """The operator's login name, or the number where there is no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def spoken_seconds(seconds: float) -> str:
    """A duration as people say it, never negative: `4 s`, `12 min`, `3 h 5 min`, `2 d 4 h`."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if not hours:
        return f"{minutes} min"
    return f"{days} d {hours % 24} h" if days else f"{hours} h {minutes % 60} min"


def _lock(fd: int) -> bool:
    """Take the exclusive lock.

    A reader in `holder` has a shared lock for microseconds; it must not turn a start into "busy". If a
    shared lock is possible, nobody holds the claim and another try is due.
    """
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            return True
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        fcntl.flock(fd, fcntl.LOCK_UN)
        if time.monotonic() > end:
            return False
        time.sleep(random.uniform(0.0, 0.002))


def _write(fd: int) -> None:
    me = procfs.identify(os.getpid())
    ticks = me.start_ticks if me else 0
    who = Holder(os.getpid(), os.getpgid(0), ticks, procfs.boot_id(), procfs.host(), user(), time.time())
    os.pwrite(fd, json.dumps(asdict(who)).encode().ljust(_SIZE - 1)[: _SIZE - 1] + b"\n", 0)


def _read(fd: int) -> Holder:
    """What the file says; empty fields in the instant before a new holder has written."""
    try:
        found: dict[str, Any] = json.loads(os.pread(fd, _SIZE, 0))
        return Holder(**{field.name: found[field.name] for field in fields(Holder)})
    except (ValueError, KeyError, TypeError):
        return Holder()
