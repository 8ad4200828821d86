"""Following one file: every complete line exactly once, whatever happens to the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine import tail as tail_module
from pipeline.engine.tail import MAX_LINE, Tail


def drain(tail: Tail, budget: int = 1 << 16) -> tuple[bytes, int]:
    """Everything there is to read now, and how many resets happened."""
    data, resets = b"", 0
    while piece := tail.read(budget):
        if piece.reset:
            data, resets = b"", resets + 1
        data += piece.data
        if not piece.more:
            break
    return data, resets


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "progress.jsonl"


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_a_partial_last_line_waits_for_its_newline(log: Path) -> None:
    tail = Tail(log)
    append(log, b"one\ntw")
    assert drain(tail) == (b"one\n", 0)
    assert tail.pending == 2
    assert tail.remainder() == b"tw"
    append(log, b"o\n")
    assert drain(tail) == (b"two\n", 0)
    assert tail.pending == 0


def test_an_unchanged_file_is_not_opened(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append(log, b"one\n")
    tail = Tail(log)
    drain(tail)

    def refuse(*_: object) -> int:
        raise AssertionError("opened")

    monkeypatch.setattr(tail_module.os, "open", refuse)
    assert tail.read() is None


def test_on_a_network_file_system_every_look_opens(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append(log, b"one\n")
    tail = Tail(log)
    drain(tail)
    opened: list[object] = []
    really = os.open
    monkeypatch.setattr(tail_module, "network_devices", lambda: frozenset({log.stat().st_dev}))
    monkeypatch.setattr(
        tail_module.os, "open", lambda path, flags: opened.append(path) or really(path, flags)
    )
    assert tail.read() is None
    assert opened == [log]


def test_truncation_starts_again(log: Path) -> None:
    append(log, b"one\ntwo\n")
    tail = Tail(log)
    drain(tail)
    log.write_bytes(b"new\n")
    assert drain(tail) == (b"new\n", 1)


def test_truncation_to_nothing_is_noticed_before_it_grows(log: Path) -> None:
    append(log, b"one\ntwo\n")
    tail = Tail(log)
    drain(tail)
    os.truncate(log, 0)
    piece = tail.read()
    assert piece is not None
    assert piece.reset


def test_truncation_and_regrowth_beyond_the_offset_starts_again(log: Path) -> None:
    head = b'{"event": "setup_done", "run_id": "' + b"same" * 50 + b'"}\n'
    append(log, head + b"first 1\n")
    tail = Tail(log)
    drain(tail)
    os.truncate(log, 0)
    append(log, head + b"again 1\nagain 2\nagain 3\n")
    assert drain(tail) == (head + b"again 1\nagain 2\nagain 3\n", 1)


def test_rewriting_to_the_same_size_starts_again(log: Path) -> None:
    append(log, b"aaaa\n")
    tail = Tail(log)
    drain(tail)
    log.write_bytes(b"bbbb\n")
    os.utime(log, ns=(1, 1))
    assert drain(tail) == (b"bbbb\n", 1)


def test_rotation_starts_again(log: Path) -> None:
    append(log, b"one\n")
    tail = Tail(log)
    drain(tail)
    log.rename(log.with_suffix(".1"))
    append(log, b"two\nthree\n")
    assert drain(tail) == (b"two\nthree\n", 1)


def test_deletion_is_told_and_recreation_starts_again(log: Path) -> None:
    append(log, b"one\n")
    tail = Tail(log)
    drain(tail)
    log.unlink()
    assert tail.read() is None
    assert tail.problem == "missing"
    append(log, b"one\ntwo\n")  # may well get the same inode
    data, _ = drain(tail)
    assert data.endswith(b"two\n")
    assert tail.problem == ""


def test_a_writer_that_cuts_off_its_torn_tail_loses_nothing(log: Path) -> None:
    append(log, b'one\n{"half')
    tail = Tail(log)
    drain(tail)
    os.truncate(log, 4)
    append(log, b"two\n")
    assert drain(tail) == (b"two\n", 0)


@pytest.mark.parametrize("size", [30_000, 300_000, 3_000_000])
def test_long_lines_come_whole_through_small_slices(log: Path, size: int) -> None:
    long = b"x" * size + b"\n"
    append(log, b"before\n" + long + b"after\n")
    assert drain(Tail(log), budget=4096) == (b"before\n" + long + b"after\n", 0)


def test_a_line_beyond_reason_is_passed_over_and_counted(log: Path) -> None:
    append(log, b"before\n" + b"x" * (MAX_LINE + 1) + b"\nafter\n")
    tail = Tail(log)
    data, oversize = b"", 0
    while piece := tail.read():
        data += piece.data
        oversize += piece.oversize
    assert (data, oversize) == (b"before\nafter\n", 1)


def test_an_endless_line_does_not_ask_to_be_read_for_ever(log: Path) -> None:
    append(log, b"x" * 100_000)
    tail = Tail(log)
    reads = 0
    while (piece := tail.read(4096)) and piece.more:
        reads += 1
    assert reads < 30
    assert tail.read(4096) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_says_so(log: Path) -> None:
    append(log, b"one\n")
    log.chmod(0)
    tail = Tail(log)
    assert tail.read() is None
    assert tail.problem == "permission denied"
    log.chmod(0o600)
    assert drain(tail) == (b"one\n", 0)


def test_what_is_not_a_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.jsonl")
    for name in ("fifo.jsonl", "."):
        tail = Tail(tmp_path / name)
        assert tail.read() is None
        assert tail.problem == "not a regular file"


def test_a_position_goes_on_where_it_was(log: Path) -> None:
    append(log, b"one\n")
    tail = Tail(log)
    drain(tail)
    append(log, b"two\n")
    assert drain(Tail(log, tail.position)) == (b"two\n", 0)
    log.write_bytes(b"other\nfile\n")
    assert drain(Tail(log, tail.position)) == (b"other\nfile\n", 1)


@settings(deadline=None)
@given(
    lines=st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"") + b"\n"), max_size=12),
    cuts=st.lists(st.integers(0, 500), max_size=8),
    budget=st.integers(1, 64),
)
def test_any_split_of_the_writes_gives_the_same_lines(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], cuts: list[int], budget: int
) -> None:
    path = tmp_path_factory.mktemp("split") / "p.jsonl"
    whole = b"".join(lines)
    tail = Tail(path)
    got, at = b"", 0
    for cut in [*sorted(c for c in cuts if c <= len(whole)), len(whole)]:
        append(path, whole[at:cut])
        at = cut
        while piece := tail.read(budget):
            assert not piece.reset
            assert not piece.data or piece.data.endswith(b"\n")
            got += piece.data
    assert got == whole
