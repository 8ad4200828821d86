"""Metrics of the future-window retrieval of the Cosmos-style branch (formats 3.2).

A query's predicted future features are ranked against every candidate future of the split; rows hold the
rank of the true one and the labels of the nearest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.metrics.classification import Confusion, mean
from pipeline.metrics.intervals import RESAMPLES, bootstrap
from pipeline.metrics.records import read_records, real_number, whole_number

TOP_K = 5
_COLUMNS = ("id", "episode_id", "future_record_id", "pred_future_record_id", "rank")
_LABELS = ("action", "contact", "transition")

Query = Mapping[str, Any]


def read_queries(path: Path) -> list[dict[str, Any]]:
    """Rows of a `future_predictions.jsonl`, with `rank` and `feature_reconstruction_error` as numbers.

    Raises:
        NotFoundError, UsageError: there is no such file, or a row is not such a row.
    """
    rows = read_records(path, _COLUMNS)
    for row in rows:
        row["rank"] = whole_number(row, "rank", path)
        if row.get("feature_reconstruction_error") is not None:
            row["feature_reconstruction_error"] = real_number(row, "feature_reconstruction_error", path)
    return rows


def parity(queries: Sequence[Query]) -> dict[str, Any]:
    """The published metrics under the published keys."""
    episodes = len({query["episode_id"] for query in queries})
    return {
        "num_samples": len(queries),
        "num_eval_episodes": episodes,
        "held_out_episode_count": episodes,
        **retrieval(queries),
        "transition_accuracy": _accuracy(queries, "transition"),
        "contact_accuracy": _accuracy(queries, "contact"),
        "action_accuracy_from_retrieved_future": _accuracy(queries, "action"),
    }


def retrieval(queries: Sequence[Query]) -> dict[str, float | None]:
    """Rank metrics, consistency and error of a set of queries."""
    errors = [query.get("feature_reconstruction_error") for query in queries]
    return {
        "future_retrieval_mrr": mean([1.0 / query["rank"] for query in queries]),
        "future_retrieval_recall_at_5": mean([float(query["rank"] <= TOP_K) for query in queries]),
        "temporal_consistency": mean([float(_same_episode(query)) for query in queries]),
        "feature_reconstruction_error": mean(errors) if None not in errors else None,  # type: ignore[arg-type]
    }


def supported(queries: Sequence[Query]) -> dict[str, Any]:
    """Labels of the retrieved futures, over labels with support, and how many candidates are ever nearest."""
    nearest = {query["pred_future_record_id"] for query in queries}
    found: dict[str, Any] = {"distinct_nearest_candidates": len(nearest)}
    for kind in _LABELS:
        matrix = _confusion(queries, kind)
        if matrix.rows:
            found[kind] = {
                "rows": matrix.rows,
                "accuracy": matrix.accuracy,
                "macro_f1": matrix.macro_f1(list(matrix.support)),
            }
    return found


def baselines(queries: Sequence[Query]) -> dict[str, Any]:
    """What chance and the constant answer are worth.

    The mean reciprocal rank of a random order of n candidates is H(n) / n, recall at k is k / n. Drawing a
    candidate at random hits the query's own episode as often as its share of the candidates, which are the
    queries' own futures.
    """
    count = len(queries)
    episodes: dict[str, int] = {}
    for query in queries:
        episodes[query["episode_id"]] = episodes.get(query["episode_id"], 0) + 1
    found: dict[str, Any] = {
        "candidates": count,
        "chance_future_retrieval_mrr": sum(1.0 / rank for rank in range(1, count + 1)) / count,
        "chance_future_retrieval_recall_at_5": min(1.0, TOP_K / count),
        "chance_temporal_consistency": sum(size * size for size in episodes.values()) / count**2,
    }
    for kind in _LABELS:
        matrix = _confusion(queries, kind)
        label = matrix.most_common()
        if label is not None:
            found[f"constant_{kind}_accuracy"] = matrix.support[label] / matrix.rows
            found[f"constant_{kind}"] = label
    return found


def by_episode(queries: Sequence[Query]) -> dict[str, list[Query]]:
    """Queries of each episode, in order of first appearance."""
    episodes: dict[str, list[Query]] = {}
    for query in queries:
        episodes.setdefault(str(query["episode_id"]), []).append(query)
    return episodes


def report(path: Path, *, resamples: int = RESAMPLES) -> dict[str, Any]:
    """Everything the predictions in `path` say; the shape of `xops metrics future-window --json`."""
    queries = read_queries(path)
    ids = {query["id"] for query in queries}
    episodes = by_episode(queries)
    intervals = bootstrap(
        list(episodes.values()),
        lambda drawn: retrieval([query for queries in drawn for query in queries]),
        resamples=resamples,
    )
    return {
        "parity": parity(queries),
        "supported": supported(queries),
        "baselines": baselines(queries),
        "intervals": intervals,
        "coverage": {
            "rows": len(queries),
            "episodes": len(episodes),
            "duplicate_ids": len(queries) - len(ids),
            "rows_without_error": sum(q.get("feature_reconstruction_error") is None for q in queries),
            "ranks_beyond_candidates": sum(not 1 <= query["rank"] <= len(queries) for query in queries),
        },
    }


def _confusion(queries: Sequence[Query], kind: str) -> Confusion:
    return Confusion(
        (str(query[f"true_{kind}"]), str(query.get(f"pred_{kind}")))
        for query in queries
        if query.get(f"true_{kind}") not in (None, "unknown")
    )


def _accuracy(queries: Sequence[Query], kind: str) -> float:
    """Share of right labels; 0.0 where no row has a known one, as published."""
    return _confusion(queries, kind).accuracy or 0.0


def _same_episode(query: Query) -> bool:
    return str(query["pred_future_record_id"]).rpartition(":qa:")[0] == str(query["episode_id"])
