"""Everything one predictions file of a JSON question-answering evaluation says, in one object."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.metrics import json_qa
from pipeline.metrics.answers import Options
from pipeline.metrics.intervals import RESAMPLES
from pipeline.metrics.options import DatasetFacts
from pipeline.metrics.rows import read_rows
from pipeline.metrics.tally import intervals


def json_qa_report(
    path: Path, facts: DatasetFacts | None = None, *, resamples: int = RESAMPLES
) -> dict[str, Any]:
    """Recompute all metrics from the raw answers in `path`; nothing stored about them is believed.

    Args:
        path: `predictions.jsonl`, `.csv`, or a partial one.
        facts: label list, and samples per split where a manifest states them. Without it only labels that
            occur are matched and averaged, which is another metric than the published one; coverage says so.
        resamples: of the bootstrap over episodes; 0 for no intervals.

    Raises:
        NotFoundError, UsageError: there is no such file, or it holds no prediction.
    """
    stored = read_rows(path)
    known = facts or DatasetFacts(options=tuple(sorted({row.true_label for row in stored.rows})))
    options = Options(known.options)
    judged = json_qa.judge(stored.rows, options)
    splits = {row.split for row in stored.rows}
    expected = known.split_counts.get(splits.pop()) if len(splits) == 1 else None
    coverage = json_qa.coverage(
        judged,
        skipped_lines=len(stored.skipped),
        expected_rows=expected,
        skipped_episodes=known.skipped_episodes,
    )
    return {
        "parity": json_qa.parity(judged, options),
        "supported": json_qa.supported(judged),
        "baselines": json_qa.baselines(judged, options),
        "intervals": intervals(judged, options, resamples=resamples),
        "coverage": coverage
        | {"options": len(known.options), "options_from": "manifest" if facts else "the rows themselves"},
    }
