"""Atomic files, and logs that are cut in the middle."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.engine.errors import DamagedFileError, DiskFullError, NotFoundError
from pipeline.engine.files import publish_bytes, publish_json, read_json, read_record, trim_log


def test_a_record_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "record.json"
    publish_json(path, {"a": 1})
    publish_json(path, {"a": Path("b")})
    assert read_json(path) == {"a": "b"}
    assert os.listdir(path.parent) == ["record.json"]


def test_a_value_that_is_not_json_leaves_the_old_record(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    publish_json(path, 1)
    with pytest.raises(ValueError, match="JSON"):
        publish_json(path, float("nan"))
    assert read_json(path) == 1


def test_no_room_keeps_the_old_file_and_leaves_no_temporary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "record.json"
    publish_bytes(path, b"old")

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFullError, match=r"record\.json"):
        publish_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["record.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"a": 1} x'])
def test_damage_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"record\.json"):
        read_json(path)


def test_absence_is_told_from_damage(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_json(tmp_path / "none.json")
    assert read_record(tmp_path / "none.json") is None
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(DamagedFileError, match="holds list"):
        read_record(tmp_path / "list.json")


def test_a_log_over_its_limit_keeps_both_ends_and_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "stdout.log"
    with path.open("ab", buffering=0) as writer:
        writer.write(b"begin\n" + b"m" * 10_000 + b"\nend\n")
        dropped = trim_log(path, limit=4_000)
        writer.write(b"after\n")
    text = path.read_bytes()
    assert text.startswith(b"begin\n")
    assert text.endswith(b"\nend\nafter\n")
    assert b"%d bytes cut out" % dropped in text
    assert dropped == 10_011 - 2 * 1_000
    assert trim_log(path, limit=4_000) == 0
