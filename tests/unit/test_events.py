"""Decoding rows: what is a row, what is a bad line, and that neither touches its neighbours."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.events import FREQUENT, NO_EVENT, Batch, clock
from pipeline.engine.measure import MEASURES

GOOD = b'{"event": "train_step", "global_step": 3, "rank0_batch_loss": 0.5, "timestamp": 12.5}\n'


def names(data: bytes) -> list[str]:
    return [row.event for row in Batch(data).rows]


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ('"timestamp": 1780646367.25', 1780646367.25),
        ('"time": 1780646367.25', 1780646367.25),
        ('"time": 1780646367', 1780646367.0),
        ('"time": "2026-06-05T08:00:00+00:00"', 1780646400.0),
        ('"time": "2026-06-05T08:00:00Z"', 1780646400.0),
        ('"time": "2026-06-05T08:00:00"', 1780646400.0),
        ('"timestamp": "1780646400"', 1780646400.0),
        ('"timestamp": 5, "time": 6', 5.0),
        ('"timestamp": null, "time": 6', 6.0),
        ('"timestamp": "yesterday"', None),
        ('"timestamp": 1e400', None),
        ('"timestamp": true', None),
        ('"other": 1', None),
    ],
)
def test_every_clock_key_is_read(fields: str, seconds: float | None) -> None:
    row = Batch(f'{{"event": "a", {fields}}}\n'.encode()).rows[0]
    assert clock(row) == seconds


@pytest.mark.parametrize(
    "line",
    [
        b'{"event":"train_step","glob',
        b"\xff\xfe garbage",
        b"\0" * 300,
        b"[1, 2]",
        b'"text"',
        b"17",
        b"null",
        b"{" * 5000,
        b"[" * 100_000,
    ],
)
def test_a_bad_line_is_counted_and_its_neighbours_kept(line: bytes) -> None:
    batch = Batch(GOOD + line + b"\n" + GOOD)
    assert [row.global_step for row in batch.rows] == [3, 3]
    assert batch.bad == 1


@pytest.mark.parametrize("blank", [b"\n", b"\r\n", b"  \n", b"\t\r\n"])
def test_blank_lines_are_nothing(blank: bytes) -> None:
    batch = Batch(blank + GOOD + blank + blank)
    assert (len(batch.rows), batch.bad) == (1, 0)


@pytest.mark.parametrize(
    "line",
    [
        GOOD.replace(b"\n", b"\r\n"),
        b"\0\0\0" + GOOD,
        b"\xef\xbb\xbf" + GOOD,
        GOOD.replace(b"train_step", b'train_step", "note": "\xff'),
        GOOD.replace(b"train_step", b'train_step", "note": "a\x1b[2Jb'),
        GOOD.replace(b"3,", b'"3",'),
        GOOD.replace(b"3,", b"3.0,"),
    ],
)
def test_damaged_but_readable_rows_are_rows(line: bytes) -> None:
    batch = Batch(line)
    assert [(row.event, row.global_step) for row in batch.rows] == [("train_step", 3)]
    assert batch.bad == 0


def test_nan_and_infinity_are_numbers_of_their_row() -> None:
    rows = Batch(b'{"event": "train_step", "loss": NaN}\n{"event": "train_step", "loss": -Infinity}\n').rows
    assert rows[0].loss is not None
    assert math.isnan(rows[0].loss)
    assert rows[1].loss == -math.inf


def test_wrong_types_count_as_absent() -> None:
    line = b'{"event": "sample_done", "seconds": [1], "completed_samples": true, "bytes": {}, "index": "x"}\n'
    row = Batch(line).rows[0]
    assert (row.event, row.seconds, row.completed_samples, row.bytes, row.index) == ("sample_done",) + (
        None,
    ) * 4


def test_an_event_glued_to_a_torn_half_is_found_and_the_half_counted() -> None:
    batch = Batch(b'{"event": "train_step", "glo{"event": "eval_start", "timestamp": 1}\n')
    assert [row.event for row in batch.rows] == ["eval_start"]
    assert batch.bad == 1


def test_rows_without_event_are_rows() -> None:
    assert names(b'{"attempt": 1, "approved": false}\n') == [NO_EVENT]


def test_event_names_of_any_type_are_text() -> None:
    assert names(b'{"event": 7}\n') == ["7"]
    assert names(b'{"event": "a\\ud800b"}\n') == ["a?b"]


def test_details_belong_to_their_row() -> None:
    batch = Batch(b"\n" + GOOD + b'oops\n{"event": "setup_done", "epochs": 4}\n')
    assert batch.detail(1)["epochs"] == 4
    assert Batch(GOOD + b'{"event": "x", "epochs": 5}\n').detail(1)["epochs"] == 5


def test_what_is_frequent_is_what_is_measured() -> None:
    assert set(MEASURES) == FREQUENT


def test_a_row_over_several_lines_is_not_a_row() -> None:
    assert names(b'{"event":\n"a"}\n') == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(
    [
        "event",
        "timestamp",
        "time",
        "global_step",
        "loss",
        "seconds",
        "bytes",
        "done",
        "total",
        "seq",
        "nonfinite",
        "x",
    ]
)


@given(st.dictionaries(keys, json_values, max_size=6))
def test_any_object_is_a_row(value: dict[str, object]) -> None:
    batch = Batch(GOOD + json.dumps(value).encode() + b"\n" + GOOD)
    assert (len(batch.rows), batch.bad) == (3, 0)


@given(st.binary(max_size=200))
def test_garbage_never_raises_and_never_costs_a_neighbour(garbage: bytes) -> None:
    batch = Batch(GOOD + garbage + b"\n" + GOOD)
    assert names(GOOD)[0] == batch.rows[0].event
    assert batch.rows[-1].global_step == 3
    assert len(batch.rows) >= 2
