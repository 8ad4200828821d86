"""Prediction rows (formats section 2.6): made from an answer, appended as they come, read back."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from pipeline.evaluate.answerer import Reply
from pipeline.evaluate.rows import EvalRows
from pipeline.metrics.answers import Options, parse_answer

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


def read_partial(path: Path, identity: str) -> Iterator[dict[str, Any]]:
    """Whole rows of one identity; torn lines and rows of another model, prompt or dataset are passed over."""
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        return
    with stream:
        for line in stream:
            if not line.endswith(b"\n"):
                return
            try:
                row = msgspec.json.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            if isinstance(row, dict) and row.get("identity") == identity and isinstance(row.get("id"), str):
                yield row


class Answered:
    """Ids that any shard has answered, read on as the shards' files grow.

    Args:
        files: the shards' partial files.
        identity: rows of another one do not count.
    """

    def __init__(self, files: list[Path], identity: str) -> None:
        self._files = dict.fromkeys(files, 0)
        self._identity = identity
        self.ids: set[str] = set()

    def refresh(self) -> set[str]:
        """All ids answered by now."""
        for path, offset in self._files.items():
            try:
                with path.open("rb") as stream:
                    stream.seek(offset)
                    data = stream.read()
            except FileNotFoundError:
                continue
            whole = data.rfind(b"\n") + 1
            self._files[path] = offset + whole
            for line in data[:whole].splitlines():
                self._take(line)
        return self.ids

    def _take(self, line: bytes) -> None:
        try:
            row = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        if isinstance(row, dict) and row.get("identity") == self._identity and isinstance(row.get("id"), str):
            self.ids.add(row["id"])
