"""Many logs, and going on from a snapshot."""

from __future__ import annotations

from pathlib import Path

import pytest
from logs import eval_rows, event, train_rows, write_log

from pipeline.engine import snapshots
from pipeline.engine.reduce import Reducer
from pipeline.engine.store import Store


def opened(root: Path, *, remember: bool = True) -> Store:
    store = Store([root], remember=remember)
    store.catch_up()
    return store


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "results"
    write_log(root / "t" / "progress.jsonl", train_rows("t", 700))
    write_log(root / "e" / "progress.jsonl", eval_rows("e", 5, 9))
    return root


def test_a_snapshot_saves_the_reading(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = opened(root)
    assert before.remember()
    monkeypatch.setattr(Reducer, "feed", lambda *_: pytest.fail("read again"))
    after = opened(root)
    assert after.views() == before.views()
    path = root / "t" / "progress.jsonl"
    assert after.view(path) == before.view(path)


def test_reading_goes_on_after_a_snapshot(root: Path) -> None:
    opened(root).remember()
    write_log(root / "e" / "progress.jsonl", eval_rows("e", 9, 9)[6:])
    fresh = opened(root, remember=False).views()
    assert opened(root).views() == fresh
    assert fresh[0].done == 9


def test_a_file_that_changed_meanwhile_is_read_anew(root: Path) -> None:
    opened(root).remember()
    (root / "e" / "progress.jsonl").unlink()
    write_log(root / "e" / "progress.jsonl", eval_rows("other", 2, 4))
    log = opened(root).views()[0]
    assert (log.run_id, log.done, log.rows, log.resets) == ("other", 2, 3, 1)


@pytest.mark.parametrize("damage", [b"", b"junk", b"\x82\xa7version", None])
def test_a_damaged_snapshot_is_ignored(root: Path, damage: bytes | None) -> None:
    before = opened(root)
    before.remember()
    path = snapshots.snapshot_path(root)
    path.write_bytes(path.read_bytes()[:-9] if damage is None else damage)
    assert opened(root).views() == before.views()


def test_a_snapshot_of_another_version_is_ignored(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(root).remember()
    monkeypatch.setattr(snapshots, "VERSION", snapshots.VERSION + 1)
    assert snapshots.load(root) == {}


def test_a_state_directory_that_cannot_be_written_is_no_error(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root.parent / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(root.parent / "file"))
    assert opened(root).remember() is False


def test_nothing_is_written_unless_asked(root: Path) -> None:
    opened(root, remember=False).remember()
    assert not snapshots.snapshot_path(root).exists()


def test_a_root_inside_another_is_read_once(root: Path) -> None:
    store = Store([root, root / "e", root / "e" / "progress.jsonl"], remember=False)
    store.catch_up()
    assert [view.path for view in store.views()] == ["e/progress.jsonl", "t/progress.jsonl"]


def test_views_come_with_curves_one_by_one(root: Path) -> None:
    store = opened(root, remember=False)
    assert all(not view.curves for view in store.views())
    one = store.view(root / "t" / "progress.jsonl")
    assert one is not None
    assert one.curves["loss"].xs[-1] == 700
    assert store.view(root / "nowhere.jsonl") is None


def test_a_reset_forgets_what_was(root: Path) -> None:
    store = opened(root, remember=False)
    log = next(iter(store))
    log.tail.path.write_bytes(b"")
    write_log(log.tail.path, [event("start", 1, run_id="new")])
    store.poll(log)
    assert (log.view().rows, log.view().run_id, log.view().resets) == (1, "new", 1)
