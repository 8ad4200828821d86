"""The rules of one index record beyond its types: each yields (field, problem) for what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from pipeline.data.index.record import Frames, Media, Reference, WindowRecord
from pipeline.data.index.roots import refusal
from pipeline.data.index.views import conditioning
from pipeline.data.index.vocabulary import LabelLists
from pipeline.data.splits import SPLITS

#: (dotted path inside the record, what is wrong with the values found).
Problem = tuple[str, str]


def record_problems(record: WindowRecord, lists: LabelLists) -> Iterator[Problem]:
    """Every rule that `record` breaks; `lists` is the vocabulary its references point into."""
    if record.split not in SPLITS:
        yield "split", f"{record.split!r} is none of {', '.join(SPLITS)}"
    yield from _frames_problems(record.window, record.modalities.media)
    yield from _path_problems(record)
    yield from _supervision_problems(record)
    yield from _view_problems(record)
    yield from _option_problems(record, lists)


def _frames_problems(window: Frames, media: Media) -> Iterator[Problem]:
    start, end = window.start_frame, window.end_frame
    if start < 0 or end < start:
        yield "window", f"frames {start} to {end} are no window"
    elif window.num_frames != end - start + 1:
        yield "window.num_frames", f"{window.num_frames}, but frames {start} to {end} are {end - start + 1}"
    first, last = media.context_window.start_frame, media.context_window.end_frame
    if first is not None and last is not None and not first <= start <= end <= last:
        where = "modalities.media.context_window"
        yield where, f"frames {first} to {last} do not hold the window {start} to {end}"


def _path_problems(record: WindowRecord) -> Iterator[Problem]:
    media, features = record.modalities.media, record.modalities.sensor_features
    paths = [
        ("modalities.media.mosaic_video_path", media.mosaic_video_path),
        ("modalities.media.audio_path", media.audio_path),
        ("modalities.sensor_features.path", features.path),
    ]
    paths += [
        (f"modalities.media.video_streams[{i}].path", stream.path)
        for i, stream in enumerate(media.video_streams)
    ]
    for where, path in paths:
        reason = refusal(path) if path is not None else None
        if reason:
            yield where, f"{path!r}: {reason}"
    if features.path is not None and (features.index is None or features.index < 0 or not features.dim):
        yield "modalities.sensor_features", f"row {features.index} of {features.dim} numbers is no pointer"


def _supervision_problems(record: WindowRecord) -> Iterator[Problem]:
    supervision = record.supervision
    answer = msgspec.json.decode(supervision.json_answer)
    if not isinstance(answer, dict):
        yield "supervision.json_answer", f"{type(answer).__name__}, not an object"
        return
    for name in ("action", "subtask", "objects", "contact", "transition", "next_action"):
        stated: Any = getattr(supervision, name)
        stated = list(stated) if name == "objects" else stated
        if name in answer and answer[name] != stated:
            yield f"supervision.{name}", f"{stated!r}, but json_answer says {answer[name]!r}"
    evidence = supervision.evidence_window
    window = (record.window.start_frame, record.window.end_frame)
    if evidence and (evidence.get("start_frame"), evidence.get("end_frame")) != window:
        yield "supervision.evidence_window", f"{evidence!r} is not the window {window[0]} to {window[1]}"


def _view_problems(record: WindowRecord) -> Iterator[Problem]:
    views, modalities = record.adapter_views, record.modalities
    available = conditioning(
        modalities.media,
        modalities.sensor_features,
        question=modalities.language.question,
        action=record.supervision.action,
        next_action=record.supervision.next_action,
    )
    claimed = views.cosmos_world_model.available_conditioning
    if claimed != available:
        yield (
            "adapter_views.cosmos_world_model.available_conditioning",
            f"{list(claimed)}, but the record has {list(available)}",
        )
    if views.policy_vla_branch.observation_window != record.window:
        yield "adapter_views.policy_vla_branch.observation_window", "is not the record's window"


def _option_problems(record: WindowRecord, lists: LabelLists) -> Iterator[Problem]:
    language = record.modalities.language
    for name, options in (
        ("action_options", language.action_options),
        ("subtask_options", language.subtask_options),
    ):
        if isinstance(options, Reference) and lists.resolve(options) is None:
            yield f"modalities.language.{name}", f"{options.ref!r} points at nothing"
