"""What a file is by its content, whatever it is called."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Bytes that are read to tell.
_HEAD = 4096

#: Beginning of the file -> what it is.
_MAGIC = (
    (b"\x89HDF\r\n\x1a\n", "hdf5"),
    (b"PK\x03\x04", "zip archive"),
    (b"PK\x05\x06", "zip archive"),
    (b"\x1f\x8b", "gzip archive"),
    (b"BZh", "bzip2 archive"),
    (b"\xfd7zXZ\x00", "xz archive"),
    (b"7z\xbc\xaf\x27\x1c", "7z archive"),
    (b"Rar!\x1a\x07", "rar archive"),
    (b"\x28\xb5\x2f\xfd", "zstd archive"),
    (b"\x93NUMPY", "numpy array"),
    (b"PAR1", "parquet"),
    (b"GGUF", "model weights"),
    (b"RRF", "rerun recording"),
    (b"RRIO", "rerun recording"),
    (b"RIFF", "media"),
    (b"\x1aE\xdf\xa3", "media"),
    (b"OggS", "media"),
    (b"ID3", "media"),
    (b"fLaC", "media"),
    (b"\x89PNG\r\n\x1a\n", "picture"),
    (b"\xff\xd8\xff", "picture"),
    (b"GIF8", "picture"),
    (b"SQLite format 3\x00", "database"),
    (b"\x7fELF", "program"),
)

#: Kinds whose content is text; every other kind is refused, pictures too: they may be frames.
TEXT = frozenset({"json", "json lines", "csv", "text"})

#: A run of base64 or hex this long is a file inside a text.
_ENCODED = re.compile(rb"[A-Za-z0-9+/_-]{4096,}={0,2}")

#: Numbers in one list beyond which it is a tensor and not a table.
MOST_NUMBERS = 20_000


def kind_of(path: Path) -> str:
    """One of `TEXT`, or what the file is instead: `hdf5`, `zip archive`, `binary`, ...

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[4:8] == b"ftyp":
        return "media"
    if head[257:262] == b"ustar":
        return "tar archive"
    if _is_safetensors(head):
        return "model weights"
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return "pickle"
    return _text_kind(path, head)


def hidden_data(path: Path) -> str:
    """Why a text file is more than text: an encoded file or a tensor inside; empty when it is not."""
    data = path.read_bytes()
    if found := _ENCODED.search(data):
        return f"{len(found.group()):,} characters without a break: an encoded file"
    if path.suffix == ".json":
        try:
            content = json.loads(data)
        except (ValueError, RecursionError):
            return "not JSON"
        most = max(_numbers(content), default=0)
        if most > MOST_NUMBERS:
            return f"a list of {most:,} numbers: a tensor"
    return ""


def _is_safetensors(head: bytes) -> bool:
    length = int.from_bytes(head[:8], "little")
    return len(head) > 16 and head[8:9] == b"{" and 2 <= length < (1 << 32) and b'"dtype"' in head


def _text_kind(path: Path, head: bytes) -> str:
    if b"\0" in head:
        return "binary"
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4 or len(head) < _HEAD:
            return "binary"
    return {".json": "json", ".jsonl": "json lines", ".csv": "csv"}.get(path.suffix.lower(), "text")


def _numbers(content: Any) -> Iterator[int]:
    """Numbers below each outermost list."""
    if isinstance(content, dict):
        for value in content.values():
            yield from _numbers(value)
    elif isinstance(content, list):
        yield _count(content)


def _count(value: Any) -> int:
    if isinstance(value, list):
        return sum(map(_count, value))
    if isinstance(value, dict):
        return sum(map(_count, value.values()))
    return int(isinstance(value, (int, float)) and not isinstance(value, bool))
