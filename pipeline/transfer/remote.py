"""What a lane can do on the destination, however it does it.

Two classes speak this protocol: `agent_remote` (a helper fed over the exec channel; the normal one) and
`sftp_remote` (where no program of ours can run). Paths are relative to the destination root and were checked
by `check_path`; parts and publication are as `pipeline.transfer.agent` describes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, NamedTuple, Protocol

from pipeline.hub import names
from pipeline.transfer.agent import PART
from pipeline.transfer.errors import RefusedPathError

#: A range that holds no data yet has this digest.
HOLE = bytes(32)

#: Waits until so many more bytes may be sent.
Throttle = Callable[[int], Awaitable[None]]


class Span(NamedTuple):
    """Bytes `offset` to `offset + length` of a file."""

    offset: int
    length: int


class Seen(NamedTuple):
    """What lies on the destination under one name.

    Attributes:
        size: bytes of the published file; None if there is none.
        stamp: changes when the published file changes; compared only with stamps of the same kind of remote.
        part: bytes of its part; None if there is none.
    """

    size: int | None
    stamp: str
    part: int | None


class Entry(NamedTuple):
    """One name in a directory of the destination.

    Attributes:
        name: without its directory.
        kind: what it is; links are `other`.
        size: bytes of a file.
    """

    name: str
    kind: Literal["file", "directory", "other"]
    size: int


class Room(NamedTuple):
    """What is free below the destination root."""

    bytes: int
    inodes: int


class Proof(NamedTuple):
    """Outcome of publishing: the hash of what lies on the destination, and the stamp if it was right."""

    sha256: str
    stamp: str | None


class Remote(Protocol):
    """One connection's hands on the destination. All calls raise LaneLostError when it breaks."""

    kind: str

    async def seen(self, paths: Sequence[str]) -> list[Seen]:
        """Look at files and parts."""

    async def entries(self, directory: str) -> list[Entry]:
        """What lies in one directory below the root; the root itself is the empty path."""

    async def room(self) -> Room:
        """Free space below the root."""

    async def write(self, path: str, size: int, offset: int, data: bytes, digest: bytes) -> None:
        """Write into the part of `path` (`size` bytes in all), acknowledged after it is written."""

    async def put(self, path: str, data: bytes, sha256: str) -> Proof:
        """Send, prove and publish a whole file in one exchange."""

    async def hashes(self, path: str, size: int, spans: Sequence[Span], *, final: bool) -> list[bytes]:
        """SHA-256 of ranges on disk; HOLE where nothing was written."""

    async def hash_ahead(self, path: str, end: int) -> None:
        """Begin hashing the part up to `end`, which is complete up to there; may do nothing."""

    async def sha256(self, path: str, size: int) -> str:
        """Hash of the published file, read back from disk."""

    async def finish(self, path: str, size: int, sha256: str) -> Proof:
        """Fsync the part, hash it from disk, publish it if that is `sha256`."""

    async def demote(self, path: str) -> None:
        """Turn the published file back into a part."""

    async def drop(self, path: str) -> None:
        """Remove the part, if any, and directories that are empty then."""

    def forget(self, path: str) -> None:
        """Release what is kept open for `path`."""

    def quiet_for(self) -> float:
        """Seconds since anything moved while an answer is awaited; 0 when none is."""

    def abort(self) -> None:
        """Break the connection at once."""


def check_path(path: str) -> str:
    """Return `path` if it may be written below the destination root.

    Raises:
        RefusedPathError: it would leave the root, confuse a terminal, clash with a part, or is a viewer file.
    """
    reason = names.refusal(path)
    if not reason and any(names.is_excluded(component) for component in path.split("/")):
        reason = "viewer files (*.rrd) are never moved"
    if not reason and any(component.lower().endswith(PART) for component in path.split("/")):
        reason = f"{PART} marks unfinished files"
    if not reason and any(len(component) > 240 for component in path.split("/")):
        reason = "too long"
    if reason:
        raise RefusedPathError(f"{path[:200]!r} is refused: {reason}", hint="remove it from the selection")
    return path
