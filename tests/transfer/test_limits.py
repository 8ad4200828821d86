"""The cap, the number of connections, and what is remembered: pure."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipeline.transfer.delivered import Ledger, Record
from pipeline.transfer.limits import Bucket, Climber
from pipeline.transfer.outgoing import Outgoing


async def test_without_a_cap_nothing_waits() -> None:
    bucket = Bucket()
    async with asyncio.timeout(5):
        for _ in range(1000):
            await bucket.acquire(1 << 30)


async def test_a_cap_holds_and_may_be_lifted_at_any_time() -> None:
    bucket = Bucket(1000)
    waiting = asyncio.ensure_future(bucket.acquire(1_000_000))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    bucket.rate = 0
    async with asyncio.timeout(5):
        await waiting


async def test_pieces_larger_than_a_seconds_worth_pass_in_turn() -> None:
    bucket = Bucket(100_000)
    began = time.monotonic()
    for _ in range(3):
        await bucket.acquire(20_000)
    assert time.monotonic() - began >= 0.3


def test_connections_are_added_while_they_pay_and_given_back_when_they_do_not() -> None:
    climber = Climber(first=2)
    assert [climber.learn(rate, 8) for rate in (10.0, 20.0, 30.0)] == [3, 4, 5]
    assert climber.learn(30.5, 8) == 4
    assert climber.learn(30.0, 8) == 4
    assert climber.learn(5.0, 8) == 4, "another line: begin to learn again"
    assert climber.learn(10.0, 8) == 5


@given(st.lists(st.floats(0, 1e9), max_size=50), st.integers(1, 16))
def test_there_is_always_one_and_never_more_than_allowed(rates: list[float], most: int) -> None:
    climber = Climber()
    assert all(1 <= climber.learn(rate, most) <= most for rate in rates)


FILE = Outgoing("s/ep1/a", 10, "0" * 64)
RECORD = Record("s/ep1/a", 10, "0" * 64, "stamp", 4, ("1", "2", "3"))


def test_what_was_proved_is_remembered_until_it_is_touched_or_doubted(tmp_path: Path) -> None:
    path = tmp_path / "work" / "delivered.jsonl"
    ledger = Ledger(path)
    ledger.add(RECORD)
    ledger.close()
    with path.open("ab") as file:
        file.write(b'{"path": "torn by a ki')
    again = Ledger(path)
    known = again.find("s/ep1/a")
    assert known == RECORD
    assert known.proves(FILE, "stamp")
    assert not known.proves(FILE, "touched")
    assert not known.proves(Outgoing("s/ep1/a", 10, "1" * 64), "stamp")
    again.doubt("s/ep1/a")
    doubted = again.find("s/ep1/a")
    assert doubted is not None
    assert not doubted.proves(FILE, "stamp")
    assert doubted.chunks == ("1", "2", "3"), "still known, to locate a difference"
    again.close()
    assert Ledger(path).find("s/ep1/a") == doubted, "the torn line took nothing with it"
