"""What was proved on the destination, remembered here: a restart need not read it back again.

One line per file, appended after it got its name. A line counts only while the destination's stamp (change
time and inode) is the same, so a file that somebody touched is hashed again.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from pipeline.transfer.outgoing import Outgoing


class Record(Struct, frozen=True):
    """One proved file.

    Attributes:
        path, size, sha256: which.
        stamp: the destination's, when it was proved.
        chunk_bytes: size of its chunks.
        chunks: their sha256 in order, so that a later difference can be located without the local file;
            empty where they are not known.
    """

    path: str
    size: int
    sha256: str
    stamp: str
    chunk_bytes: int = 0
    chunks: tuple[str, ...] = ()

    def proves(self, file: Outgoing, stamp: str) -> bool:
        """Whether what lies there under `stamp` is `file`."""
        return (
            stamp == self.stamp
            and file.size == self.size
            and (file.sha256 is None or file.sha256 == self.sha256)
        )


class Ledger:
    """The records of one destination, in one append-only file.

    Args:
        path: the file; made with its directory when first needed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._records = _read(path)
        self._handle = -1

    def find(self, path: str) -> Record | None:
        """The newest record of a file."""
        return self._records.get(path)

    def add(self, record: Record) -> None:
        """Remember a proved file."""
        self._records[record.path] = record
        if self._handle < 0:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.write(self._handle, b"\n")  # ends a line that a kill may have torn
        os.write(self._handle, msgspec.json.encode(record) + b"\n")

    def doubt(self, path: str) -> None:
        """Have a file read back again before it is believed; its chunks' hashes stay known."""
        known = self._records.get(path)
        if known is not None:
            self.add(msgspec.structs.replace(known, stamp=""))

    def close(self) -> None:
        """Close the file."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _read(path: Path) -> dict[str, Record]:
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return {}
    found: dict[str, Record] = {}
    for line in lines:
        try:
            record = msgspec.json.decode(line, type=Record)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue  # torn by a kill: that file is hashed again, nothing is lost
        found[record.path] = record
    return found
