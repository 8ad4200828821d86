"""Downloading one file from the Hub in verified, resumable ranges."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from msgspec import Struct

from pipeline.engine.log import Emit
from pipeline.hub.types import RemoteFile


class Limiter(Protocol):
    """A bandwidth cap shared by any number of downloads."""

    async def acquire(self, size: int) -> None:
        """Wait until `size` more bytes may be moved."""


class Cancel(Protocol):
    """Asks a download to stop; `threading.Event`, `asyncio.Event` and the stage's flag all fit."""

    def is_set(self) -> bool:
        """Whether to stop."""


class Source(Protocol):
    """Where ranges of a file can be had from; `pipeline.hub.source.HubSource` is the real one."""


class FetchResult(Struct, frozen=True):
    """What one download did.

    Attributes:
        path: the finished file.
        received: bytes that came over the network in this call, including those thrown away.
        kept: bytes found from an earlier, interrupted call.
        retries: requests made again after a failure.
        seconds: wall time, verification included.
    """

    path: Path
    received: int
    kept: int
    retries: int
    seconds: float


async def fetch(
    file: RemoteFile,
    destination: Path,
    *,
    source: Source,
    emit: Emit,
    limiter: Limiter | None = None,
    cancel: Cancel | None = None,
) -> FetchResult:
    """Bring `file` to `destination` (the file's final path, below a root checked by the caller).

    Raises:
        CancelledByOperatorError: `cancel` was set; finished ranges are kept for the next call.
        DiskFullError: no room; finished ranges are kept.
        NoPermissionError, NotFoundError, UnreachableError: the Hub refused, has no such file, or did not
            answer after all retries.
    """
    raise NotImplementedError
