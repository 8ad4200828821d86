"""Writing small logs for tests."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any

from pipeline.engine.events import Batch
from pipeline.engine.logview import LogView, view_of
from pipeline.engine.reduce import Reducer

Event = dict[str, Any]


def event(name: str, at: float | None = None, **fields: Any) -> Event:
    """One event as foreign writers make it."""
    return {"event": name, **fields} if at is None else {"event": name, "timestamp": at, **fields}


def encode(rows: Iterable[Event]) -> bytes:
    """Rows as lines."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def write_log(path: Path, rows: Iterable[Event]) -> Path:
    """Append rows to a log, making its directory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(encode(rows))
    return path


def view(rows: Iterable[Event], path: str = "run/progress.jsonl") -> LogView:
    """The view of a log that holds these rows."""
    reducer = Reducer()
    reducer.feed(Batch(encode(rows)))
    return view_of(reducer, PurePath(path), PurePath("/root"), curves=True)


def train_rows(run_id: str, steps: int = 30, *, epochs: int = 1, start: float = 1000.0) -> list[Event]:
    """A clean training log: every tenth step and the last, one second each."""
    shown = [step for step in range(1, steps + 1) if step % 10 == 0 or step == steps]
    per_epoch = steps // epochs
    return [
        event("setup_done", start, run_id=run_id, rank0_samples_per_epoch=per_epoch, num_processes=8),
        event("train_loop_start", start + 1, run_id=run_id, rank_samples_per_epoch=per_epoch, epochs=epochs),
        *(event("train_step", start + 1 + s, global_step=s, rank0_batch_loss=1.0 / s) for s in shown),
        event("complete", start + steps + 5),
    ]


def eval_rows(run_id: str, done: int, total: int, *, start: float = 1000.0, **facts: Any) -> list[Event]:
    """An evaluation log that has finished `done` of `total` samples, eight seconds each."""
    return [
        event("eval_start", start, run_id=run_id, num_eval_samples=total, completed_before_start=0, **facts),
        *(
            event("sample_done", start + 8.0 * k, completed_samples=k, num_eval_samples=total, seconds=8.0)
            for k in range(1, done + 1)
        ),
        *([event("eval_complete", start + 8.0 * done + 1, run_id=run_id)] if done == total else []),
    ]
