"""Prediction rows (formats section 2.6): made from an answer, appended as they come, read back."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
from msgspec import Struct

from pipeline.evaluate.answerer import Reply
from pipeline.evaluate.rows import EvalRows
from pipeline.metrics.answers import Options, parse_answer

#: A row that ends so takes back an earlier one of its id: the question is to be asked again.
WITHDRAWN = "withdrawn"

PARTIAL_FILE, FINAL_FILE = "predictions.partial.jsonl", "predictions.jsonl"


class Scribe:
    """Makes prediction rows of one evaluation.

    Args:
        rows: what is asked.
        options: action labels in the dataset's order, as answers are matched against them.
        identity: of model and data.
        shard: that writes.
    """

    def __init__(self, rows: EvalRows, options: Options, *, identity: str, shard: int) -> None:
        self._rows, self._options = rows, options
        self._identity, self._shard = identity, shard

    def answered(self, row: Mapping[str, Any], reply: Reply) -> dict[str, Any]:
        """The row of an answer."""
        record = self._record(row, reply.text)
        return record | {
            "prompt_tokens": reply.prompt_tokens,
            "completion_tokens": reply.completion_tokens,
            "latency_seconds": round(reply.seconds, 4),
            "truncated": reply.finish == "length",
            "finish": reply.finish,
        }

    def failed(self, row: Mapping[str, Any], error: Exception) -> dict[str, Any]:
        """The row of a question that could not be answered: wrong everywhere, and it says why."""
        told = {"type": type(error).__name__, "message": str(error)[:400]}
        return self._record(row, "") | {"truncated": False, "finish": "error", "error": told}

    def withdrawn(self, name: str) -> dict[str, Any]:
        """A row that takes back the one of the question `name`."""
        return {"id": name, "identity": self._identity, "finish": WITHDRAWN}

    def _record(self, row: Mapping[str, Any], text: str) -> dict[str, Any]:
        answer = parse_answer(text)
        label = self._options.label(text, answer)
        true = row["answer_json"]["action"]
        return {
            "id": row["id"],
            "target": row.get("target", "episode_qa"),
            "split": row["split"],
            "episode_id": row["episode_id"],
            "center_window": row["center_window"],
            "true_label": true,
            "raw_prediction": text,
            "true_json": row["answer_json"],
            "pred_json": answer,
            "predicted_label": label,
            "correct": int(label == true),
            "true_label_seen_in_train": int(true in self._rows.train_actions),
            "identity": self._identity,
            "shard": self._shard,
        }


class PartialFile:
    """Appends rows to a shard's `predictions.partial.jsonl`, one write each, whole or not at all."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        size = os.fstat(self._fd).st_size
        if size and os.pread(self._fd, 1, size - 1) != b"\n":
            os.write(self._fd, b"\n")  # the torn line of a killed writer stays a line of its own

    def add(self, record: Mapping[str, Any]) -> None:
        """Append one row; it is on disk when this returns."""
        data = msgspec.json.encode(record) + b"\n"
        start = os.fstat(self._fd).st_size
        try:
            if os.write(self._fd, data) != len(data):
                raise OSError(28, "No space left on device", "predictions")
        except OSError:
            os.ftruncate(self._fd, start)
            raise
        os.fdatasync(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)


class Partial(Struct, frozen=True):
    """What a shard's partial file holds.

    Attributes:
        rows: by id, in the order they came; those of one model, prompt and dataset.
        foreign: whole rows of others, which are passed over.
    """

    rows: Mapping[str, dict[str, Any]]
    foreign: int

    @property
    def failed(self) -> list[str]:
        """Ids of questions that could not be answered."""
        return [name for name, row in self.rows.items() if row.get("finish") == "error"]


def read_partial(path: Path, identity: str) -> Partial:
    """Whole rows of one identity; torn lines are passed over, and a withdrawn row does not count."""
    rows: dict[str, dict[str, Any]] = {}
    foreign = 0
    for row in _rows(path.read_bytes() if path.exists() else b""):
        if row.get("identity") != identity:
            foreign += 1
            continue
        rows.pop(row["id"], None)
        if row.get("finish") != WITHDRAWN:
            rows[row["id"]] = row
    return Partial(rows, foreign)


class Answered:
    """Ids that any shard has answered, read on as the shards' files grow.

    Args:
        files: the shards' partial files.
        identity: rows of another one do not count.
    """

    def __init__(self, files: Sequence[Path], identity: str) -> None:
        self._offsets = dict.fromkeys(files, 0)
        self._ids: dict[Path, set[str]] = {path: set() for path in files}
        self._identity = identity

    def refresh(self) -> set[str]:
        """All ids answered by now."""
        for path, offset in self._offsets.items():
            try:
                with path.open("rb") as stream:
                    stream.seek(offset)
                    data = stream.read()
            except FileNotFoundError:
                continue
            self._offsets[path] = offset + data.rfind(b"\n") + 1
            for row in _rows(data):
                if row.get("identity") == self._identity:
                    change = set.discard if row.get("finish") == WITHDRAWN else set.add
                    change(self._ids[path], row["id"])
        return set().union(*self._ids.values())


def _rows(data: bytes) -> Iterator[dict[str, Any]]:
    """The rows in whole lines; what follows the last newline is not written to its end yet, or never was."""
    for line in data[: data.rfind(b"\n") + 1].split(b"\n"):
        try:
            row = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if isinstance(row, dict) and isinstance(row.get("id"), str):
            yield row
