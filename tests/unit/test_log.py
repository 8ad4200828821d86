"""The event writer: whole lines or none, and only JSON."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.errors import DiskFullError
from pipeline.engine.log import EventWriter, finite


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_events_carry_base_fields_time_and_sequence(tmp_path: Path) -> None:
    with EventWriter(tmp_path / "sub" / "p.jsonl", run_id="r", attempt=2) as emit:
        emit("start")
        emit("train_step", global_step=1, rank0_batch_loss=0.5)
    first, second = lines(tmp_path / "sub" / "p.jsonl")
    assert first["event"] == "start"
    assert (second["run_id"], second["attempt"], second["seq"], second["v"]) == ("r", 2, 2, 1)
    assert isinstance(second["timestamp"], float)


def test_a_torn_tail_is_closed_before_the_first_event(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(b'{"event":"a"}\n{"event":"tor')
    with EventWriter(path) as emit:
        emit("b")
    assert path.read_bytes().split(b"\n")[1] == b'{"event":"tor'
    assert json.loads(path.read_bytes().split(b"\n")[2])["event"] == "b"


def test_not_a_number_becomes_null_and_is_named(tmp_path: Path) -> None:
    with EventWriter(tmp_path / "p.jsonl") as emit:
        emit("train_step", loss=math.nan, deep={"x": [1.0, math.inf]})
    (event,) = lines(tmp_path / "p.jsonl")
    assert event["loss"] is None
    assert event["nonfinite"] == ["loss", "deep.x.1"]


def test_a_full_disk_is_said_and_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p.jsonl"
    emit = EventWriter(path)
    emit("a")
    real = os.write
    calls = iter([True, False])

    def write(fd: int, data: bytes) -> int:
        if next(calls, False):
            return real(fd, data[:5])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(DiskFullError) as caught:
        emit("b")
    monkeypatch.undo()
    assert str(path) in str(caught.value)
    emit("c")
    assert [event["event"] for event in lines(path)] == ["a", "c"]


@given(
    st.dictionaries(st.text(), st.recursive(st.none() | st.floats() | st.text() | st.integers(), st.lists))
)
def test_whatever_is_emitted_is_json_again(fields: dict[str, object]) -> None:
    json.dumps(finite(fields), allow_nan=False)
