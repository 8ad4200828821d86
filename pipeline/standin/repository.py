"""A directory as a dataset repository: its files with git and LFS ids, and its commit."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

#: Suffixes that the real dataset's .gitattributes keeps in LFS whatever their size.
LFS_SUFFIXES = frozenset({".hdf5", ".mp4", ".rrd"})
LFS_THRESHOLD = 10 << 20


class Entry(Struct, frozen=True):
    """One file of the repository.

    Attributes:
        path: repository path.
        file: where its bytes are; the null device for an entry that is only listed.
        size: bytes.
        sha256: of the content.
        git_oid: git's blob id, of the pointer for an LFS file.
        lfs: whether the content is in LFS.
    """

    path: str
    file: Path
    size: int
    sha256: str
    git_oid: str
    lfs: bool

    @property
    def etag(self) -> str:
        """What the Hub gives as ETag: the LFS id, else the git id."""
        return self.sha256 if self.lfs else self.git_oid

    def tree_record(self) -> dict[str, Any]:
        """The entry as the tree and paths-info endpoints show it."""
        record: dict[str, Any] = {"type": "file", "path": self.path, "size": self.size, "oid": self.git_oid}
        if self.lfs:
            record["lfs"] = {"oid": self.sha256, "size": self.size, "pointerSize": 134}
        return record

    def sibling(self, *, details: bool) -> dict[str, Any]:
        """The entry as the dataset info shows it, with sizes and ids if `details`."""
        record: dict[str, Any] = {"rfilename": self.path}
        if details:
            record |= {"size": self.size, "blobId": self.git_oid}
            if self.lfs:
                record["lfs"] = {"sha256": self.sha256, "size": self.size, "pointerSize": 134}
        return record


class Repository:
    """The files of a directory tree at one moment.

    Args:
        root: the tree; symbolic links and hidden files are left out.
        only_listed: further (path, size) pairs that are listed but have no content, such as hostile names.
    """

    def __init__(self, root: Path, only_listed: tuple[tuple[str, int], ...] = ()) -> None:
        entries = [_entry(root, file) for file in _files(root)]
        empty = hashlib.sha256(b"").hexdigest()
        listed = [
            Entry(path, Path(os.devnull), size, empty, "0" * 40, lfs=True) for path, size in only_listed
        ]
        self.listed = sorted([*entries, *listed], key=lambda entry: entry.path)
        self.by_path = {entry.path: entry for entry in entries}
        self.by_sha256 = {entry.sha256: entry for entry in entries}
        state = "".join(f"{entry.path}\n{entry.sha256}\n" for entry in entries)
        self.commit = hashlib.sha1(state.encode(), usedforsecurity=False).hexdigest()

    def tree(self, below: str, *, recursive: bool) -> list[dict[str, Any]]:
        """Records of the files and folders below the folder `below` ("" is the root), by path."""
        prefix = f"{below}/" if below else ""
        records: dict[str, dict[str, Any]] = {}
        for entry in self.listed:
            if not entry.path.startswith(prefix):
                continue
            parts = entry.path[len(prefix) :].split("/")
            depths = range(1, len(parts)) if recursive else range(1, min(2, len(parts)))
            for depth in depths:
                folder = prefix + "/".join(parts[:depth])
                records[folder] = {"type": "directory", "path": folder, "oid": "0" * 40, "size": 0}
            if recursive or len(parts) == 1:
                records[entry.path] = entry.tree_record()
        return [records[path] for path in sorted(records)]


def _files(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if path.is_file() and not path.is_symlink() and not hidden:
            yield path


def _entry(root: Path, file: Path) -> Entry:
    size = file.stat().st_size
    lfs = file.suffix in LFS_SUFFIXES or size >= LFS_THRESHOLD
    sha256 = hashlib.sha256()
    blob = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    with file.open("rb") as stream:
        while data := stream.read(1 << 20):
            sha256.update(data)
            blob.update(data)
    digest = sha256.hexdigest()
    if lfs:
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {size}\n".encode()
        blob = hashlib.sha1(b"blob %d\0" % len(pointer) + pointer, usedforsecurity=False)
    return Entry(file.relative_to(root).as_posix(), file, size, digest, blob.hexdigest(), lfs)
