"""The gate of a policy export: nothing lost, nothing leaked, and a normaliser that train alone decided."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.data.policy.export import CLASSES, ROWS_FILE, SETS, STATS_FILE, Policy
from pipeline.data.policy.kinds import KINDS
from pipeline.data.policy.normalize import Normalizer, denormalize, fit, normalize
from pipeline.engine.files import read_json
from pipeline.engine.gates import Check

#: Largest error of going to normalised numbers and back, in the action's unit.
_EXACT = 1e-9


def policy_checks(policy: Policy, out: Path, records: int, *, max_skipped_share: float) -> Iterator[Check]:
    """Ask what was published, not what was meant.

    Args:
        policy: as `publish_policy` wrote it.
        out: where.
        records: of the index.
        max_skipped_share: share of them that may have no target.
    """
    rows = [msgspec.json.decode(line) for line in (out / ROWS_FILE).open("rb")]
    skipped = len(policy.skipped)
    distinct = len({row["id"] for row in rows})
    yield _check(
        "records_conserved",
        len(rows) == distinct and len(rows) + skipped == records,
        f"{records} records = {len(rows)} rows + {skipped} skipped, each with a reason",
    )
    yield _check(
        "few_skipped",
        skipped <= max_skipped_share * records,
        f"{skipped} of {records} have no target (at most {max_skipped_share:.0%})",
    )
    homes: dict[str, set[str]] = {}
    for row in rows:
        homes.setdefault(row["episode_id"], set()).add(row["split"])
    shared = [name for name, splits in homes.items() if len(splits) > 1]
    yield _check(
        "no_episode_in_two_splits", not shared, f"{len(homes)} episodes, {len(shared)} in two splits"
    )
    early = [
        row["id"]
        for row in rows
        if row["action"]["frames"]["start_frame"] <= row["observation"]["window"]["end_frame"]
    ]
    future = KINDS[policy.kind].future
    yield _check(
        "targets_after_observation",
        not early or not future,
        f"{len(early)} targets begin inside their observation"
        + ("" if future else "; this kind is a label of the observation itself"),
    )
    train = {row["source_record_id"] for row in rows if row["split"] == "train"}
    yield _check("has_train_rows", bool(train), f"{len(train)} rows of the train split")
    if policy.kind not in CLASSES | SETS:
        yield from _normalizer(out, rows)


def _normalizer(out: Path, rows: list[dict[str, Any]]) -> Iterator[Check]:
    """Fit again from what lies on disk; of tokens only the bins are there, which their own range decides."""
    stored = msgspec.convert(read_json(out / STATS_FILE), Normalizer)
    train = [row for row in rows if row["split"] == "train"]
    ids = fit((row["source_record_id"], np.zeros((1, 1))) for row in train).row_ids_sha256
    yield _check(
        "normalizer_from_train_only",
        stored.split == "train" and stored.rows == len(train) and stored.row_ids_sha256 == ids,
        f"fitted on {stored.rows} rows and {stored.steps} steps; {len(train)} rows are train",
    )
    if rows and rows[0]["action"]["kind"] == "action_token":
        return
    values = np.concatenate([_steps(out, row) for row in train])
    again = fit((row["source_record_id"], _steps(out, row)) for row in train)
    yield _check(
        "normalizer_reproduced",
        again.sha256 == stored.sha256,
        f"sha256 {stored.sha256[:12]}, fitted again from disk {again.sha256[:12]}",
    )
    error = float(np.abs(denormalize(normalize(values, stored), stored) - values).max())
    yield _check("round_trip", error < _EXACT, f"there and back loses {error:.2g}")


def _steps(out: Path, row: dict[str, Any]) -> NDArray[np.float64]:
    name = row["action"]["array"].partition("#")[0]
    with np.load(out / name, allow_pickle=False) as arrays:
        at = row["action"]["row"]
        real: NDArray[np.float64] = arrays["action"][at][~arrays["is_pad"][at]].astype(np.float64)
    return real


def _check(name: str, ok: bool, detail: str) -> Check:
    return Check(name=name, ok=ok, detail=detail)
