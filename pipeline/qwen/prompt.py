"""What the model is asked, as text: the one place that decides it, for training, evaluation and servers.

No label list is in it. The original wrote 2,037 labels of all splits into every prompt (14,287 tokens, and
the test split's labels with them); which labels an answer may hold is the decoder's matter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from pipeline.data.export.rows import FORMAT, QUESTION, SYSTEM, Answer, training_target
from pipeline.engine.errors import UsageError

#: What stands before the sensor tokens, where the model reads them.
SENSORS = "Sensors: "


class PromptText(NamedTuple):
    """The two turns before the answer, without media."""

    system: str
    user: str


def prompt_text(row: Mapping[str, Any]) -> PromptText:
    """The prompt of one row of `dataset.jsonl`.

    Raises:
        UsageError: the row lacks its id or window.
    """
    try:
        window = row["center_window"]
        first, last = int(window["start_frame"]), int(window["end_frame"])
        episode = str(row["episode_id"])
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"row {row.get('id')!r} has no window to ask about: {error}") from None
    lines = (QUESTION, f"Episode: {episode}", f"Label window frames: {first}-{last}", FORMAT)
    return PromptText(SYSTEM, "\n".join(lines))


def prompt_hash() -> str:
    """Names the wording: changes whenever the same row would be asked otherwise."""
    return hashlib.sha256("\0".join((SYSTEM, QUESTION, FORMAT, SENSORS)).encode()).hexdigest()[:16]


def target_text(row: Mapping[str, Any]) -> str:
    """The answer a model is trained to give, as canonical JSON.

    Raises:
        UsageError: the row's answer lacks a field or has one of the wrong type.
    """
    try:
        return training_target(msgspec.convert(row["answer_json"], Answer))
    except (KeyError, msgspec.ValidationError) as error:
        raise UsageError(f"row {row.get('id')!r} has no usable answer: {error}") from None
