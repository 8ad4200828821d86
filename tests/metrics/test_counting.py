"""Counts, means and intervals."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.metrics.answers import Options
from pipeline.metrics.classification import Confusion
from pipeline.metrics.intervals import bootstrap
from pipeline.metrics.json_qa import has_fields, judge, parity
from pipeline.metrics.objects import compare, pooled
from pipeline.metrics.rows import Row
from pipeline.metrics.tally import intervals

LABELS = st.sampled_from("abcd")
PAIRS = st.lists(st.tuples(LABELS, LABELS), max_size=30)


@given(PAIRS)
def test_scores_equal_counting_by_hand(pairs: list[tuple[str, str]]) -> None:
    matrix = Confusion(pairs)
    for label in "abcd":
        score = matrix.score(label)
        hits = sum(t == p == label for t, p in pairs)
        true = sum(t == label for t, _ in pairs)
        found = sum(p == label for _, p in pairs)
        assert (score.support, score.predicted) == (true, found)
        assert score.f1 == pytest.approx(2 * hits / (true + found) if hits else 0.0)
    assert matrix.accuracy == (pytest.approx(sum(t == p for t, p in pairs) / len(pairs)) if pairs else None)


def test_which_labels_are_averaged_decides_macro_f1() -> None:
    matrix = Confusion([("a", "a"), ("b", "c")])
    assert matrix.labels(["z", "a"]) == ["z", "a", "b", "c"]
    assert matrix.macro_f1(matrix.labels(["z", "a"])) == 0.25
    assert matrix.macro_f1(list(matrix.support)) == 0.5
    assert matrix.macro_f1([]) is None


def test_objects_are_sets_and_case_matters() -> None:
    counts = pooled([compare(["cup", "cup", "Pen"], ["cup", "pen"]), compare(["lid"], [])])
    assert tuple(counts) == (1, 1, 2)
    assert counts.f1 == pytest.approx(2 * 0.5 * (1 / 3) / (0.5 + 1 / 3))
    assert pooled([compare([], [])]).f1 is None


def test_intervals_are_repeatable_and_need_two_episodes() -> None:
    units = [0.0, 0.0, 1.0, 1.0]
    measure = lambda drawn: {"mean": sum(drawn) / len(drawn), "never": None}  # noqa: E731
    first, second = (bootstrap(units, measure, resamples=200) for _ in range(2))
    assert first == second
    assert first["mean"] is not None
    assert first["mean"].low < 0.5 < first["mean"].high
    assert first["never"] is None
    assert bootstrap([1.0], measure) == {}
    assert bootstrap(units, measure, resamples=0) == {}


def row(number: int, episode: str, true: str, raw: str) -> Row:
    return Row(
        id=str(number), episode_id=episode, split="test", true_label=true, raw=raw, true={"contact": "yes"}
    )


@given(st.lists(st.tuples(st.sampled_from(["e1", "e2"]), LABELS, LABELS), min_size=2, max_size=20))
def test_resampling_every_episode_once_gives_the_metrics_themselves(
    samples: list[tuple[str, str, str]],
) -> None:
    """A set drawn from two identical episodes has the metrics of either."""
    rows = [row(n, e, t, f'{{"action": "{p}", "contact": "yes"}}') for n, (e, t, p) in enumerate(samples)]
    twice = [row(n, e, r.true_label, r.raw) for e in ("x", "y") for n, r in enumerate(rows)]
    options = Options("abc")
    judged = judge(twice, options)
    assert has_fields(judged)
    exact = parity(judged, options)
    for name, interval in intervals(judged, options, resamples=20).items():
        if name in exact and exact[name] is not None:
            assert interval is not None
            assert interval.low == pytest.approx(exact[name])
            assert interval.high == pytest.approx(exact[name])


def test_equal_labels_are_counted_in_order_of_appearance() -> None:
    assert Confusion([("b", "b"), ("a", "a")]).most_common() == "b"
    assert Counter("ba").most_common(1) == [("b", 1)]
