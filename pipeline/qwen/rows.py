"""Rows a model may be trained on, and no others.

The held-out split is refused by type: training takes `TrainingRow`, whose split cannot be `test`, and
`training_rows` is the only place that makes one. Nothing here loads a model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from pipeline.engine.errors import DamagedFileError, NotFoundError, UsageError

TrainingSplit = Literal["train", "val"]


class TrainingRow(Struct, frozen=True):
    """A row of the train or val split.

    Attributes:
        id, episode_id: which.
        split: never another one.
        content: the whole row.
    """

    id: str
    episode_id: str
    split: TrainingSplit
    content: Mapping[str, Any]


class TrainingRows(Struct, frozen=True):
    """What a dataset offers for training.

    Attributes:
        train, val: in the dataset's order.
        held_out: rows of other splits that were left unread.
        sha256: of the file.
    """

    train: tuple[TrainingRow, ...]
    val: tuple[TrainingRow, ...]
    held_out: int
    sha256: str


class _Head(Struct):
    """The part of a row that decides whether the rest is read."""

    id: str
    split: str
    episode_id: str


def read_training_rows(dataset: Path) -> TrainingRows:
    """The train and val rows of a `dataset.jsonl`; of held-out rows only id and split are decoded.

    Raises:
        NotFoundError: there is no such file.
        DamagedFileError: a line is no row.
        UsageError: an id occurs twice, an episode is in two splits, or the train split is empty.
    """
    train: list[TrainingRow] = []
    val: list[TrainingRow] = []
    held_out = 0
    seen: set[str] = set()
    homes: dict[str, str] = {}
    digest = hashlib.sha256()
    for number, line in _lines(dataset):
        digest.update(line)
        head = _decoded(line, number, dataset)
        if head.id in seen:
            raise UsageError(f"{dataset}:{number}: id {head.id!r} occurs twice")
        seen.add(head.id)
        if homes.setdefault(head.episode_id, head.split) != head.split:
            raise UsageError(
                f"{dataset}:{number}: episode {head.episode_id} is in split {homes[head.episode_id]} and "
                f"in {head.split}",
                hint="export again; training would see what it is judged on",
            )
        if head.split == "train":
            train.append(TrainingRow(head.id, head.episode_id, "train", msgspec.json.decode(line)))
        elif head.split == "val":
            val.append(TrainingRow(head.id, head.episode_id, "val", msgspec.json.decode(line)))
        else:
            held_out += 1
    if not train:
        raise UsageError(
            f"{dataset} has no row of the train split", hint="xops run show RUN: export, manifest"
        )
    return TrainingRows(tuple(train), tuple(val), held_out, digest.hexdigest())


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as stream:
            yield from enumerate(stream, 1)
    except FileNotFoundError:
        raise NotFoundError(f"{path} does not exist", hint="run the export stage first") from None


def _decoded(line: bytes, number: int, path: Path) -> _Head:
    try:
        return msgspec.json.decode(line, type=_Head)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedFileError(f"{path}:{number}: not a row: {error}", hint="export again") from None
