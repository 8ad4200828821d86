"""Reading event lines: the one place that knows how rows of any writer are decoded.

A row is one JSON object on one line. Two speeds: `Row` holds the few fields that hot events carry and is
decoded for whole slices at once; everything else of a row is decoded on demand (`Batch.detail`). Lines
the strict decoder rejects (NaN, wrong types, invalid UTF-8, NUL bytes, torn halves) go through a lenient
one, so a bad line never costs its neighbours.

Names differ between writers. The left name is ours, the others are accepted:

    timestamp (Unix seconds) | time (float, integer or ISO-8601 text)
    global_step | step               rank0_batch_loss | rank0_loss | loss
    done | completed_samples | index total | num_eval_samples
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from operator import attrgetter
from typing import Any

import msgspec

Detail = dict[str, Any]

#: Events that come in thousands; all that counts of their rows is in `Row` (see `pipeline.engine.measure`).
FREQUENT = frozenset(
    {
        "train_step",
        "eval_step",
        "sample_done",
        "chunk_done",
        "chunk_downloaded",
        "file_done",
        "download_done",
        "skip_existing",
        "split_transfer_done",
        "direct_transfer_done",
    }
)

#: Event name of a JSON object that has none, such as the rows of the access watcher.
NO_EVENT = "(no event)"

#: Longest event name kept; a longer one is not a name.
NAME_CHARS = 80


class Row(msgspec.Struct, gc=False):
    """The fields of one row that frequent events carry; counts are floats because foreign writers mix."""

    event: str = NO_EVENT
    timestamp: float | str | None = None
    time: float | str | None = None
    global_step: float | None = None
    step: float | None = None
    rank0_batch_loss: float | None = None
    rank0_loss: float | None = None
    loss: float | None = None
    completed_samples: float | None = None
    num_eval_samples: float | None = None
    seconds: float | None = None
    bytes: float | None = None
    index: float | None = None
    done: float | None = None
    total: float | None = None
    seq: float | None = None
    nonfinite: list[Any] | None = None


NUMBERS = tuple(
    name for name in Row.__struct_fields__ if name not in ("event", "timestamp", "time", "nonfinite")
)

_STRICT = msgspec.json.Decoder(Row)
_OBJECT = json.JSONDecoder(strict=False)
_EVENT = attrgetter("event")
_TIMESTAMP = attrgetter("timestamp")
_REJECTED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Batch:
    """The rows of one slice of a log.

    An object that spans lines is no row. Only a slice that holds nothing but one frequent event is not
    checked for that: counting the newlines of a long log costs as much as a tenth of decoding it.

    Attributes:
        rows: decoded rows in file order.
        bad: lines that are neither blank nor a JSON object.
    """

    __slots__ = ("_data", "_details", "_lines", "_uniform", "bad", "rows")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._lines: list[bytes] | None = None
        self._details: list[Detail] | None = None
        self._uniform = False
        self.bad = 0
        try:
            self.rows = _STRICT.decode_lines(data)
        except _REJECTED:
            self._read_leniently()
            return
        self._uniform = self._is_uniform()
        if not self._uniform and len(self.rows) != data.count(b"\n"):
            self._read_leniently()

    def runs(self) -> Iterable[tuple[str, list[Row]]]:
        """The rows as (event, rows in a row that have it)."""
        if self._uniform:
            return [(self.rows[0].event, self.rows)]
        return ((name, list(rows)) for name, rows in groupby(self.rows, key=_EVENT))

    def detail(self, index: int) -> Detail:
        """All fields of row `index`, as decoded JSON."""
        if self._details is not None:
            return self._details[index]
        if self._lines is None:
            self._lines = [line for line in self._data.split(b"\n") if not is_blank(line)]
        try:
            value = msgspec.json.decode(self._lines[index])
        except _REJECTED:
            value = next(objects(self._lines[index]), {})
        return value if isinstance(value, dict) else {}

    def _is_uniform(self) -> bool:
        if not self.rows or self.rows[0].event not in FREQUENT:
            return False
        names = list(map(_EVENT, self.rows))
        return names.count(names[0]) == len(names)

    def _read_leniently(self) -> None:
        self.rows, self._details, self.bad = [], [], 0
        for line in self._data.split(b"\n"):
            found = 0
            for value in objects(line):
                self._details.append(value)
                self.rows.append(row_of(value))
                found += 1
            if not found or torn(line):
                self.bad += not is_blank(line)


def is_blank(line: bytes) -> bool:
    """Whether a line holds nothing but white space. A run of NULs is a hole, hence not blank."""
    return not line.strip()


def torn(line: bytes) -> bool:
    """Whether a line that gave rows begins with the first half of another, lost one."""
    try:
        _STRICT.decode(line)
    except _REJECTED:
        return next(_whole_objects(_text(line)), None) is None
    return False


def objects(line: bytes) -> Iterator[Detail]:
    """The JSON objects of one line; none if it is not made of objects.

    A writer that was killed in the middle of a line and started again leaves half a line with a whole
    event glued to it; that event is found as well.
    """
    text = _text(line)
    if not text:
        return
    whole = list(_whole_objects(text))
    if whole:
        yield from whole
        return
    glued = text.rfind('{"event"')
    if glued > 0:
        yield from _whole_objects(text[glued:])


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").strip("\0\ufeff \t\r\n")


def _whole_objects(text: str) -> Iterator[Detail]:
    """All objects of `text` if it consists of nothing else, otherwise none."""
    found: list[Detail] = []
    at = 0
    while at < len(text):
        try:
            value, at = _OBJECT.raw_decode(text, at)
        except (ValueError, RecursionError):
            return
        if not isinstance(value, dict):
            return
        found.append(value)
        while at < len(text) and text[at] in " \t\r\0":
            at += 1
    yield from found


def row_of(value: Detail) -> Row:
    """A row from a decoded object; fields of a wrong type count as absent, digits in text as numbers."""
    row = Row(event=_name(value.get("event")))
    row.timestamp, row.time = _moment(value.get("timestamp")), _moment(value.get("time"))
    lost = value.get("nonfinite")
    row.nonfinite = lost if isinstance(lost, list) else None
    for name in NUMBERS:
        setattr(row, name, number_of(value, name))
    return row


def _name(value: object) -> str:
    if value is None:
        return NO_EVENT
    return clean(str(value))


def _moment(value: object) -> float | str | None:
    if isinstance(value, str):
        return clean(value)
    return _number(value)


def clean(text: str) -> str:
    """`text` without lone surrogates, which no output encoding accepts."""
    return text.encode("utf-8", "replace").decode("utf-8")


def number_of(value: Detail, name: str) -> float | None:
    """Field `name` as a float (NaN and infinities included), or None if it is absent or not a number."""
    return _number(value.get(name))


def _number(value: object) -> float | None:
    if value is None or isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def text_of(value: Detail, name: str, limit: int = 300) -> str | None:
    """Field `name` as text of at most `limit` characters, or None if it is absent or empty."""
    found = value.get(name)
    if found is None or found == "":
        return None
    return clean(found if isinstance(found, str) else json.dumps(found, default=str))[:limit]


def clock(row: Row) -> float | None:
    """When the row was written, in Unix seconds; None if it has no usable clock."""
    when = row.timestamp if row.timestamp is not None else row.time
    if isinstance(when, float):
        return when if math.isfinite(when) else None
    return _parse_clock(when) if when is not None else None


def clocks(rows: Sequence[Row]) -> Sequence[float | None]:
    """`clock` of many rows; fast when all of them have a plain number."""
    times = list(map(_TIMESTAMP, rows))
    if set(map(type, times)) == {float} and math.isfinite(sum(times)):
        return times
    return [clock(row) for row in rows]


def _parse_clock(text: str) -> float | None:
    number = _number(text)
    if number is not None:
        return number if math.isfinite(number) else None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (OverflowError, ValueError):
        return None
