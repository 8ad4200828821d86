"""A dataset without media, and a backend that answers it by rule."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.data.export.rows import Answer, training_target
from pipeline.evaluate.answerer import Question, Reply, identity_hash
from pipeline.evaluate.predictions import PARTIAL_FILE, Scribe
from pipeline.evaluate.rows import read_eval_rows
from pipeline.evaluate.runner import Places, Shard
from pipeline.metrics.answers import Options

ACTIONS = ("cut", "pour", "wipe")


def answer(index: int) -> dict[str, Any]:
    return {
        "action": ACTIONS[index % 3],
        "subtask": "cook",
        "objects": ["pan"],
        "contact": "yes",
        "transition": "no",
        "next_action": ACTIONS[(index + 1) % 3],
        "evidence_window": {"start_frame": 0, "end_frame": 19},
    }


def write_dataset(root: Path, *, train: int = 3, test: int = 24) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    names = ["train"] * train + ["test"] * test
    rows = [
        {
            "id": f"{split}:{index}",
            "episode_id": f"{split}__ep{index // 6}",
            "split": split,
            "target": "episode_qa",
            "center_window": {"start_frame": 0, "end_frame": 19, "num_frames": 20},
            "media": {},
            "answer_json": answer(index),
        }
        for index, split in enumerate(names)
    ]
    (root / "dataset.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    manifest = {"action_options": list(ACTIONS), "split_counts": {"train": train, "test": test}}
    (root / "dataset_manifest.json").write_text(json.dumps(manifest))
    return root


class Rule:
    """Answers rightly, except for what it is told to break.

    Args:
        seconds: per batch.
        broken: ids that raise.
        torn: ids whose whole batch raises unless they are asked alone.
        hold: ids that wait, see `wait_for_release`.
    """

    def __init__(
        self,
        seconds: float = 0.0,
        broken: Sequence[str] = (),
        torn: Sequence[str] = (),
        hold: Sequence[str] = (),
    ) -> None:
        self.identity = {"adapter": "a", "prompt": "p"}
        self.seconds, self.broken, self.torn, self.hold = seconds, broken, torn, hold
        self.asked: list[str] = []

    def answer(self, questions: Sequence[Question]) -> list[Reply | Exception]:
        time.sleep(self.seconds)
        for question in questions:
            if question.id in self.hold:
                wait_for_release(question)
        if len(questions) > 1 and any(question.id in self.torn for question in questions):
            raise MemoryError("the batch is too large")
        self.asked += [question.id for question in questions]
        return [self._one(question) for question in questions]

    def close(self) -> None:
        pass

    def _one(self, question: Question) -> Reply | Exception:
        if question.id in self.broken:
            return OSError("its clip is gone")
        said = dict(question.row["answer_json"])
        said["evidence_window"] = {"start_frame": 0, "end_frame": 19}
        import msgspec

        return Reply(question.id, training_target(msgspec.convert(said, Answer)), 10, 5, 0.1, "stop")


def wait_for_release(question: Question) -> None:
    """Leave a file `waiting-ID` beside the dataset, then wait for `release-ID` or `release`."""
    (question.root / f"waiting-{question.id}").touch()
    while not any((question.root / name).exists() for name in (f"release-{question.id}", "release")):
        time.sleep(0.01)


def shard_of(  # noqa: PLR0917 - a test reads better without six names
    root: Path, work: Path, k: int, n: int, answerer: Rule, told: Any, **options: Any
) -> Shard:
    rows = read_eval_rows(root / "dataset.jsonl")
    identity = identity_hash(answerer.identity, rows.sha256)
    folders = [work / f"{index:02d}" for index in range(n)]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    places = Places(folders[k], tuple(f / PARTIAL_FILE for f in folders), work / "rows.lease")
    return Shard(
        rows,
        answerer,
        Scribe(rows, Options(ACTIONS), identity=identity, shard=k),
        places,
        shard=(k, n),
        identity=identity,
        root=root,
        batch_size=options.get("batch_size", 4),
        attempts=options.get("attempts", 2),
        emit=told,
        check_cancelled=options.get("check_cancelled", lambda: None),
    )


def open_answerer(params: Any, train: Path, dataset: Path, rows: Any, emit: Any) -> Rule:
    """A backend of the eval stage: does what `orders.json` in the dataset says."""
    return Rule(**json.loads((dataset / "orders.json").read_text()))
