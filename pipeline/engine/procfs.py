"""Which process is which: identities that survive pid reuse, read from `/proc`.

A pid alone says nothing: it may belong to somebody else by now. An identity is (host, boot id, pid, start
ticks); start ticks are field 22 of `/proc/<pid>/stat`, whole numbers since boot, so a jump of the wall
clock does not matter. A zombie counts as dead. Standard library only, because the supervisor uses it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, now or in the past.

    Attributes:
        pid: process id on `host`.
        start_ticks: clock ticks between boot and the process's start.
        boot_id: the kernel's id of that boot.
        host: node name; also tells containers apart, which see other pids.
    """

    pid: int
    start_ticks: int
    boot_id: str
    host: str

    def alive(self) -> bool | None:
        """Whether exactly this process runs; None if it belongs to another host and nobody can tell."""
        if self.host != host():
            return None
        return self.boot_id == boot_id() and start_ticks(self.pid) == self.start_ticks


class _Stat(NamedTuple):
    state: str
    parent: int
    group: int
    start_ticks: int


def identify(pid: int) -> Identity | None:
    """The identity of a living process, or None if it is gone or a zombie."""
    ticks = start_ticks(pid)
    return None if ticks is None else Identity(pid, ticks, boot_id(), host())


def start_ticks(pid: int) -> int | None:
    """When `pid` started, in clock ticks since boot; None if it is gone or a zombie."""
    stat = _stat(pid)
    return None if stat is None or stat.state in "ZX" else stat.start_ticks


def group_alive(pgid: int) -> bool:
    """Whether any process of the group, zombies aside, is alive."""
    try:
        os.killpg(pgid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return any(stat.group == pgid and stat.state not in "ZX" for _, stat in _everyone())


def with_environment(entry: str) -> list[int]:
    """Pids of this user's living processes that were started with `NAME=value` in their environment.

    This finds the whole descendance of an attempt: also workers that changed their session or closed the
    descriptors they inherited, as torchrun's do.
    """
    needle = b"\0" + os.fsencode(entry) + b"\0"
    return [pid for pid, _ in _everyone() if pid != os.getpid() and needle in b"\0" + _environment(pid)]


def host() -> str:
    """This machine's node name."""
    return os.uname().nodename


@cache
def boot_id() -> str:
    """The kernel's random id of the current boot; empty where /proc does not say."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _stat(pid: int) -> _Stat | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text("ascii", "replace")
    except OSError:
        return None
    # The command name is in parentheses and may itself hold spaces and parentheses.
    fields = text.rpartition(")")[2].split()
    return _Stat(fields[0], int(fields[1]), int(fields[2]), int(fields[19])) if len(fields) > 19 else None


def _environment(pid: int) -> bytes:
    try:
        return (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return b""


def _everyone() -> Iterator[tuple[int, _Stat]]:
    for name in os.listdir(_PROC):  # noqa: PTH208 - names only; a Path per process costs more than the read
        if name.isdecimal() and (stat := _stat(int(name))) is not None:
            yield int(name), stat
