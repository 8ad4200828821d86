"""What can go wrong on the way to the destination, told apart by what the operator must do."""

from __future__ import annotations

import errno
import os

from pipeline.engine.errors import (
    DiskFullError,
    NoPermissionError,
    StageFailedError,
    UnreachableError,
    UsageError,
)
from pipeline.engine.files import FULL


class LaneLostError(UnreachableError):
    """One connection broke; its work goes to another, so operators see this only as an event."""


class NoAgentError(LaneLostError):
    """The host answered, but our program does not run there; another way of writing may."""


class HostKeyError(NoPermissionError):
    """The host's key is unknown or not the one that was recorded."""


class LoginRefusedError(NoPermissionError):
    """The host does not accept the key or the account."""


class RefusedPathError(UsageError):
    """A file may not be moved under its name, or something on the destination is in its way."""


class DestinationFullError(DiskFullError):
    """The destination has no room (or no quota) left."""


class DestinationError(StageFailedError):
    """The destination's system refused an operation on a file.

    Attributes:
        number: the errno.
    """

    def __init__(self, message: str, number: int, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.number = number


class SourceDamagedError(StageFailedError):
    """The local copy is not what it should be; downloading it again helps, sending it again does not.

    Attributes:
        path: the file, relative to its root.
    """

    def __init__(self, message: str, path: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = path


def destination_error(number: int, path: str, host: str) -> Exception:
    """The error for errno `number`, told by `host` about `path`."""
    told = f"{host}: {path or 'root directory'}: {os.strerror(number)}"
    if number in FULL:
        return DestinationFullError(told, hint="free space there; the transfer goes on by itself")
    if number in (errno.ELOOP, errno.EMLINK, errno.ENOTDIR, errno.EISDIR, errno.EPERM):
        return RefusedPathError(
            f"{told} (a link or something else is in the way, or the name is not allowed)",
            hint=f"look there: ssh {host} ls -la",
        )
    return DestinationError(told, number, hint=f"look there: ssh {host} ls -la")
