"""Reading rows of derived tables (CSV or JSON lines) whose columns a metric names."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.engine.errors import NotFoundError, UsageError


def read_records(path: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """All rows of a table.

    Args:
        path: `.csv` with a header, or JSON lines.
        columns: what every row must have.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it is not such a table, or a row lacks a column: a metric over some of the rows would be
            another metric.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            if path.suffix.lower() == ".csv":
                found: list[Any] = list(csv.DictReader(stream))
            else:
                found = [json.loads(line) for line in stream if line.strip()]
    except FileNotFoundError:
        raise NotFoundError(f"{path} does not exist") from None
    except (OSError, UnicodeDecodeError, ValueError, csv.Error, RecursionError) as error:
        raise UsageError(f"{path} cannot be read as a table: {error}") from None
    for number, record in enumerate(found, 1):
        lacks = _lacking(record, columns)
        if lacks:
            raise UsageError(
                f"{path}: row {number} has no {lacks}", hint=f"its columns: {', '.join(columns)}"
            )
    if not found:
        raise UsageError(f"{path} has no rows")
    return found


def whole_number(record: Mapping[str, Any], column: str, path: Path) -> int:
    """A cell as an integer."""
    try:
        return int(record[column])
    except (TypeError, ValueError):
        raise UsageError(f"{path}: {column} is {str(record[column])[:40]!r}, not a whole number") from None


def real_number(record: Mapping[str, Any], column: str, path: Path) -> float:
    """A cell as a float."""
    try:
        return float(record[column])
    except (TypeError, ValueError):
        raise UsageError(f"{path}: {column} is {str(record[column])[:40]!r}, not a number") from None


def _lacking(record: Any, columns: Sequence[str]) -> str:
    if not isinstance(record, Mapping):
        return "columns: it is not an object"
    return ", ".join(column for column in columns if record.get(column) is None)
