"""Matching predicted action boundaries to true ones (formats 3.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.metrics.classification import harmonic, mean
from pipeline.metrics.records import read_records, whole_number

#: Frames a predicted boundary may lie from the true one.
TOLERANCE = 10
_POSITIVE = "transition"


def boundary_scores(path: Path, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Precision, recall and F1 of boundaries, and how far matched ones are off.

    Every window predicted "transition" puts a boundary at its centre frame. In the order of prediction each
    takes the nearest true boundary nobody took yet, within ten frames; only true boundaries inside the
    evaluated range count.

    Args:
        path: `true_boundaries.csv`, one `frame` a row.
        rows: predictions with `center_frame`, `start_frame` and `end_frame`.
    """
    first = min(whole_number(row, "start_frame", path) for row in rows)
    last = max(whole_number(row, "end_frame", path) for row in rows)
    frames = [whole_number(row, "frame", path) for row in read_records(path, ("frame",))]
    free = [frame for frame in frames if first <= frame <= last]
    true = len(free)
    predicted = [
        whole_number(row, "center_frame", path) for row in rows if row["predicted_label"] == _POSITIVE
    ]
    errors = []
    for centre in predicted:
        nearest = min(free, key=lambda frame: abs(frame - centre), default=None)
        if nearest is not None and abs(nearest - centre) <= TOLERANCE:
            free.remove(nearest)
            errors.append(float(abs(nearest - centre)))
    precision = len(errors) / len(predicted) if predicted else 0.0
    recall = len(errors) / true if true else 0.0
    return {
        "boundary_precision": precision,
        "boundary_recall": recall,
        "boundary_f1": harmonic(precision, recall),
        "matched_boundaries": len(errors),
        "true_boundaries": true,
        "predicted_boundaries": len(predicted),
        "mean_abs_timing_error_frames": mean(errors),
    }
