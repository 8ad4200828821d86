"""Metrics of the forward-dynamics evaluations (formats 3.3): the mean of stored losses.

Each loss is taken at a random noise level and scaled by ten, so one run's mean says little without its
spread; there is no baseline but the untrained model's own losses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.engine.errors import UsageError
from pipeline.engine.files import read_json
from pipeline.metrics.classification import mean
from pipeline.metrics.intervals import RESAMPLES, bootstrap


def report(path: Path, *, baseline: Path | None = None, resamples: int = RESAMPLES) -> dict[str, Any]:
    """Recompute the summary of a forward-dynamics `metrics.json` from the losses stored in it.

    Args:
        path: its `metrics.json`, of one rank or of all.
        baseline: the same evaluation of the base model, for comparison.
        resamples: of the bootstrap over samples; the file does not name every sample's episode.

    Raises:
        NotFoundError, DamagedFileError: there is no such file, or it is not JSON.
        UsageError: there are no losses in it.
    """
    record, losses = _losses(path)
    finite = [loss for loss in losses if math.isfinite(loss)]
    base = mean(_losses(baseline)[1]) if baseline else None
    ranks = _rank_means(record)
    return {
        "parity": {
            f"{record.get('split', 'eval')}_forward_dynamics_mse": mean(finite),
            "loss_summary": {"mean": mean(finite), "min": min(finite), "max": max(finite)},
            "num_eval_samples": len(losses),
        },
        "supported": {"standard_deviation": _deviation(finite), "rank_means": ranks},
        "baselines": {
            "base_model_mse": base,
            "note": "" if base is not None else "none given: --baseline METRICS of the untrained model",
        },
        "intervals": bootstrap(finite, lambda drawn: {"mse": mean(drawn)}, resamples=resamples),
        "coverage": {
            "rows": len(losses),
            "expected_rows": record.get("num_eval_samples"),
            "not_finite": len(losses) - len(finite),
            "ranks": len(ranks),
        },
    }


def _losses(path: Path) -> tuple[Mapping[str, Any], list[float]]:
    record = read_json(path)
    losses = record.get("losses") if isinstance(record, Mapping) else None
    if not isinstance(losses, list) or not losses:
        raise UsageError(f"{path} has no losses", hint="name a forward-dynamics metrics.json")
    if not all(isinstance(loss, (int, float)) for loss in losses):
        raise UsageError(f"{path}: not every loss is a number")
    if not any(math.isfinite(loss) for loss in losses):
        raise UsageError(f"{path}: no loss is finite")
    return record, [float(loss) for loss in losses]


def _rank_means(record: Mapping[str, Any]) -> list[float | None]:
    ranks = record.get("rank_metrics")
    return [
        mean([float(loss) for loss in rank.get("losses") or ()])
        for rank in (ranks if isinstance(ranks, list) else ())
        if isinstance(rank, Mapping)
    ]


def _deviation(values: Sequence[float]) -> float | None:
    centre = mean(values)
    if centre is None or len(values) < 2:
        return None
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))
