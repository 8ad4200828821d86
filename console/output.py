"""The only writer to stdout: JSON for scripts, aligned tables for people.

Every verb ends in exactly one of these calls. Text from logs, hosts and files passes `safe_text` before a
terminal sees it; JSON escapes control characters by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from pipeline.engine.text import cell_width, safe_text


def emit_json(value: Any) -> None:
    """Write `value` (Structs, dataclasses, paths, plain data) as one line of JSON."""
    sys.stdout.write(msgspec.json.encode(value, enc_hook=str).decode() + "\n")
    sys.stdout.flush()


def emit_text(text: str) -> None:
    """Write prose or a document that xops itself composed, line by line made safe."""
    sys.stdout.write("\n".join(safe_text(line) for line in text.split("\n")) + "\n")
    sys.stdout.flush()


def emit_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """Write an aligned table; numbers to the right; `empty` says what to do when there are no rows."""
    cells = [[_cell(value) for value in row] for row in rows]
    if not cells:
        emit_text(empty)
        return
    widths = [max(cell_width(row[i]) for row in [list(columns), *cells]) for i in range(len(columns))]
    numeric = [_is_numeric([row[i] for row in cells]) for i in range(len(columns))]
    for row in [[name.upper() for name in columns], *cells]:
        padded = (_pad(text, widths[i], right=numeric[i]) for i, text in enumerate(row))
        sys.stdout.write("  ".join(padded).rstrip() + "\n")
    sys.stdout.flush()


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return safe_text(str(value))


def _is_numeric(column: Sequence[str]) -> bool:
    known = [text for text in column if text != "-"]
    return bool(known) and all(map(_is_number, known))


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).replace("-", "", 1).replace(",", "").isdigit()


def _pad(text: str, width: int, *, right: bool) -> str:
    fill = " " * (width - cell_width(text))
    return fill + text if right else text + fill
