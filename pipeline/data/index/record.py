"""The records of `window_index.jsonl`: the extension contract's "Model-Neutral Window Index" as types.

Writer, validator and readers share these types, so a record that one makes the others accept. Frames are
0-based indices into the episode; every `end_frame` is inclusive. Paths are relative; `PATH_ROOTS` says to
which root of the manifest's `roots` each belongs. `action_options` and `subtask_options` are references
into the vocabulary file beside the index (`{"$ref": "label_vocabulary.json#/sets/0/action_options"}`), or
the lists themselves in an index that was asked to carry them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from pipeline.engine.errors import DamagedFileError, NotFoundError

SCHEMA = "xops.window_index/1"

INDEX_FILE = "window_index.jsonl"
MANIFEST_FILE = "window_index_manifest.json"
VOCABULARY_FILE = "label_vocabulary.json"

#: Which root each path of a record is relative to.
PATH_ROOTS = {
    "modalities.media.video_streams[].path": "data",
    "modalities.media.mosaic_video_path": "dataset",
    "modalities.media.audio_path": "dataset",
    "modalities.sensor_features.path": "dataset",
}


class Frames(Struct, frozen=True):
    """A window: first and last frame, both inside it, and their number."""

    start_frame: int
    end_frame: int
    num_frames: int


class Context(Struct, frozen=True):
    """The frames a model may look at, and how many of them the mosaic holds at most."""

    start_frame: int | None
    end_frame: int | None
    max_video_frames: int | None


class Span(Struct, frozen=True):
    """A context window without the mosaic's limit."""

    start_frame: int | None
    end_frame: int | None


class Stream(Struct, frozen=True):
    """One camera's file."""

    name: str
    path: str


class Media(Struct, frozen=True):
    """Video and audio; None where a rendering is missing."""

    video_streams: tuple[Stream, ...]
    mosaic_video_path: str | None
    audio_path: str | None
    context_window: Context


class SensorFeatures(Struct, frozen=True):
    """Row `index` of `dim` numbers in the file at `path`; all None where there are no features."""

    path: str | None
    index: int | None
    dim: int | None


class Reference(Struct, frozen=True):
    """A JSON pointer into the vocabulary file."""

    ref: str = field(name="$ref")


class Language(Struct, frozen=True):
    """What the model is asked, and the label options it may choose from."""

    question: str | None
    action_options: Reference | tuple[str, ...]
    subtask_options: Reference | tuple[str, ...]


class Modalities(Struct, frozen=True):
    """All inputs of a window."""

    media: Media
    sensor_features: SensorFeatures
    language: Language


class Supervision(Struct, frozen=True):
    """The answer as a whole (`json_answer`, as it was written) and taken apart."""

    json_answer: msgspec.Raw
    action: str | None
    subtask: str | None
    objects: tuple[str, ...]
    contact: str | None
    transition: str | None
    next_action: str | None
    evidence_window: dict[str, Any]


class QwenView(Struct, frozen=True):
    """How a JSON-QA branch reads the window."""

    sample_contract: str
    messages_available: bool
    direct_modalities: tuple[str, ...]
    bridged_modalities: tuple[str, ...]


class CosmosView(Struct, frozen=True):
    """How a world-model branch reads it; `available_conditioning` names only what is really there."""

    sample_contract: str
    context_window: Span
    available_conditioning: tuple[str, ...]
    candidate_targets: tuple[str, ...]
    requires_new_exporter: bool


class PolicyView(Struct, frozen=True):
    """How a policy branch reads it."""

    sample_contract: str
    observation_window: Frames
    candidate_targets: tuple[str, ...]
    requires_action_space_design: bool


class AdapterViews(Struct, frozen=True):
    """The three views every record carries."""

    qwen3_omni_lora: QwenView
    cosmos_world_model: CosmosView
    policy_vla_branch: PolicyView


class Provenance(Struct, frozen=True):
    """Where the record came from."""

    dataset_record_fields: tuple[str, ...]
    parallel_export_shard: int | None


class WindowRecord(Struct, frozen=True):
    """One line of `window_index.jsonl`."""

    id: str
    source_record_id: str
    episode_id: str
    split: str
    target: str | None
    prompt_type: str | None
    window: Frames
    modalities: Modalities
    supervision: Supervision
    adapter_views: AdapterViews
    provenance: Provenance


_DECODER = msgspec.json.Decoder(WindowRecord)


def read_index(path: Path) -> Iterator[WindowRecord]:
    """The records of an index, one at a time.

    Raises:
        NotFoundError: there is no such file.
        DamagedFileError: a line is not a record; the message names the line and the field.
    """
    try:
        lines = path.open("rb")
    except FileNotFoundError:
        raise NotFoundError(f"{path} does not exist", hint="xops run start --until index") from None
    with lines:
        for number, line in enumerate(lines, 1):
            try:
                yield _DECODER.decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise DamagedFileError(
                    f"{path} line {number}: {error}", hint=f"xops data index validate {path}"
                ) from None
