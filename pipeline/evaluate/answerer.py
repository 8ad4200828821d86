"""What answers questions: the seam between evaluation and everything that can run a model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
from msgspec import Struct


class Question(Struct, frozen=True):
    """One row to be answered.

    Attributes:
        id: of the row.
        row: the whole row of `dataset.jsonl`.
        root: folder its media paths are relative to.
    """

    id: str
    row: Mapping[str, Any]
    root: Path


class Reply(Struct, frozen=True):
    """One answer.

    Attributes:
        id: of the question.
        text: as the model wrote it.
        prompt_tokens, completion_tokens: 0 where the backend does not say.
        seconds: of this answer's share of its batch.
        finish: `length` when the longest allowed answer was reached before its end.
    """

    id: str
    text: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    finish: Literal["stop", "length"]


class Answerer(Protocol):
    """A model behind a door.

    Attributes:
        identity: everything that decides an answer (adapter, base, prompt, decoding), as hashes or words.
    """

    @property
    def identity(self) -> Mapping[str, str]:
        """See the class."""
        ...

    def answer(self, questions: Sequence[Question]) -> list[Reply | Exception]:
        """Answers in the order of the questions; in place of one that cannot be given, the reason.

        Raises:
            UnreachableError, NoPermissionError: the backend itself is gone; no question is to blame.
        """
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


def identity_hash(identity: Mapping[str, str], dataset_sha256: str) -> str:
    """Names the pairing of a model as it answers and the data it is asked about, 16 hexadecimal digits."""
    record = {**identity, "dataset": dataset_sha256}
    return hashlib.sha256(msgspec.json.encode(record, order="sorted")).hexdigest()[:16]
