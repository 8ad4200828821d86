"""What a relay does when it is cancelled, looked at or steered in awkward moments. Real client, real sshd."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openssh import Sshd
from stage_process import Staging
from test_relay import generated_names, make_dataset

from pipeline.engine.errors import CancelledByOperatorError
from pipeline.hub.journal import temporaries
from pipeline.standin.hub import TOKEN, standin_hub
from pipeline.transfer.control import FILE
from pipeline.transfer.relay.ledger import Ledger
from pipeline.transfer.relay.space import Marks, Space


@pytest.fixture
def staging(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Staging]:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    make_dataset(tmp_path / "dataset", generated_names(8), 20_000)
    with standin_hub(tmp_path / "dataset") as server:
        yield Staging(server, sshd, tmp_path)


def test_a_cancelled_relay_waits_for_no_space(staging: Staging) -> None:
    context = staging.context(low_water_gib=1e6, high_water_gib=1e6)

    def stop(event: str, fields: dict[str, Any]) -> None:
        if event == "paused":
            context.cancelled.set()

    with pytest.raises(CancelledByOperatorError):
        staging.run_in(context, on_event=stop)


def test_copies_that_are_to_be_kept_survive_a_second_run(staging: Staging) -> None:
    for _ in range(2):
        staging.run(delete_after_transfer=False)
        assert sum(path.is_file() for path in (staging.relay / "staging").rglob("*")) == 56


def test_a_relay_that_no_longer_listens_ends_with_the_reason(
    staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Space) -> None:
        raise PermissionError("no look at the disk")

    monkeypatch.setattr(Space, "report", broken)
    with pytest.raises(PermissionError, match="no look at the disk"):
        staging.run(bandwidth_mib_per_s=0.05)


def test_files_that_come_and_go_do_not_disturb_the_count(tmp_path: Path) -> None:
    space, stop = Space(tmp_path, Marks(0, 0), lambda event, **fields: None), threading.Event()

    def churn() -> None:
        while not stop.is_set():
            for number in range(300):
                (tmp_path / f"{number}").write_bytes(b"x")
                (tmp_path / f"{number}").unlink()

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(500):
            assert space.used() >= 0
    finally:
        stop.set()
        thread.join()


def test_a_damaged_control_changes_nothing(staging: Staging) -> None:
    context = staging.context()
    path = context.paths.root / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"torn')
    staging.run_in(context)
    staging.check(context)


def test_a_sweep_takes_only_what_xops_put_there(staging: Staging) -> None:
    """An operator's own file, and what another run still wants, are not ours to remove."""
    folder = staging.relay / "staging"
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("years of work")
    (folder / "session").mkdir()
    (folder / "session" / "other.mp4").write_text("of a run that goes on")
    ledger = Ledger(staging.relay / "ledger")
    ledger.claim("another-run", ["session/other.mp4"])
    staging.run()
    assert (folder / "thesis.txt").read_text() == "years of work"
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert left == {"thesis.txt"}, "the other run does not exist, so its file was abandoned"


def test_what_another_run_still_wants_is_kept(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    ledger.claim("mine", ["a/1.mp4", "a/2.mp4"])
    ledger.claim("theirs", ["a/2.mp4", "b/3.mp4"])
    assert ledger.abandoned("mine", lambda run: False) == {"a/1.mp4"}
    assert ledger.abandoned("mine", lambda run: True) == {"a/1.mp4", "a/2.mp4", "b/3.mp4"}
    ledger.forget("mine")
    assert ledger.abandoned("mine", lambda run: False) == set()


async def test_a_batch_between_the_marks_is_let_in_when_nothing_of_ours_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = iter([50, 50, 120, 120, 120, 120])
    told: list[str] = []
    space = Space(tmp_path, Marks(low=10, high=100), lambda event, **fields: told.append(event))
    monkeypatch.setattr(space, "free", lambda: next(free))
    monkeypatch.setattr("pipeline.transfer.relay.space._LOOK_S", 0.0)
    await space.admit(60, batch=1)  # 120 - 60 is above 10, though never above 100
    assert told == ["paused", "continued"]


def test_a_file_that_is_partly_here_needs_only_the_rest(tmp_path: Path) -> None:
    space = Space(tmp_path, Marks(0, 0), lambda event, **fields: None)
    assert space.to_come("x.bin", 1 << 20) == 1 << 20
    temporaries(tmp_path / "x.bin").part.write_bytes(b"x" * (1 << 19))
    assert space.to_come("x.bin", 1 << 20) == 1 << 19
