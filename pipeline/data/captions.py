"""Captions: the JSON that describes an episode in words (formats section 1.5), parsed without trust.

What cannot be used is left out and said in `Caption.problems`; only a text that is no caption at all is an
error. Frame references stay text here; `pipeline.data.labels` turns them into frames.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from msgspec import Struct

from pipeline.data.frames import Reference
from pipeline.engine.errors import DamagedFileError

#: Most problems kept as sentences; `Caption.problem_count` counts all.
SHOWN = 20

#: Largest caption file that a caption path may name, bytes.
LARGEST = 64 << 20


class Action(Struct, frozen=True):
    """What the hands do between two frames, both inside."""

    label: str
    description: str
    start: Reference
    end: Reference


class Segment(Struct, frozen=True, kw_only=True):
    """A stretch of the episode with one subtask.

    Attributes:
        identifier: `segment_id` as text.
        subtask: `Sub Task`.
        start, end: its bounds as written.
        actions: in the order written.
        objects: frame reference -> names of what is seen there.
        interaction: frame reference -> a sentence on what happens there.
    """

    identifier: str
    subtask: str
    start: Reference
    end: Reference
    actions: tuple[Action, ...]
    objects: dict[str, tuple[str, ...]]
    interaction: dict[str, str]


class Caption(Struct, frozen=True, kw_only=True):
    """A whole caption.

    Attributes:
        main_task: `config."Main Task"`, or empty.
        summary: `global_summary`, or empty.
        segment_seconds: `config.segment_sec`; 0 where it is not written.
        segments: those that are objects.
        problems: the first things that were left out, with their place.
        problem_count: how many there were.
    """

    main_task: str
    summary: str
    segment_seconds: float
    segments: tuple[Segment, ...]
    problems: tuple[str, ...] = ()
    problem_count: int = 0


class Problems:
    """Collects what was left out."""

    def __init__(self) -> None:
        self.count = 0
        self.shown: list[str] = []

    def add(self, text: str) -> None:
        """Count one, and keep it if it is among the first."""
        self.count += 1
        if len(self.shown) < SHOWN:
            self.shown.append(text)


def caption_json(text: str, folder: Path) -> str:
    """The JSON of a caption dataset that holds either that JSON or the relative path of a file with it.

    Args:
        text: the dataset's content.
        folder: the episode's; the path may not leave it.

    Raises:
        DamagedFileError: it is neither.
    """
    text = text.strip("\0 \t\r\n")
    if text.startswith(("{", "[")):
        return text
    name = PurePosixPath(text)
    if not text or not text.isprintable() or len(text) > 512 or name.is_absolute() or ".." in name.parts:
        raise DamagedFileError(f"the caption is neither JSON nor a file beside it: {text[:80]!r}")
    target = folder / name
    try:
        if not target.resolve().is_relative_to(folder.resolve()):
            raise DamagedFileError(f"the caption's path leads out of the episode: {text[:80]!r}")
        if target.stat().st_size > LARGEST:
            raise DamagedFileError(f"the caption file {text[:80]!r} is larger than {LARGEST >> 20} MiB")
        return target.read_text("utf-8", "replace")
    except OSError as error:
        raise DamagedFileError(f"the caption names {text[:80]!r}, but {error.strerror}") from None


def parse_caption(text: str) -> Caption:
    """Parse a caption's JSON.

    Raises:
        DamagedFileError: the text is not JSON, or not an object.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"the caption is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise DamagedFileError(f"the caption is JSON, but {type(value).__name__} instead of an object")
    problems = Problems()
    config = _mapping(value.get("config"), "config", problems)
    seconds = config.get("segment_sec", 0)
    return Caption(
        main_task=_text(config.get("Main Task")),
        summary=_text(value.get("global_summary")),
        segment_seconds=float(seconds) if _is_number(seconds) else 0.0,
        segments=tuple(_segments(value.get("segments"), problems)),
        problems=tuple(problems.shown),
        problem_count=problems.count,
    )


def _segments(value: Any, problems: Problems) -> Iterator[Segment]:
    for number, item in enumerate(_listed(value, "segments", problems)):
        place = f"segments[{number}]"
        if isinstance(item, dict):
            yield _segment(item, place, problems)
        else:
            problems.add(f"{place} is no object")


def _segment(item: Mapping[str, Any], place: str, problems: Problems) -> Segment:
    actions = []
    for number, action in enumerate(_listed(item.get("Current Action"), f"{place}.Current Action", problems)):
        if isinstance(action, dict):
            actions.append(_action(action))
        else:
            problems.add(f"{place}.Current Action[{number}] is no object")
    objects = _mapping(item.get("objects"), f"{place}.objects", problems)
    interaction = _mapping(item.get("interaction"), f"{place}.interaction", problems)
    return Segment(
        identifier=_text(item.get("segment_id")),
        subtask=_text(item.get("Sub Task")),
        start=_reference(item.get("start_frame")),
        end=_reference(item.get("end_frame")),
        actions=tuple(actions),
        objects={str(key).strip(): _names(names) for key, names in objects.items()},
        interaction={str(key).strip(): _text(sentence) for key, sentence in interaction.items()},
    )


def _action(item: Mapping[str, Any]) -> Action:
    return Action(
        label=_text(item.get("label")),
        description=_text(item.get("description")),
        start=_reference(item.get("start_frame_name")) or _reference(item.get("start_frame")),
        end=_reference(item.get("end_frame_name")) or _reference(item.get("end_frame")),
    )


def _reference(value: Any) -> Reference:
    if _is_number(value) and abs(value) < 1e18:  # which NaN is not
        return str(int(value))
    return value.strip() or None if isinstance(value, str) else None


def _names(value: Any) -> tuple[str, ...]:
    """Names of objects: a list, or a bare string; blank ones are left out, repeated ones stay."""
    names = value if isinstance(value, list) else [value]
    texts = [_text(name) for name in names if isinstance(name, str | int | float)]
    return tuple(text for text in texts if text)


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else str(value) if _is_number(value) else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _mapping(value: Any, place: str, problems: Problems) -> Mapping[str, Any]:
    if isinstance(value, dict):
        return value
    if value is not None:
        problems.add(f"{place} is no object")
    return {}


def _listed(value: Any, place: str, problems: Problems) -> list[Any]:
    if isinstance(value, list):
        return value
    if value is not None:
        problems.add(f"{place} is no list")
    return []
