"""Every item has one outcome, whatever it does to its process."""

import time
from collections import Counter

import pytest

from pipeline.data.pool import run_pool
from pipeline.engine.errors import CancelledByOperatorError
from tests.data.pool_work import sleep, square


@pytest.mark.parametrize("workers", [1, 3])
def test_only_the_guilty_item_fails(workers: int) -> None:
    items = [1, 2, 0, 3, -4, 5, 6]
    outcomes = {outcome.item: outcome for outcome in run_pool(square, items, workers=workers)}
    assert {item: outcome.result for item, outcome in outcomes.items() if not outcome.error} == {
        1: 1,
        2: 4,
        3: 9,
        5: 25,
        6: 36,
    }
    assert outcomes[-4].error == "ValueError: -4 is negative"
    assert outcomes[0].error.startswith("its process died")


def test_each_item_once_and_none_is_fine() -> None:
    assert Counter(outcome.item for outcome in run_pool(square, [2] * 5, workers=2)) == {2: 5}
    assert list(run_pool(square, [])) == []


def test_cancelling_does_not_wait_for_the_work() -> None:
    looks = iter([False, True])

    def stop() -> None:
        if next(looks, True):
            raise CancelledByOperatorError("stopped")

    began = time.monotonic()
    with pytest.raises(CancelledByOperatorError):
        list(run_pool(sleep, [60.0, 60.0], workers=2, check_cancelled=stop))
    assert time.monotonic() - began < 30


def test_an_item_that_hangs_fails_alone() -> None:
    items = [0.0, 0.01, 60.0, 0.02, 0.03]
    outcomes = {outcome.item: outcome for outcome in run_pool(sleep, items, workers=2, limit_s=2)}
    assert {item for item, outcome in outcomes.items() if not outcome.error} == {0.0, 0.01, 0.02, 0.03}
    assert "longer than 2 s" in outcomes[60.0].error


def test_many_deaths_do_not_stop_the_living() -> None:
    items = [0, 1, 0, 2, 0, 3, 0]
    results = [outcome.result for outcome in run_pool(square, items, workers=2)]
    assert sorted(result for result in results if result is not None) == [1, 4, 9]
    assert results.count(None) == 4
