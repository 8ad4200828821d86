"""Remembering what was read of which log, so that reopening a large tree costs next to nothing.

A snapshot is a cache: it may be deleted at any time, and one that is damaged, from another version, or
does not fit the files is ignored. It lies in `$XDG_STATE_HOME/xops/logs/`, one file for each root.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from array import array
from pathlib import Path
from typing import Any

import msgspec

from pipeline.engine.reduce import Reducer
from pipeline.engine.tail import Position

#: Raised whenever the meaning of anything in a snapshot changes.
VERSION = 1


class SavedLog(msgspec.Struct, frozen=True):
    """One log: how far it was read and what came of it."""

    position: Position
    reducer: Reducer
    resets: int


class _File(msgspec.Struct, frozen=True):
    version: int
    root: str
    logs: dict[str, msgspec.Raw]


def snapshot_path(root: Path) -> Path:
    """Where the snapshot of `root` lies."""
    import platformdirs

    name = hashlib.blake2b(os.fsencode(root.absolute()), digest_size=12).hexdigest()
    return Path(platformdirs.user_state_dir("xops")) / "logs" / f"{name}.msgpack"


def save(root: Path, logs: dict[str, SavedLog], path: Path | None = None) -> bool:
    """Write the snapshot of `root`; False if the state directory does not let us, which is no error."""
    path = path or snapshot_path(root)
    packed = {key: msgspec.Raw(_encoder.encode(log)) for key, log in logs.items()}
    data = _encoder.encode(_File(VERSION, _key(root), packed))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        return False
    return True


def load(root: Path, path: Path | None = None) -> dict[str, msgspec.Raw]:
    """The snapshot of `root` by log; empty if there is none that can be used."""
    try:
        found = _file_decoder.decode((path or snapshot_path(root)).read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return found.logs if found.version == VERSION and found.root == _key(root) else {}


def unpack(raw: msgspec.Raw) -> SavedLog | None:
    """One log of a snapshot, or None if it is damaged."""
    try:
        return _log_decoder.decode(raw)
    except (msgspec.DecodeError, ValueError):
        return None


def _key(root: Path) -> str:
    return os.fsencode(root.absolute()).decode("utf-8", "backslashreplace")


def _pack_array(value: Any) -> bytes:
    if isinstance(value, array):
        return value.tobytes()
    raise NotImplementedError(f"cannot pack {type(value).__name__}")


def _unpack_array(kind: type, value: Any) -> Any:
    if kind is array and isinstance(value, bytes):
        return array("d", value)
    raise NotImplementedError(f"cannot unpack {kind}")


_encoder = msgspec.msgpack.Encoder(enc_hook=_pack_array)
_file_decoder = msgspec.msgpack.Decoder(_File)
_log_decoder = msgspec.msgpack.Decoder(SavedLog, dec_hook=_unpack_array)
