"""From a model's raw answer to an object and a label, as the published evaluations did it.

Source: formats 3.1. The rules are lenient on purpose and kept as they are, because published numbers depend
on them: an answer without an `action` is searched for an option as text, so invalid JSON can score.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

#: What a valid answer has; extra keys are harmless, types are not checked.
FIELDS = ("action", "subtask", "objects", "contact", "transition", "next_action", "evidence_window")

_OPENING_FENCE = re.compile(r"^```(?:json)?\s*", re.IGNORECASE)
_CLOSING_FENCE = re.compile(r"\s*```$")
_ENDS = " \t\n\r`'\"."


def parse_answer(raw: str) -> dict[str, Any]:
    """The object in a raw answer; the empty object where there is none."""
    text = _CLOSING_FENCE.sub("", _OPENING_FENCE.sub("", raw.strip())).strip()
    found = _decoded(text)
    if found is None:
        first, last = text.find("{"), text.rfind("}")
        found = _decoded(text[first : last + 1]) if 0 <= first < last else None
    return found if isinstance(found, dict) else {}


def is_valid(answer: Mapping[str, Any]) -> bool:
    """Whether all seven fields are there."""
    return all(field in answer for field in FIELDS)


def object_names(value: Any) -> set[str]:
    """The distinct names in an `objects` field; anything but a list of them counts as none."""
    return {str(name) for name in value} if isinstance(value, list) else set()


class Options:
    """The closed list of labels an answer is matched against.

    Args:
        labels: in the order of the dataset's action list; the order decides between options that contain
            one another.
    """

    def __init__(self, labels: Iterable[str]) -> None:
        self.labels = tuple(labels)
        self._exact = frozenset(self.labels)
        self._lowered = {label.lower(): label for label in self.labels}
        self._searched = tuple((label.lower(), label) for label in self.labels)

    def label(self, raw: str, answer: Mapping[str, Any]) -> str:
        """The label of an answer: its `action`, or the whole raw text where it has none."""
        return self.match(str(answer.get("action") or raw))

    def match(self, text: str) -> str:
        """The option a text means; the normalised text itself where it means none of them."""
        text = normalised(text)
        if text in self._exact:
            return text
        lowered = text.lower()
        if lowered in self._lowered:
            return self._lowered[lowered]
        return next((label for low, label in self._searched if low in lowered), text)


def normalised(text: str) -> str:
    """One blank between words, no quotes, backticks or full stops at the ends."""
    return " ".join(text.split()).strip(_ENDS)


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # nesting without end is no answer either
        return None
