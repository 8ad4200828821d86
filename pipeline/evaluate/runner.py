"""One shard of an evaluation: its own rows first, then whatever nobody else can answer."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from pipeline.engine.errors import NoPermissionError, UnreachableError
from pipeline.engine.log import Emit
from pipeline.evaluate.answerer import Answerer, Question, Reply
from pipeline.evaluate.leases import RowLeases
from pipeline.evaluate.predictions import PARTIAL_FILE, Answered, Partial, PartialFile, Scribe, read_partial
from pipeline.evaluate.rows import EvalRows
from pipeline.metrics.answers import is_valid

#: Rows between two events that tell how good the answers are so far.
TELL_EVERY = 20

#: No question is to blame for these: the attempt fails, and a resumed one goes on where it stopped.
BACKEND_GONE = (UnreachableError, NoPermissionError)

#: Most of an invalid answer that an event repeats.
SHOWN = 400


class Places(Struct, frozen=True):
    """Where the shards of one evaluation meet.

    Attributes:
        work: of this shard; its partial file lies there.
        partials: partial files of all shards, this one's too.
        leases: the file of row leases that all of them share.
    """

    work: Path
    partials: tuple[Path, ...]
    leases: Path


class Tally(Struct):
    """Running sums of this shard."""

    rows: int = 0
    valid: int = 0
    right: int = 0
    truncated: int = 0
    errors: int = 0
    seconds: float = 0.0


class Shard:
    """Answers rows until none is left that it could take.

    Args:
        rows: what is asked.
        answerer: who answers.
        scribe: who writes prediction rows.
        places: see there.
        shard: (k, n).
        identity: of model and data.
        root: folder of the dataset.
        batch_size: questions at once.
        attempts: how often a question is asked before it is recorded as failed.
        emit: tells.
        check_cancelled: raises when the operator asked to stop; called between batches.
    """

    def __init__(
        self,
        rows: EvalRows,
        answerer: Answerer,
        scribe: Scribe,
        places: Places,
        *,
        shard: tuple[int, int],
        identity: str,
        root: Path,
        batch_size: int,
        attempts: int,
        emit: Emit,
        check_cancelled: Callable[[], None],
    ) -> None:
        self._rows, self._answerer, self._scribe, self._places = rows, answerer, scribe, places
        self._k, self._n = shard
        self._identity, self._root = identity, root
        self._batch_size, self._attempts = batch_size, attempts
        self._emit, self._check_cancelled = emit, check_cancelled
        self._answered = Answered(places.partials, identity)
        self._own = sum(1 for position in range(len(rows.rows)) if position % self._n == self._k)
        labels = Counter(row["answer_json"]["action"] for row in rows.rows)
        self._baseline = max(labels.values()) / len(rows.rows)
        self._done = 0
        self.tally = Tally()

    def run(self) -> list[dict[str, Any]]:
        """Answer; returns all rows of this shard's partial file, earlier attempts' too."""
        partial = self._places.work / PARTIAL_FILE
        with RowLeases(self._places.leases) as leases, PartialFile(partial) as file:
            self._begin(read_partial(partial, self._identity), file)
            while batch := leases.take(self._open(), self._batch_size):
                try:
                    self._check_cancelled()
                    self._work(self._still_open(batch), file)
                finally:
                    leases.free(batch)
        rows = list(read_partial(partial, self._identity).rows.values())
        self._emit("eval_complete", num_eval_samples=len(rows), **self._quality())
        return rows

    def _begin(self, found: Partial, file: PartialFile) -> None:
        """Take up what earlier attempts left; questions that failed then are asked again."""
        for name in found.failed:
            file.add(self._scribe.withdrawn(name))
        self._done = len(found.rows) - len(found.failed)
        self._emit(
            "eval_start",
            eval_split=self._rows.split,
            sample_offset=self._k,
            sample_stride=self._n,
            num_eval_samples=self._own,
            completed_before_start=self._done,
            failed_before_start=len(found.failed),
            rows_of_other_models=found.foreign,
            resume=self._done > 0,
            identity=self._identity,
        )

    def _open(self) -> Iterator[int]:
        """Rows without an answer: first this shard's, then the others'."""
        done = self._answered.refresh()
        count = len(self._rows.rows)
        own = (position for position in range(self._k, count, self._n))
        foreign = (position for position in range(count) if position % self._n != self._k)
        for positions in (own, foreign):
            for position in positions:
                if self._rows.rows[position]["id"] not in done:
                    yield position

    def _still_open(self, batch: Sequence[int]) -> list[int]:
        """Of leased rows those that nobody answered between the look and the lease."""
        done = self._answered.refresh()
        return [position for position in batch if self._rows.rows[position]["id"] not in done]

    def _work(self, batch: Sequence[int], file: PartialFile) -> None:
        if not batch:
            return
        replies = self._ask([self._rows.rows[position] for position in batch])
        for position, reply in zip(batch, replies, strict=True):
            row = self._rows.rows[position]
            if isinstance(reply, Reply):
                record = self._scribe.answered(row, reply)
            else:
                record = self._scribe.failed(row, reply)
            file.add(record)
            self._tell(position, record)

    def _ask(self, rows: Sequence[Mapping[str, Any]]) -> list[Reply | Exception]:
        """Replies; a question that failed among others is asked again alone."""
        questions = [Question(row["id"], row, self._root) for row in rows]
        began = time.perf_counter()
        try:
            replies = self._answerer.answer(questions)
        except BACKEND_GONE:
            raise
        except Exception as error:  # noqa: BLE001 - whatever one batch does to a backend, the others go on
            replies = [error] * len(questions)
        for index, question in enumerate(questions):
            for _ in range(1, self._attempts):
                if isinstance(replies[index], Reply):
                    break
                self._check_cancelled()
                replies[index] = self._alone(question)
        self.tally.seconds += time.perf_counter() - began
        return replies

    def _alone(self, question: Question) -> Reply | Exception:
        try:
            return self._answerer.answer([question])[0]
        except BACKEND_GONE:
            raise
        except Exception as error:  # noqa: BLE001 - as above; the row records it
            return error

    def _tell(self, position: int, record: Mapping[str, Any]) -> None:
        self._done += 1
        valid, failed = is_valid(record["pred_json"]), record["finish"] == "error"
        tally = self.tally
        tally.rows += 1
        tally.valid += valid
        tally.right += record["correct"]
        tally.truncated += record["truncated"]
        tally.errors += failed
        of_shard = position % self._n
        if of_shard != self._k:
            self._emit("row_absorbed", sample_id=record["id"], from_shard=of_shard)
        if failed:
            error = record["error"]
            self._emit(
                "sample_error",
                sample_index=position,
                num_eval_samples=self._own,
                sample_id=record["id"],
                episode_id=record["episode_id"],
                error_type=error["type"],
                error=error["message"],
            )
        elif not valid:
            self._emit("invalid_answer", sample_id=record["id"], text=record["raw_prediction"][:SHOWN])
        self._emit(
            "sample_done",
            sample_index=position,
            num_eval_samples=self._own,
            completed_samples=self._done,
            sample_id=record["id"],
            episode_id=record["episode_id"],
            seconds=record.get("latency_seconds"),
            valid=valid,
            truncated=record["truncated"],
            action_correct=bool(record["correct"]),
            shard_of_row=of_shard,
            done=self._done,
            total=max(self._own, self._done),
            unit="rows",
        )
        if tally.rows % TELL_EVERY == 0:
            self._emit("running_metrics", **self._quality())

    def _quality(self) -> dict[str, Any]:
        tally = self.tally
        rows = max(tally.rows, 1)
        return {
            "rows": tally.rows,
            "json_validity_rate": tally.valid / rows,
            "accuracy": tally.right / rows,
            "baseline_accuracy": self._baseline,
            "truncated": tally.truncated,
            "errors": tally.errors,
            "rows_per_s": round(tally.rows / tally.seconds, 4) if tally.seconds else None,
        }
