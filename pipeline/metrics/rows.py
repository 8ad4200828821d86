"""Reading stored predictions, JSON lines or CSV, one row at a time.

A line that is torn or lacks what every row must have is left out, counted and named with its reason; the
coverage of every metric says so. The CSV form has no true fields beside the label, so metrics of those
fields cannot be recomputed from it.
"""

from __future__ import annotations

import ast
import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from pipeline.engine.errors import NotFoundError, UsageError

#: A raw answer of 5,000 tokens is longer than csv's own limit for one cell.
_LONGEST_CELL = 16 << 20


class Row(Struct, frozen=True, kw_only=True):
    """One evaluated sample.

    Attributes:
        id, episode_id, split: which.
        true_label: its action.
        raw: what the model said.
        true: the true fields; None where the file does not have them.
        start_frame, end_frame: of the evaluated window; None where not stated.
        seen_in_train: whether the true label occurs in the train split; None where not stated.
        stored_label: the label the evaluation stored; None where it stored none.
        identity: hash of adapter, data, prompt and decoding, where the evaluation recorded it.
    """

    id: str
    episode_id: str
    split: str
    true_label: str
    raw: str
    true: dict[str, Any] | None = None
    start_frame: int | None = None
    end_frame: int | None = None
    seen_in_train: bool | None = None
    stored_label: str | None = None
    identity: str = ""


class SkippedLine(Struct, frozen=True):
    """A line that is no row.

    Attributes:
        line: its number, from 1.
        reason: what is wrong with it.
    """

    line: int
    reason: str


class Rows(Struct, frozen=True, kw_only=True):
    """All rows of a file, in its order.

    Attributes:
        path: the file.
        rows: what could be read.
        skipped: what could not.
    """

    path: str
    rows: tuple[Row, ...]
    skipped: tuple[SkippedLine, ...]


def read_rows(path: Path) -> Rows:
    """Read a predictions file; `.csv` is read as CSV, everything else as JSON lines.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it is a directory, is not text, or holds no row at all.
    """
    try:
        found = list(_csv_rows(path) if path.suffix.lower() == ".csv" else _json_rows(path))
    except FileNotFoundError:
        raise NotFoundError(f"{path} does not exist", hint="name a predictions.jsonl or .csv") from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a directory", hint=f"name a file: {path}/predictions.jsonl") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} is not a predictions file: {error}") from None
    rows = tuple(row for row in found if isinstance(row, Row))
    skipped = tuple(row for row in found if isinstance(row, SkippedLine))
    if not rows:
        why = f"; line {skipped[0].line}: {skipped[0].reason}" if skipped else ""
        raise UsageError(f"{path} holds no prediction{why}")
    return Rows(path=str(path), rows=rows, skipped=skipped)


def _json_rows(path: Path) -> Iterator[Row | SkippedLine]:
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield SkippedLine(number, f"not JSON: {error}")
                continue
            yield _row(record, number)


def _csv_rows(path: Path) -> Iterator[Row | SkippedLine]:
    csv.field_size_limit(_LONGEST_CELL)
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        for record in reader:
            yield _row(record | {"center_window": _literal(record.get("center_window"))}, reader.line_num)


def _row(record: Any, number: int) -> Row | SkippedLine:
    if not isinstance(record, Mapping):
        return SkippedLine(number, "not an object")
    for key in ("id", "true_label", "raw_prediction"):
        if not isinstance(record.get(key), str):
            return SkippedLine(number, f"{key} is missing or no text")
    window = record.get("center_window")
    true = record.get("true_json")
    return Row(
        id=record["id"],
        episode_id=str(record.get("episode_id") or ""),
        split=str(record.get("split") or ""),
        true_label=record["true_label"],
        raw=record["raw_prediction"],
        true=dict(true) if isinstance(true, Mapping) else None,
        start_frame=_number(window, "start_frame"),
        end_frame=_number(window, "end_frame"),
        seen_in_train=_flag(record.get("true_label_seen_in_train")),
        stored_label=record.get("predicted_label"),
        identity=str(record.get("identity") or ""),
    )


def _literal(text: Any) -> Any:
    """The CSV form has the window as a Python literal."""
    try:
        return ast.literal_eval(text) if isinstance(text, str) and len(text) < 1000 else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _number(window: Any, key: str) -> int | None:
    value = window.get(key) if isinstance(window, Mapping) else None
    return value if isinstance(value, int) else None


def _flag(value: Any) -> bool | None:
    """0 or 1, as a number or as CSV text."""
    return {"0": False, "1": True}.get(str(int(value)) if isinstance(value, (bool, int)) else str(value))
