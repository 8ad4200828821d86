"""The comparison: metrics with paired intervals and a verdict, settings that differ, flips, slices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from pipeline.compare.evidence import Evidence, common_ids
from pipeline.metrics import json_qa
from pipeline.metrics.answers import Options
from pipeline.metrics.intervals import RESAMPLES, bootstrap
from pipeline.metrics.json_qa import TEXT_FIELDS, UNKNOWN, Judged
from pipeline.metrics.tally import Tally, measure_of, tally

Verdict = Literal["better", "worse", "tie", "unknown"]

#: Rows of each flip list and slices of each kind that are shown.
_SHOWN = 20


class MetricDelta(Struct, frozen=True):
    """One metric on the common rows.

    Attributes:
        name: its key.
        a, b: of both sides.
        delta: b - a.
        low, high: 95 % of the deltas when episodes are resampled, the same ones on both sides.
        verdict: of b: a tie when the interval holds 0; unknown without an interval.
        baseline: of the best answer given without looking at the same rows.
    """

    name: str
    a: float | None
    b: float | None
    delta: float | None
    low: float | None
    high: float | None
    verdict: Verdict
    baseline: float | None


class Flip(Struct, frozen=True):
    """A row that one side has right and the other wrong.

    Attributes:
        id, field: which, and of what.
        true, a, b: what it is and what both said.
    """

    id: str
    field: str
    true: str
    a: str
    b: str


class Slice(Struct, frozen=True):
    """Action accuracy on a part of the rows.

    Attributes:
        by, name: what the part is.
        rows: how many.
        a, b: accuracies.
    """

    by: str
    name: str
    rows: int
    a: float
    b: float


class Comparison(Struct, frozen=True):
    """Everything.

    Attributes:
        a, b: names; `kind_a`, `kind_b` of the runs.
        rows, rows_a, rows_b: common ones, and each side's.
        episodes: of the common rows.
        results: whether both sides' numbers may stand as results.
        metrics, settings, flips, slices: see there; settings as name -> [a, b].
        gained, lost: per field, rows that b has right and a wrong, and the other way round.
    """

    a: str
    b: str
    kind_a: str
    kind_b: str
    rows: int
    rows_a: int
    rows_b: int
    episodes: int
    results: bool
    metrics: tuple[MetricDelta, ...]
    settings: Mapping[str, tuple[Any, Any]]
    gained: Mapping[str, int]
    lost: Mapping[str, int]
    flips: tuple[Flip, ...]
    slices: tuple[Slice, ...]


def compare(
    one: Evidence, other: Evidence, *, common: bool = False, resamples: int = RESAMPLES
) -> Comparison:
    """Compare two evaluations of the same questions.

    Args:
        one: the side that was there before.
        other: the side that is judged.
        common: compare the common rows where the sides do not have the same.
        resamples: of the paired bootstrap.

    Raises:
        UsageError: see `common_ids`.
    """
    ids = common_ids(one, other, common=common)
    options = Options(dict.fromkeys((*one.options.labels, *other.options.labels)))
    mine, theirs = (sorted((j for j in side.judged if j.row.id in ids), key=_by_id) for side in (one, other))
    pairs = list(zip(mine, theirs, strict=True))
    flips = [flip for pair in pairs for flip in _flips(*pair)]
    gained = Counter(flip.field for flip in flips if _is_gain(flip))
    return Comparison(
        a=one.name,
        b=other.name,
        kind_a=one.kind,
        kind_b=other.kind,
        rows=len(pairs),
        rows_a=len(one.judged),
        rows_b=len(other.judged),
        episodes=len({judged.row.episode_id for judged in mine}),
        results=one.is_result and other.is_result,
        metrics=tuple(_metrics(mine, theirs, options, resamples)),
        settings=_differences(one.settings, other.settings),
        gained=dict(gained),
        lost=dict(Counter(flip.field for flip in flips) - gained),
        flips=tuple(_some(flips)),
        slices=tuple(_slices(pairs)),
    )


def _by_id(judged: Judged) -> str:
    return judged.row.id


def _metrics(
    mine: Sequence[Judged], theirs: Sequence[Judged], options: Options, resamples: int
) -> Iterable[MetricDelta]:
    fields = json_qa.has_fields(mine) and json_qa.has_fields(theirs)
    measure = measure_of(options, fields=fields)
    units = _paired(mine, theirs)
    a, b = (measure([unit[side] for unit in units]) for side in (0, 1))

    def deltas(drawn: Sequence[tuple[Tally, Tally]]) -> dict[str, float | None]:
        first, second = (measure([unit[side] for unit in drawn]) for side in (0, 1))
        return {name: _minus(second[name], first[name]) for name in first}

    intervals = bootstrap(units, deltas, resamples=resamples)
    baselines = json_qa.baselines(mine, options)["parity"]
    for name in a:
        found = intervals.get(name)
        low, high = (found.low, found.high) if found else (None, None)
        delta = _minus(b[name], a[name])
        verdict = _verdict(low, high)
        yield MetricDelta(name, a[name], b[name], delta, low, high, verdict, baselines.get(name))


def _paired(mine: Sequence[Judged], theirs: Sequence[Judged]) -> list[tuple[Tally, Tally]]:
    """Both sides' counts per episode; an episode is drawn for both or for none."""
    episodes: dict[str, tuple[list[Judged], list[Judged]]] = {}
    for side, rows in enumerate((mine, theirs)):
        for judged in rows:
            episodes.setdefault(judged.row.episode_id, ([], []))[side].append(judged)
    return [(tally(one), tally(other)) for one, other in episodes.values()]


