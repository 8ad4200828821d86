"""Metrics of the twelve-task suite, recomputed from a task's stored predictions (formats 3.4).

What kind of task a directory holds follows from its columns. Macro-F1 here averages only labels with
support, unlike the JSON-QA metric of the same name.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from pipeline.engine.errors import NotFoundError, UsageError
from pipeline.engine.files import read_json
from pipeline.metrics.boundaries import boundary_scores
from pipeline.metrics.classification import Confusion, harmonic, mean, ratio
from pipeline.metrics.intervals import RESAMPLES, bootstrap
from pipeline.metrics.objects import compare, pooled
from pipeline.metrics.records import read_records, whole_number

Record = Mapping[str, Any]
Metrics = dict[str, Any]

_TOP = (1, 5, 10)


class Kind(NamedTuple):
    """One kind of task.

    Attributes:
        name: as reports call it.
        columns: what tells its table apart.
        parity: the published metrics of some rows.
        supported: what they average over; only labels with support, where the published ones take more.
        baselines: what answers without looking are worth on the same rows.
    """

    name: str
    columns: frozenset[str]
    parity: Callable[[Path, Sequence[Record]], Metrics]
    supported: Callable[[Path, Sequence[Record]], Metrics]
    baselines: Callable[[Path, Sequence[Record]], Metrics]


def report(directory: Path, *, resamples: int = RESAMPLES) -> dict[str, Any]:
    """Recompute one task from `predictions.csv` or `ranks.csv` in its directory.

    Returns:
        The shape of `xops metrics suite --json`: kind, parity, baselines, intervals, coverage.

    Raises:
        NotFoundError: there is no table of predictions.
        UsageError: the table is of no known kind.
    """
    table = next((path for name in _TABLES if (path := directory / name).is_file()), None)
    if table is None:
        raise NotFoundError(f"{directory} has neither {' nor '.join(_TABLES)}", hint=_why_none(directory))
    rows = read_records(table, ())
    kind = next((kind for kind in KINDS if kind.columns <= rows[0].keys()), None)
    if kind is None:
        raise UsageError(f"{table} is of no known task: its columns are {', '.join(rows[0])[:200]}")
    rows = read_records(table, sorted(kind.columns))
    episodes = _by_episode(rows)

    def measure(drawn: Sequence[Sequence[Record]]) -> dict[str, float | None]:
        found = kind.parity(directory, [row for rows in drawn for row in rows])
        return {name: value for name, value in found.items() if isinstance(value, float)}

    return {
        "kind": kind.name,
        "parity": kind.parity(directory, rows),
        "supported": kind.supported(directory, rows),
        "baselines": kind.baselines(directory, rows),
        "intervals": bootstrap(episodes, measure, resamples=resamples),
        "coverage": {"rows": len(rows), "episodes": len(episodes)},
    }


def _classes(directory: Path, rows: Sequence[Record]) -> Metrics:
    matrix = _confusion(rows)
    found: Metrics = {**scores(matrix), "num_eval_windows": matrix.rows}
    boundaries = directory / "true_boundaries.csv"
    return found | boundary_scores(boundaries, rows) if boundaries.is_file() else found


def _occurring_classes(_: Path, rows: Sequence[Record]) -> Metrics:
    return {"labels": len(_confusion(rows).support)}


def _nothing_more(_directory: Path, _rows: Sequence[Record]) -> Metrics:
    return {}


def _constant_class(_: Path, rows: Sequence[Record]) -> Metrics:
    matrix = _confusion(rows)
    label = matrix.most_common() or ""
    constant = Confusion((true, label) for true, count in matrix.support.items() for _ in range(count))
    return {"constant": label, **{f"constant_{name}": value for name, value in scores(constant).items()}}


def scores(matrix: Confusion) -> dict[str, float | None]:
    """Metrics over labels with support."""
    return {
        "accuracy": matrix.accuracy,
        "balanced_accuracy": matrix.balanced_accuracy(),
        "macro_f1": matrix.macro_f1(list(matrix.support)),
        "weighted_f1": matrix.weighted_f1(),
    }


def _binary(directory: Path, rows: Sequence[Record]) -> Metrics:
    pairs = [tuple(whole_number(row, column, directory) for column in ("true", "predicted")) for row in rows]
    tp, tn, fp, fn = (pairs.count(pair) for pair in ((1, 1), (0, 0), (0, 1), (1, 0)))
    precision, recall = ratio(tp, tp + fp) or 0.0, ratio(tp, tp + fn) or 0.0
    return {
        "accuracy": (tp + tn) / len(pairs),
        "precision": precision,
        "recall": recall,
        "f1": harmonic(precision, recall),
        **{"tp": tp, "tn": tn, "fp": fp, "fn": fn},
        "positive_rate_true": (tp + fn) / len(pairs),
        "positive_rate_pred": (tp + fp) / len(pairs),
    }


def _constant_binary(directory: Path, rows: Sequence[Record]) -> Metrics:
    positive = sum(whole_number(row, "true", directory) for row in rows) / len(rows)
    return {"constant_accuracy": max(positive, 1 - positive), "constant_f1": harmonic(positive, 1.0)}


def _objects(directory: Path, rows: Sequence[Record]) -> Metrics:
    pairs = _object_sets(rows)
    counts = pooled(compare(true, predicted) for true, predicted in pairs)
    f1 = _f1_by_name(pairs)
    return {
        "micro_f1": counts.f1,
        "macro_f1": mean([f1.get(name, 0.0) for name in _vocabulary(directory) or sorted(f1)]),
        "exact_match": ratio(sum(true == found for true, found in pairs), len(pairs)),
        "precision": counts.precision,
        "recall": counts.recall,
    }


def _occurring_objects(directory: Path, rows: Sequence[Record]) -> Metrics:
    pairs = _object_sets(rows)
    f1 = _f1_by_name(pairs)
    names = sorted(set().union(*(true for true, _ in pairs)))
    return {
        "names": len(names),
        "vocabulary": len(_vocabulary(directory)),
        "macro_f1": mean([f1[name] for name in names]),
    }


def _object_sets(rows: Sequence[Record]) -> list[tuple[set[str], set[str]]]:
    return [(_names(row["true_objects"]), _names(row["predicted_objects"])) for row in rows]


def _f1_by_name(pairs: Sequence[tuple[set[str], set[str]]]) -> dict[str, float]:
    support = Counter(name for true, _ in pairs for name in true)
    predicted = Counter(name for _, found in pairs for name in found)
    hits = Counter(name for true, found in pairs for name in true & found)
    return {
        name: 2 * hits[name] / (support[name] + predicted[name]) for name in support.keys() | predicted.keys()
    }


def _constant_objects(_: Path, rows: Sequence[Record]) -> Metrics:
    """The most frequent objects, as many as score best."""
    true = [_names(row["true_objects"]) for row in rows]
    ranked = [name for name, _ in Counter(name for names in true for name in sorted(names)).most_common(16)]
    best = max(
        (ranked[:size] for size in range(len(ranked) + 1)),
        key=lambda names: pooled(compare(wanted, names) for wanted in true).f1 or 0.0,
    )
    return {"constant": best, "constant_micro_f1": pooled(compare(wanted, best) for wanted in true).f1}


def _retrieval(directory: Path, rows: Sequence[Record]) -> Metrics:
    ranks = [whole_number(row, "rank", directory) for row in rows]
    if min(ranks) < 1:
        raise UsageError(f"{directory}: ranks start at 1, one is {min(ranks)}")
    count = len(ranks)
    return {
        "num_queries": count,
        "mrr": _single(math.fsum(_single(1.0 / rank) for rank in ranks) / count),
        "median_rank": float(median(ranks)),
        "mean_rank": _single(math.fsum(ranks) / count),
        **{f"top{top}_accuracy": sum(rank <= top for rank in ranks) / count for top in _TOP},
    }


def _chance(_: Path, rows: Sequence[Record]) -> Metrics:
    """A random order of as many candidates as queries."""
    count = len(rows)
    return {
        "chance_mrr": math.fsum(1.0 / rank for rank in range(1, count + 1)) / count,
        **{f"chance_top{top}_accuracy": min(1.0, top / count) for top in _TOP},
    }


_TABLES = ("predictions.csv", "ranks.csv")
_OBJECTS = ("true_objects", "predicted_objects")
_PAIRS = (("true_label", "predicted_label"), ("true_order", "predicted_order"))
KINDS = (
    Kind("objects", frozenset(_OBJECTS), _objects, _occurring_objects, _constant_objects),
    *(Kind("classes", frozenset(pair), _classes, _occurring_classes, _constant_class) for pair in _PAIRS),
    Kind("binary", frozenset({"true", "predicted"}), _binary, _nothing_more, _constant_binary),
    Kind("retrieval", frozenset({"rank"}), _retrieval, _nothing_more, _chance),
)


def _confusion(rows: Sequence[Record]) -> Confusion:
    true, predicted = next(pair for pair in _PAIRS if pair[0] in rows[0])
    return Confusion((str(row[true]).strip(), str(row[predicted]).strip()) for row in rows)


def _names(cell: Any) -> set[str]:
    return {name for name in str(cell).replace("|", ";").split(";") if name}


@cache
def _vocabulary(directory: Path) -> tuple[str, ...]:
    path = directory / "object_vocab.json"
    return tuple(str(name) for name in read_json(path)) if path.is_file() else ()


def _single(value: float) -> float:
    """`value` rounded to single precision, as the published ranks were averaged and stored."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def _by_episode(rows: Sequence[Record]) -> list[list[Record]]:
    """Rows per episode; tables of the single-episode suite name none and are one."""
    episodes: dict[str, list[Record]] = {}
    for row in rows:
        name = row.get("episode_id") or str(row.get("row_id", "")).partition(":")[0]
        episodes.setdefault(str(name), []).append(row)
    return list(episodes.values())


def _why_none(directory: Path) -> str:
    stated = directory / "metrics.json"
    if not stated.is_file():
        return "name the directory of one task"
    record = read_json(stated)
    reason = record.get("reason") if isinstance(record, Mapping) else None
    return f"its metrics.json says: {reason}" if reason else "name the directory of one task"
