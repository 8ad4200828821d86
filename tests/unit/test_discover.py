"""Which files are logs, and that no tree harms the search."""

from __future__ import annotations

import os
from pathlib import Path, PurePath

import pytest
from logs import event, write_log

from pipeline.engine import discover
from pipeline.engine.discover import Discovery


def found(root: Path) -> list[str]:
    return [str(path) for path in Discovery(root).refresh()]


def test_logs_are_known_by_name_or_by_their_events(tmp_path: Path) -> None:
    write_log(tmp_path / "a" / "progress.jsonl", [])
    write_log(tmp_path / "a" / "journal_of_something.jsonl", [event("start")])
    write_log(tmp_path / "a" / "second_row.jsonl", [{"x": 1}, event("start")])
    write_log(tmp_path / "a" / "dataset.jsonl", [{"id": "e:qa:0", "messages": []}])
    write_log(tmp_path / "a" / "predictions.jsonl", [{"id": 1}] * 50)
    (tmp_path / "a" / "wide.jsonl").write_bytes(b'{"id": "' + b"x" * 100_000)
    (tmp_path / "a" / "notes.txt").write_text("event")
    assert found(tmp_path) == ["a/journal_of_something.jsonl", "a/progress.jsonl", "a/second_row.jsonl"]


def test_a_file_is_decided_when_it_has_its_first_line(tmp_path: Path) -> None:
    search = Discovery(tmp_path)
    path = write_log(tmp_path / "new.jsonl", [])
    assert search.refresh() == []
    path.write_bytes(b'{"event": "sta')
    assert search.refresh() == []
    path.write_bytes(b'{"event": "start"}\n')
    assert search.refresh() == [PurePath("new.jsonl")]
    assert search.refresh() == []


def test_new_directories_and_files_are_found_later(tmp_path: Path) -> None:
    search = Discovery(tmp_path)
    assert search.refresh() == []
    write_log(tmp_path / "runs" / "a" / "progress.jsonl", [])
    assert search.refresh() == [PurePath("runs/a/progress.jsonl")]
    write_log(tmp_path / "runs" / "a" / "progress_rank1.jsonl", [])
    assert search.refresh() == [PurePath("runs/a/progress_rank1.jsonl")]


def test_settled_directories_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_log(tmp_path / "a" / "progress.jsonl", [])
    for directory in (tmp_path, tmp_path / "a"):
        os.utime(directory, (1, 1))
    search = Discovery(tmp_path)
    search.refresh()
    monkeypatch.setattr(discover.os, "scandir", lambda path: pytest.fail(f"read {path} again"))
    assert search.refresh() == []


def test_loops_and_escapes_are_not_followed(tmp_path: Path) -> None:
    outside = write_log(tmp_path / "outside" / "progress.jsonl", [event("start")])
    root = tmp_path / "root"
    write_log(root / "run" / "progress.jsonl", [event("start")])
    (root / "run" / "loop").symlink_to(root)
    (root / "latest").symlink_to(root / "run")
    (root / "escape").symlink_to(outside.parent)
    (root / "escaped.jsonl").symlink_to(outside)
    (root / "dangling.jsonl").symlink_to(root / "nowhere.jsonl")
    (root / "again.jsonl").symlink_to(root / "run" / "progress.jsonl")
    search = Discovery(root)
    assert [str(p) for p in search.refresh()] == ["again.jsonl", "run/progress.jsonl"]
    assert ("escaped.jsonl", "symbolic link that leaves the root") in [
        (s.path, s.reason) for s in search.skipped
    ]


def test_a_root_that_is_a_link_or_a_file_is_what_was_asked_for(tmp_path: Path) -> None:
    write_log(tmp_path / "real" / "progress.jsonl", [event("start")])
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert found(tmp_path / "link") == ["progress.jsonl"]
    odd = write_log(tmp_path / "real" / "odd name", [])
    assert found(odd) == ["odd name"]


def test_what_cannot_be_read_is_told_and_the_rest_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_log(tmp_path / "open" / "progress.jsonl", [])
    write_log(tmp_path / "closed" / "progress.jsonl", [])
    really = os.scandir

    def refuse(path: Path) -> object:
        if path.name == "closed":
            raise PermissionError(13, "Permission denied")
        return really(path)

    monkeypatch.setattr(discover.os, "scandir", refuse)
    search = Discovery(tmp_path)
    assert [str(p) for p in search.refresh()] == ["open/progress.jsonl"]
    assert [(s.path, s.reason) for s in search.skipped] == [("closed", "permission denied")]


def test_a_deep_tree_ends(tmp_path: Path) -> None:
    deep = tmp_path / "/".join("d" * 40)
    write_log(deep / "progress.jsonl", [])
    search = Discovery(tmp_path)
    assert search.refresh() == []
    assert "deeper" in search.skipped[0].reason


def test_special_files_do_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    search = Discovery(tmp_path)
    assert search.refresh() == []
    assert search.skipped[0].reason == "not a regular file"


def test_names_that_are_not_text_are_found(tmp_path: Path) -> None:
    write_log(tmp_path / os.fsdecode(b"run\xff") / "progress.jsonl", [event("start")])
    assert len(found(tmp_path)) == 1


def test_text_logs_are_listed_apart(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text("x")
    search = Discovery(tmp_path)
    assert search.refresh() == []
    assert search.texts == {PurePath("train.log")}
