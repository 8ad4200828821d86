"""Small files that are either whole or absent: atomic publication and forgiving reads.

Every JSON record of a run goes through `publish_json`: a temporary file in the same directory, fsync,
rename, fsync of the directory. A reader therefore sees the old record or the new one, never half of one,
also after a power cut. Standard library only, because the supervisor uses it.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.engine.errors import DamagedFileError, DiskFullError, NotFoundError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def publish_bytes(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write `data` to `path` so that readers see the old content or all of the new.

    Raises:
        DiskFullError: no room; `path` keeps its old content and no temporary file stays behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with _explained(path), temporary.open("wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def publish_json(path: Path, value: Any, *, mode: int = 0o644) -> None:
    """`publish_bytes` for one JSON value; keys keep their order, paths become strings."""
    publish_bytes(path, encode_json(value), mode=mode)


def encode_json(value: Any) -> bytes:
    """The bytes of a record: indented, one trailing newline, no NaN (ValueError)."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False, default=_plain)
    return text.encode("utf-8", "replace") + b"\n"


def read_json(path: Path) -> Any:
    """The JSON value in `path`.

    Raises:
        NotFoundError: there is no such file.
        DamagedFileError: it cannot be read or is not JSON; the message says where.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise NotFoundError(f"{path} does not exist") from None
    except OSError as error:
        raise DamagedFileError(f"{path} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DamagedFileError(f"{path} is not JSON: {error}", hint=f"look at it: less {path}") from None


def read_record(path: Path) -> dict[str, Any] | None:
    """The JSON object in `path`, or None if the file does not exist.

    Raises:
        DamagedFileError: it exists but is not a JSON object.
    """
    try:
        value = read_json(path)
    except NotFoundError:
        return None
    if not isinstance(value, dict):
        raise DamagedFileError(f"{path} holds {type(value).__name__}, not an object")
    return value


def sync_directory(path: Path) -> None:
    """Force a directory's entries (renames, new names) to disk."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise DiskFullError(
                f"no room left to write {path}", hint="free space there, then resume"
            ) from error
        raise


def _plain(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def trim_log(path: Path, limit: int, keep: int = 1 << 20) -> int:
    """Cut the middle out of a log that other processes append to; returns the bytes dropped.

    Nothing happens up to `limit` bytes. Beyond it the first and last `keep` bytes stay, with a line between
    them that says what is missing. Lines written during the cut may be lost with the rest.

    Raises:
        FileNotFoundError: there is no such log.
    """
    size = path.stat().st_size
    if size <= limit:
        return 0
    keep = min(keep, limit // 4)
    with path.open("r+b") as file:
        file.seek(size - keep)
        tail = file.read()
        file.truncate(keep)
        file.seek(0, os.SEEK_END)
        dropped = size - keep - len(tail)
        file.write(
            b"\n[... %d bytes cut out: the log was over its limit of %d ...]\n" % (dropped, limit) + tail
        )
    return dropped
