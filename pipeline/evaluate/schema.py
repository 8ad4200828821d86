"""The JSON schema of an answer, as a decoder may be held to it.

Everything is bounded, so an answer always ends. Keys are sorted and nothing is between them, as the training
target is written (`pipeline.data.export.rows.training_target`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from pipeline.data.export.rows import MOST_OBJECTS
from pipeline.data.windows import UNKNOWN

#: Longest free label, characters, and the largest frame number.
LONGEST_LABEL, LARGEST_FRAME = 120, 999_999

#: Tokens of an answer that is held to no schema, when nothing else is said; as the original's.
UNCONSTRAINED_TOKENS = 512

_YES_NO = ("no", "yes", UNKNOWN)


class Vocabulary(Struct, frozen=True):
    """Labels an answer may hold.

    Attributes:
        actions, subtasks, objects: of the train split; an empty list leaves that field free.
    """

    actions: tuple[str, ...] = ()
    subtasks: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()


def answer_schema(vocabulary: Vocabulary) -> dict[str, Any]:
    """The schema of an answer; labels of the vocabulary, or free where it has none for a field."""
    action = _label(vocabulary.actions)
    frame = {"type": "integer", "minimum": 0, "maximum": LARGEST_FRAME}
    properties = {
        "action": action,
        "contact": {"enum": list(_YES_NO)},
        "evidence_window": _object({"end_frame": frame, "start_frame": frame}),
        "next_action": action,
        "objects": {
            "type": "array",
            "items": _label(vocabulary.objects, unknown=False),
            "maxItems": MOST_OBJECTS,
        },
        "subtask": _label(vocabulary.subtasks),
        "transition": {"enum": list(_YES_NO)},
    }
    return _object(properties)


def longest_answer(vocabulary: Vocabulary) -> int:
    """Bytes the longest answer within the schema can take; no token is shorter than a byte."""
    fixed = 260  # keys, punctuation, two frame numbers, three short words
    label = max(map(_size, vocabulary.actions), default=6 * LONGEST_LABEL)
    subtask = max(map(_size, vocabulary.subtasks), default=6 * LONGEST_LABEL)
    name = max(map(_size, vocabulary.objects), default=6 * LONGEST_LABEL)
    return fixed + 2 * label + subtask + MOST_OBJECTS * (name + 3)


def _label(options: Sequence[str], *, unknown: bool = True) -> dict[str, Any]:
    if not options:
        return {"type": "string", "maxLength": LONGEST_LABEL}
    return {"enum": sorted({*options, UNKNOWN} if unknown else set(options))}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _size(label: str) -> int:
    """Bytes of a label in which every character that may be escaped is; control characters take six each."""
    return 2 * len(label.encode()) + 4 * sum(character < " " for character in label)
