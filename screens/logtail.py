"""The newest lines of a few event logs, merged by time, for reading. Runs in a worker thread.

Of a long log only the end is read: this is for eyes, not for counting.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.engine.journal import JournalLine
from screens.widgets.lines import Piece

#: Bytes read of each log when it is opened, and at most per look afterwards.
WINDOW = 256 * 1024

_BAD = ("failed", "error", "lost", "orphan", "stage_failed")


class LogTail:
    """Follows the ends of some logs.

    Args:
        logs: the paths, each with the word that lines of it begin with.
    """

    def __init__(self, logs: Sequence[tuple[Path, str]]) -> None:
        self._logs = tuple(logs)
        self._offsets: dict[Path, int] = {}

    def read(self) -> list[Piece]:
        """The lines added since the last look, oldest first, as (text, tone)."""
        found: list[tuple[float, Piece]] = []
        for path, name in self._logs:
            found += [_shown(line, name) for line in self._new_lines(path)]
        return [piece for _, piece in sorted(found, key=lambda pair: pair[0])]

    def _new_lines(self, path: Path) -> list[bytes]:
        """Whole lines since the last look; after a truncation from the beginning."""
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                offset = self._offsets.get(path)
                first = offset is None
                start = max(0, size - WINDOW) if offset is None or offset > size else offset
                start = max(start, size - WINDOW)
                file.seek(start)
                data = file.read(WINDOW)
        except OSError:
            self._offsets.pop(path, None)
            return []
        end = data.rfind(b"\n") + 1
        self._offsets[path] = start + end
        lines = data[:end].splitlines()
        return lines[1:] if first and start else lines


def _shown(line: bytes, name: str) -> tuple[float, Piece]:
    text = line.decode("utf-8", "replace")
    try:
        event: Any = json.loads(text)
    except (ValueError, RecursionError):
        return 0.0, (f"         {name}  {text}", "warning")
    if not isinstance(event, dict):
        return 0.0, (f"         {name}  {text}", "warning")
    when = _when(event)
    word = str(event.get("event") or event.get("status") or "-")
    rest = " ".join(f"{key}={_short(value)}" for key, value in event.items() if key not in _LEFT_OUT)
    clock = time.strftime("%H:%M:%S", time.localtime(when)) if when else "--:--:--"
    bad = any(mark in word for mark in _BAD)
    return when, (f"{clock} {name:<10} {word}  {rest}", "error" if bad else "text")


_LEFT_OUT = frozenset({"event", "time", "timestamp", "schema", "run_id", "stage", "attempt", "shard"})


def _short(value: object) -> str:
    return str(value) if isinstance(value, str | int | float | None) else json.dumps(value, default=str)


def _when(event: dict[str, Any]) -> float:
    """Unix seconds of a row by whichever clock it has; 0 without one."""
    from datetime import datetime

    for key in ("time", "timestamp"):
        value = event.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e11:
            return float(value)
        if isinstance(value, str):
            try:
                return datetime.fromisoformat(value).timestamp()
            except ValueError:
                continue
    return 0.0


def journal_piece(line: JournalLine) -> Piece:
    """One operator command: when, who, what, with which result."""
    clock = time.strftime("%m-%d %H:%M:%S", time.localtime(line.when))
    why = line.detail.get("why")
    text = f"{clock} {line.who} {line.verb} {line.stage} -> {line.result}{f' ({why})' if why else ''}"
    return text, "text" if line.result == "ok" else "error"
