"""Following live, with a clock of our own: what is looked at when, and that nothing is lost."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from logs import encode, eval_rows, event, train_rows, write_log

from pipeline.engine import follow
from pipeline.engine.follow import DISCOVERY_S, FAST_LOGS, FINISHED_S, REMEMBER_S, TICK_S, Changes, Follower
from pipeline.engine.store import Log


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def follower(tmp_path: Path, clock: Clock) -> Follower:
    return Follower([tmp_path], clock=clock)


def later(follower: Follower, clock: Clock, seconds: float = TICK_S) -> Changes:
    clock.now += seconds
    return follower.poll()


def test_new_events_and_new_logs_are_told(tmp_path: Path, follower: Follower, clock: Clock) -> None:
    first = write_log(tmp_path / "a" / "progress.jsonl", eval_rows("a", 1, 9))
    assert follower.poll() == Changes(changed=(first,), fresh=(first,), caught_up=True)
    assert not later(follower, clock)
    write_log(first, [event("sample_done", 2000, completed_samples=2)])
    assert later(follower, clock).changed == (first,)
    second = write_log(tmp_path / "b" / "progress.jsonl", [event("setup_done", 1)])
    assert later(follower, clock, DISCOVERY_S).fresh == (second,)
    assert [view.done for view in follower.store.views()] == [2, 0]


def test_a_log_that_vanishes_and_comes_back_is_told(tmp_path: Path, follower: Follower, clock: Clock) -> None:
    path = write_log(tmp_path / "progress.jsonl", eval_rows("a", 1, 9))
    follower.poll()
    path.unlink()
    assert later(follower, clock).changed == (path,)
    assert follower.store.views()[0].problem == "missing"
    write_log(path, eval_rows("b", 3, 9))
    assert later(follower, clock).changed == (path,)
    assert follower.store.views()[0].done == 3


def looks(follower: Follower, clock: Clock, monkeypatch: pytest.MonkeyPatch, seconds: float) -> int:
    count = 0
    really = Log.poll

    def counted(log: Log) -> tuple[bool, bool]:
        nonlocal count
        count += 1
        return really(log)

    monkeypatch.setattr(Log, "poll", counted)
    for _ in range(round(seconds / TICK_S)):
        later(follower, clock)
    return count


def test_finished_logs_are_looked_at_less_often(
    tmp_path: Path, follower: Follower, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_log(tmp_path / "done" / "progress.jsonl", train_rows("a"))
    follower.poll()
    assert looks(follower, clock, monkeypatch, 10) <= 10 / FINISHED_S + 1


def test_many_logs_share_a_bounded_number_of_looks(
    tmp_path: Path, follower: Follower, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(3 * FAST_LOGS):
        write_log(tmp_path / f"{i}" / "progress.jsonl", [event("setup_done", 1)])
    while not follower.poll(budget_s=9).caught_up:
        pass
    assert looks(follower, clock, monkeypatch, 6) <= 6 / TICK_S * FAST_LOGS * 1.1


def test_a_rerun_of_a_finished_log_is_noticed(tmp_path: Path, follower: Follower, clock: Clock) -> None:
    path = write_log(tmp_path / "progress.jsonl", train_rows("a"))
    follower.poll()
    write_log(path, train_rows("a", start=5000)[:2])
    assert later(follower, clock, FINISHED_S).changed == (path,)
    view = follower.store.views()[0]
    assert (view.attempts, view.terminal, view.done) == (2, "none", 0)


def test_a_long_replay_is_cut_into_looks(
    tmp_path: Path, follower: Follower, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.engine.tail.SLICE", 4096)
    really = Log.poll

    def slow(log: Log) -> tuple[bool, bool]:
        clock.now += 0.03
        return really(log)

    monkeypatch.setattr(Log, "poll", slow)
    for name in "ab":
        write_log(tmp_path / name / "progress.jsonl", eval_rows(name, 5000, 5001))
    seen = [follower.poll()]
    assert not seen[0].caught_up
    while not seen[-1].caught_up:
        seen.append(follower.poll())
    assert [view.done for view in follower.store.views()] == [5000, 5000]


def test_snapshots_are_written_now_and_then_and_at_the_end(
    tmp_path: Path, follower: Follower, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[float] = []
    monkeypatch.setattr(follower.store, "remember", lambda: saved.append(clock.now) or True)
    path = write_log(tmp_path / "progress.jsonl", eval_rows("a", 1, 9))
    follower.poll()
    later(follower, clock, REMEMBER_S)
    later(follower, clock, REMEMBER_S)
    assert len(saved) == 1
    write_log(path, [event("sample_done", 2000)])
    later(follower, clock, FINISHED_S)
    follower.close()
    follower.close()
    assert len(saved) == 2


def test_any_interleaving_of_writes_and_looks_loses_nothing(
    tmp_path: Path, follower: Follower, clock: Clock
) -> None:
    chance = random.Random(7)
    data = {tmp_path / name / "progress.jsonl": encode(eval_rows(name, 50, 60)) for name in "abc"}
    at = dict.fromkeys(data, 0)
    while any(at[path] < len(data[path]) for path in data):
        path = chance.choice(list(data))
        end = at[path] + chance.randint(0, 400)
        path.parent.mkdir(exist_ok=True)
        with path.open("ab") as file:
            file.write(data[path][at[path] : end])
        at[path] = min(end, len(data[path]))
        later(follower, clock, chance.choice([0.0, TICK_S, 1.0]))
    later(follower, clock, 5)
    later(follower, clock, 5)
    assert [(view.rows, view.done, view.bad_lines) for view in follower.store.views()] == [(51, 50, 0)] * 3


async def test_batches_come_from_a_worker_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "DISCOVERY_S", 0.01)
    path = write_log(tmp_path / "progress.jsonl", eval_rows("a", 1, 9))
    with Follower([tmp_path], remember=False) as follower:
        batches = follower.batches()
        assert (await anext(batches)).fresh == (path,)
        waiting = asyncio.ensure_future(anext(batches))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        write_log(path, [event("sample_done", 2000, completed_samples=2)])
        assert (await asyncio.wait_for(waiting, 30)).changed == (path,)
        await batches.aclose()
