"""The rows of a dataset that are to be answered, and what its train split lets an answer say."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from pipeline.data.windows import UNKNOWN
from pipeline.engine.errors import DamagedFileError, NotFoundError, UsageError
from pipeline.evaluate.schema import Vocabulary


class EvalRows(Struct, frozen=True):
    """What is asked.

    Attributes:
        split: which one.
        rows: in the dataset's order; positions decide the shard.
        others: ids of all other splits' rows -> their split.
        train_actions: actions that occur as answers of the train split.
        vocabulary: labels of the train split's answers.
        sha256: of the dataset.
    """

    split: str
    rows: tuple[Mapping[str, Any], ...]
    others: Mapping[str, str]
    train_actions: frozenset[str]
    vocabulary: Vocabulary
    sha256: str


def read_eval_rows(dataset: Path, split: str = "test", *, limit: int = 0) -> EvalRows:
    """Rows of one split of a `dataset.jsonl`.

    Args:
        dataset: the file.
        split: whose rows are asked.
        limit: most rows, spread evenly over the split; 0 for all.

    Raises:
        NotFoundError: there is no such file.
        DamagedFileError: a line is no row.
        UsageError: the split has no row, or an id occurs twice.
    """
    rows: list[Mapping[str, Any]] = []
    others: dict[str, str] = {}
    seen: set[str] = set()
    labels: dict[str, set[str]] = {"action": set(), "subtask": set(), "objects": set()}
    train_actions: set[str] = set()
    digest = hashlib.sha256()
    try:
        stream = dataset.open("rb")
    except FileNotFoundError:
        raise NotFoundError(f"{dataset} does not exist", hint="run the export stage first") from None
    with stream:
        for number, line in enumerate(stream, 1):
            digest.update(line)
            row = _row(line, f"{dataset}:{number}")
            if row["id"] in seen:
                raise UsageError(f"{dataset}:{number}: id {row['id']!r} occurs twice")
            seen.add(row["id"])
            if row["split"] == split:
                rows.append(row)
            else:
                others[row["id"]] = row["split"]
            if row["split"] == "train":
                answer = row["answer_json"]
                train_actions.add(answer["action"])
                labels["action"] |= {answer["action"], answer["next_action"]}
                labels["subtask"].add(answer["subtask"])
                labels["objects"] |= set(answer["objects"])
    if not rows:
        raise UsageError(
            f"{dataset} has no row of the {split} split", hint="look at its manifest's split_counts"
        )
    chosen = rows if not limit or len(rows) <= limit else [rows[i * len(rows) // limit] for i in range(limit)]
    words = {name: tuple(sorted(found - {UNKNOWN})) for name, found in labels.items()}
    return EvalRows(
        split,
        tuple(chosen),
        others,
        frozenset(train_actions),
        Vocabulary(words["action"], words["subtask"], words["objects"]),
        digest.hexdigest(),
    )


class _Answer(Struct):
    """What every answer must have; its other fields are only compared."""

    action: str
    subtask: str
    next_action: str
    objects: list[str]


class _Shape(Struct):
    """What every row must have."""

    id: str
    split: str
    episode_id: str
    center_window: dict[str, int]
    answer_json: _Answer


def _row(line: bytes, place: str) -> dict[str, Any]:
    try:
        row: dict[str, Any] = msgspec.json.decode(line)
        msgspec.convert(row, _Shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedFileError(f"{place}: not a row: {error}", hint="export again") from None
    return row