def _minus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _verdict(low: float | None, high: float | None) -> Verdict:
    if low is None or high is None:
        return "unknown"
    return "better" if low > 0 else "worse" if high < 0 else "tie"


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = dict.fromkeys((*one, *other))
    return {name: (one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)}


def _flips(mine: Judged, theirs: Judged) -> Iterable[Flip]:
    if mine.correct != theirs.correct:
        yield Flip(mine.row.id, "action", mine.row.true_label, mine.label, theirs.label)
    for field in TEXT_FIELDS:
        before, after = mine.field_correct(field), theirs.field_correct(field)
        if before is not None and after is not None and before != after:
            true = str((mine.row.true or {}).get(field, UNKNOWN))
            yield Flip(mine.row.id, field, true, _said(mine, field), _said(theirs, field))


def _said(judged: Judged, field: str) -> str:
    return str(judged.answer.get(field, "no valid answer"))


def _is_gain(flip: Flip) -> bool:
    return flip.b == flip.true


def _some(flips: Sequence[Flip]) -> list[Flip]:
    """A few of every field and direction, in the order of rows."""
    seen: Counter[tuple[str, bool]] = Counter()
    kept = []
    for flip in flips:
        key = flip.field, _is_gain(flip)
        seen[key] += 1
        if seen[key] <= _SHOWN:
            kept.append(flip)
    return kept


def _slices(pairs: Sequence[tuple[Judged, Judged]]) -> list[Slice]:
    kinds: dict[str, Callable[[Judged], Iterable[str]]] = {
        "session": lambda one: [one.row.episode_id.partition("__")[0]],
        "action family": lambda one: [one.row.true_label.split(" ")[0].lower() or "none"],
        "seen in train": lambda one: [
            {True: "seen", False: "unseen", None: "unknown"}[one.row.seen_in_train]
        ],
        "object": _objects,
    }
    return [one for by, names in kinds.items() for one in _sliced(by, names, pairs)]


def _objects(judged: Judged) -> list[str]:
    """Names in the true answer, one of them each time a row counts."""
    found = (judged.row.true or {}).get("objects")
    return sorted({str(name) for name in found}) if isinstance(found, list) else []


def _sliced(
    by: str, names: Callable[[Judged], Iterable[str]], pairs: Sequence[tuple[Judged, Judged]]
) -> list[Slice]:
    rows: dict[str, list[tuple[Judged, Judged]]] = {}
    for pair in pairs:
        for name in names(pair[0]):
            rows.setdefault(name, []).append(pair)
    largest = sorted(rows.items(), key=lambda item: (-len(item[1]), item[0]))[:_SHOWN]
    return [
        Slice(
            by,
            name,
            len(found),
            sum(one.correct for one, _ in found) / len(found),
            sum(other.correct for _, other in found) / len(found),
        )
        for name, found in largest
    ]
