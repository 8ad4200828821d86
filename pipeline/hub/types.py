"""The two values every part of the relay passes around: a file on the Hub and a batch of them."""

from __future__ import annotations

from msgspec import Struct


class RemoteFile(Struct, frozen=True):
    """One file of the dataset at the pinned revision.

    Attributes:
        path: repository path, `<session>/ep<N>/<name>`, already checked by `pipeline.hub.names`.
        size: bytes.
        sha256: lower-case hex LFS object id; None for small files that the Hub keeps in git, and where a
            foreign selection brings no hashes.
    """

    path: str
    size: int
    sha256: str | None = None


class Batch(Struct, frozen=True):
    """What the relay downloads and transfers as one unit.

    Attributes:
        number: position in the plan, from 1.
        episodes: `<session>/ep<N>` in selection order.
        files: the episodes' files, in the order they are moved.
    """

    number: int
    episodes: tuple[str, ...]
    files: tuple[RemoteFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)
