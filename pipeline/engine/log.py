"""Writing event logs: one writer process per file, one `os.write` per line.

A line is complete or absent: `O_APPEND` and a single write keep concurrent readers from ever seeing half
of one, and a tail torn by a crash is closed with a newline before the first new event. NaN and infinity
are not JSON, so they become `null` and their keys are listed under `nonfinite`.

A full disk raises `DiskFullError`; a half-written line is then cut off again, so the log stays readable.
"""

from __future__ import annotations

import errno
import json
import math
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from pipeline.engine.errors import DiskFullError

#: Events that mark a transition; they are forced to disk before the writer goes on.
DURABLE = frozenset({"checkpoint_saved", "complete"})
DURABLE_PREFIXES = ("stage_", "gate_")

SCHEMA_VERSION = 1


class Emit(Protocol):
    """What domain code takes to report progress: `emit("chunk_done", bytes=8388608)`."""

    def __call__(self, event: str, **fields: Any) -> None:
        """Write one event; field values must be JSON (bytes and paths are the caller's to convert)."""


class EventWriter:
    """Appends events to one `*.jsonl` file.

    Args:
        path: the log; created with its directory, repaired if its last line is torn.
        base: fields added to every event (`run_id`, `stage`, `attempt`, ...).
    """

    def __init__(self, path: Path, **base: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._base = base
        self._seq = 0
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        size = os.fstat(self._fd).st_size
        if size and os.pread(self._fd, 1, size - 1) != b"\n":
            self._append(b"\n")

    def __call__(self, event: str, **fields: Any) -> None:
        """Append one event; see `Emit`.

        Raises:
            DiskFullError: the file system has no room; nothing of the event stays in the file.
        """
        self._seq += 1
        record = {"event": event, "timestamp": time.time(), **self._base, **finite(fields), "seq": self._seq}
        record["v"] = SCHEMA_VERSION
        line = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str)
        self._append(line.encode("utf-8", "replace") + b"\n")
        if event in DURABLE or event.startswith(DURABLE_PREFIXES):
            os.fdatasync(self._fd)

    def _append(self, data: bytes) -> None:
        start = os.fstat(self._fd).st_size
        written = 0
        try:
            while written < len(data):
                written += os.write(self._fd, data[written:])
        except OSError as error:
            if written:
                os.ftruncate(self._fd, start)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFullError(
                    f"no room left to write events to {self.path}",
                    hint="free space on that file system, then resume the stage",
                ) from error
            raise

    def close(self) -> None:
        """Close the file; further events are an error."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def finite(fields: dict[str, Any]) -> dict[str, Any]:
    """Return `fields` with NaN and infinities as None and their paths listed under `nonfinite`."""
    lost: list[str] = []

    def clean(value: Any, path: str) -> Any:
        if isinstance(value, float) and not math.isfinite(value):
            lost.append(path)
            return None
        if isinstance(value, dict):
            return {str(k): clean(v, f"{path}.{k}") for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [clean(v, f"{path}.{i}") for i, v in enumerate(value)]
        return value

    cleaned = {key: clean(value, key) for key, value in fields.items()}
    return {**cleaned, "nonfinite": lost} if lost else cleaned
