"""One window as one row of `dataset.jsonl`, with the published keys (formats section 2.4).

Paths are relative: cameras to the data root, renderings and features to the dataset. Label options are a
reference into `label_vocabulary.json`; with `parity` they are written out in every row and in its prompt, as
the original did.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from pipeline.data.index.record import Frames, Reference
from pipeline.data.status import StreamStatus
from pipeline.data.windows import UNKNOWN, Window

TARGET, PROMPT_TYPE = "episode_qa", "json_episode_understanding"

#: Most objects of the answer that a model is trained to give.
MOST_OBJECTS = 8

SYSTEM = (
    "You are an embodied episode-understanding model for Ropedia/Xperience-10M. Answer every question as "
    "strict JSON with these keys: action, subtask, objects, contact, transition, next_action, "
    'evidence_window. Use "unknown" when the evidence is missing instead of guessing.'
)
QUESTION = (
    "Given the synchronized egocentric video/audio context and sensor window, identify the current embodied "
    "episode state."
)
FORMAT = (
    "Return strict JSON only with keys: action, subtask, objects, contact, transition, next_action, "
    'evidence_window.\nUse "unknown" for fields that cannot be determined.'
)


class Evidence(Struct, frozen=True):
    """First and last frame of the window, both inside."""

    start_frame: int
    end_frame: int


class Answer(Struct, frozen=True):
    """What is to be said of a window."""

    action: str
    subtask: str
    objects: tuple[str, ...]
    contact: str
    transition: str
    next_action: str
    evidence_window: Evidence


class Camera(Struct, frozen=True):
    """A camera file, relative to the data root."""

    name: str
    path: str


class Media(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What the window's context looks and sounds like.

    Attributes:
        video_paths: the episode's cameras.
        context_start_frame, context_end_frame: what clip and sound show, both inside.
        max_video_frames: most frames that were asked for.
        mosaic_video_path, audio_path: None where there is none; `status` says why.
        mosaic_frames: pictures of the clip; all of them are what the model is to see.
        black_tiles: camera -> pictures of the clip in which it is black.
        status: of `mosaic`, `audio` and `sensor_features`.
    """

    video_paths: tuple[Camera, ...]
    context_start_frame: int
    context_end_frame: int
    max_video_frames: int
    mosaic_video_path: str | None
    audio_path: str | None
    mosaic_frames: int | UnsetType = UNSET
    black_tiles: dict[str, int] | UnsetType = UNSET
    status: dict[str, StreamStatus] | UnsetType = UNSET


class Draft(Struct, frozen=True, kw_only=True):
    """A row as its episode alone determines it, in the order of its keys."""

    id: str
    episode_id: str
    split: str
    center_window: Frames
    media: Media
    sensor_feature_path: str | None
    sensor_feature_index: int
    sensor_feature_dim: int
    answer_json: Answer
    source_episode_id: str
    episode_path: str
    scale_id: str = ""


class Options(Struct, frozen=True):
    """What a row says of the label options: references, or the lists themselves."""

    actions: Reference | tuple[str, ...]
    subtasks: Reference | tuple[str, ...]


def answer_of(window: Window) -> Answer:
    """The answer to the question about a window."""
    return Answer(
        action=window.action,
        subtask=window.subtask,
        objects=window.objects,
        contact=window.contact,
        transition=window.transition,
        next_action=window.next_action,
        evidence_window=Evidence(window.start, window.end),
    )


def training_target(answer: Answer) -> str:
    """The answer as a model is to write it: sorted keys, no spaces, few objects, none twice in other case."""
    distinct = dict[str, str]()
    for name in answer.objects:
        distinct.setdefault(name.casefold(), name)
    target = msgspec.structs.replace(
        answer,
        objects=tuple(distinct.values())[:MOST_OBJECTS],
        contact=answer.contact.lower(),
        transition=answer.transition.lower(),
    )
    return msgspec.json.encode(target, order="sorted").decode()


def label_options(drafts: Iterable[Draft]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Actions (next ones too) and subtasks of the train split, sorted; other splits' labels stay secret."""
    actions, subtasks = set[str](), set[str]()
    for draft in drafts:
        if draft.split == "train":
            actions |= {draft.answer_json.action, draft.answer_json.next_action}
            subtasks.add(draft.answer_json.subtask)
    return tuple(sorted(actions - {UNKNOWN})), tuple(sorted(subtasks - {UNKNOWN}))


def make_row(draft: Draft, options: Options, *, shard: int, run_id: str, parity: bool) -> dict[str, Any]:
    """The whole row, keys in the published order.

    Args:
        draft: the episode's part of it.
        options: of the whole dataset.
        shard: of the original's order, see `pipeline.data.export.order`.
        run_id: of the export; rows of several scales say it.
        parity: write only what the original wrote.
    """
    media = draft.media
    if parity:
        media = msgspec.structs.replace(media, mosaic_frames=UNSET, black_tiles=UNSET, status=UNSET)
    row = {
        "id": draft.id,
        "episode_id": draft.episode_id,
        "split": draft.split,
        "target": TARGET,
        "prompt_type": PROMPT_TYPE,
        "center_window": draft.center_window,
        "media": media,
        "sensor_feature_path": draft.sensor_feature_path,
        "sensor_feature_index": draft.sensor_feature_index,
        "sensor_feature_dim": draft.sensor_feature_dim,
        "question": QUESTION,
        "answer_json": draft.answer_json,
        "label": draft.answer_json.action,
        "action_options": options.actions,
        "subtask_options": options.subtasks,
        "label_options": options.actions,
        "messages": messages(draft, options, parity=parity),
        "source_episode_id": draft.source_episode_id,
        "episode_path": draft.episode_path,
        "parallel_export_shard": shard,
    }
    if draft.scale_id:
        own = draft.id.removeprefix(f"{draft.scale_id}:")
        row |= {"source_row_id": own, "multiscale_run_id": run_id, "scale_id": draft.scale_id}
    return row


def messages(draft: Draft, options: Options, *, parity: bool) -> list[dict[str, Any]]:
    """The chat: system, user with media and text, assistant with the target.

    The clip's part says how many pictures it has, so that no helper samples fewer; the original left that
    out, and its helper may have shown the model 4 of 16.
    """
    parts: list[dict[str, Any]] = []
    if draft.media.mosaic_video_path:
        clip: dict[str, Any] = {"type": "video", "video": draft.media.mosaic_video_path}
        parts.append(clip if parity else {**clip, "nframes": draft.media.mosaic_frames})
    if draft.media.audio_path:
        parts.append({"type": "audio", "audio": draft.media.audio_path})
    window = draft.center_window
    lines = [
        QUESTION,
        f"Episode: {draft.episode_id}",
        f"Label window frames: {window.start_frame}-{window.end_frame}",
        FORMAT,
        *_listed("Known action labels:", options.actions),
        *_listed("Known subtask labels:", options.subtasks),
    ]
    return [
        {"role": "system", "content": [{"type": "text", "text": SYSTEM}]},
        {"role": "user", "content": [*parts, {"type": "text", "text": "\n".join(lines)}]},
        {"role": "assistant", "content": training_target(draft.answer_json)},
    ]


def _listed(title: str, options: Reference | tuple[str, ...]) -> list[str]:
    return [] if isinstance(options, Reference) else [title, *(f"- {option}" for option in options)]
