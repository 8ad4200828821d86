"""One dataset row to one neutral record, and the counts that the manifest reports.

Only the parts of a row that the index needs are decoded: chat messages and repeated label lists are never
turned into objects. A row that cannot be converted is left out with its line and reason.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Raw, Struct

from pipeline.data.index.record import (
    Context,
    Frames,
    Language,
    Media,
    Modalities,
    Provenance,
    SensorFeatures,
    Stream,
    Supervision,
    WindowRecord,
)
from pipeline.data.index.roots import Roots
from pipeline.data.index.views import conditioning, make_views
from pipeline.data.index.vocabulary import Kind, Vocabulary
from pipeline.data.leakage import LeakFinder

#: Skipped rows listed by line; their number is always complete.
SKIPPED_SHOWN = 1_000


class SkippedRow(Struct, frozen=True):
    """A row of the source that is not in the index."""

    line: int
    reason: str


class _RowMedia(Struct, frozen=True):
    video_paths: tuple[Stream, ...] = ()
    context_start_frame: int | None = None
    context_end_frame: int | None = None
    max_video_frames: int | None = None
    mosaic_video_path: str | None = None
    audio_path: str | None = None


class _Row(Struct, frozen=True):
    """What the index takes from a row (formats section 2.4); other keys are only named."""

    id: str
    episode_id: str
    center_window: Frames
    split: str = "unspecified"
    target: str | None = None
    prompt_type: str | None = None
    media: _RowMedia = _RowMedia()
    sensor_feature_path: str | None = None
    sensor_feature_index: int | None = None
    sensor_feature_dim: int | None = None
    question: str | None = None
    answer_json: Raw = Raw(b"{}")
    action_options: Raw = Raw(b"")
    subtask_options: Raw = Raw(b"")
    messages: Raw = Raw(b"")
    parallel_export_shard: int | None = None


class _Answer(Struct, frozen=True):
    """The fields of `answer_json`; missing ones are unknown."""

    action: str | None = "unknown"
    subtask: str | None = "unknown"
    objects: tuple[str, ...] = ()
    contact: str | None = "unknown"
    transition: str | None = "unknown"
    next_action: str | None = "unknown"
    evidence_window: dict[str, Any] = {}


_rows = msgspec.json.Decoder(_Row)
_keys = msgspec.json.Decoder(dict[str, Raw])
_answers = msgspec.json.Decoder(_Answer | None)
_encoder = msgspec.json.Encoder()

#: The longest value of `messages` that holds no chat: `null`.
_EMPTY_BYTES = 4


class Converter:
    """Turns lines of `dataset.jsonl` into lines of the index and counts what it sees.

    Args:
        roots: where the rows' paths begin.
        vocabulary: collects the label options.
    """

    def __init__(self, roots: Roots, vocabulary: Vocabulary) -> None:
        self.roots = roots
        self.vocabulary = vocabulary
        self.leaks = LeakFinder()
        self.rows = 0
        self.records = 0
        self.skipped: list[SkippedRow] = []
        self._lines = 0
        self._ids: set[int] = set()
        self._splits: Counter[str] = Counter()
        self._episodes: dict[str, set[str]] = defaultdict(set)
        self._modalities: Counter[str] = Counter()
        self._trained: dict[Kind, set[str | None]] = {"action_options": set(), "subtask_options": set()}
        self._field_names: dict[tuple[str, ...], tuple[str, ...]] = {}

    def convert(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """The encoded records of `lines`, each with its newline; blank lines are no rows."""
        for line in lines:
            self._lines += 1
            if line.isspace():
                continue
            self.rows += 1
            try:
                record = self._record(line)
            except (ValueError, msgspec.MsgspecError) as error:  # PathRefusedError and bad UTF-8 among them
                self._skip(str(error))
                continue
            self._count(record)
            yield _encoder.encode(record)
            yield b"\n"

    def _skip(self, reason: str) -> None:
        if len(self.skipped) < SKIPPED_SHOWN:
            self.skipped.append(SkippedRow(self._lines, reason))

    def _record(self, line: bytes) -> WindowRecord:
        row = _rows.decode(line)
        if hash(row.id) in self._ids:
            raise ValueError(f"id {row.id!r} appears a second time")
        window = row.center_window
        media = self._media(row)
        features = SensorFeatures(
            self.roots.rendered(row.sensor_feature_path), row.sensor_feature_index, row.sensor_feature_dim
        )
        answer_json, answer = row.answer_json, _answers.decode(row.answer_json)
        if answer is None:
            answer_json, answer = Raw(b"{}"), _Answer()
        language = Language(
            row.question,
            self.vocabulary.take("action_options", row.action_options),
            self.vocabulary.take("subtask_options", row.subtask_options),
        )
        chat = memoryview(row.messages).nbytes > _EMPTY_BYTES
        available = conditioning(
            media, features, question=row.question, action=answer.action, next_action=answer.next_action
        )
        return WindowRecord(
            id=row.id,
            source_record_id=row.id,
            episode_id=row.episode_id,
            split=row.split,
            target=row.target,
            prompt_type=row.prompt_type,
            window=window,
            modalities=Modalities(media, features, language),
            supervision=_supervision(answer_json, answer),
            adapter_views=make_views(window, media, available, messages=chat),
            provenance=Provenance(self._fields_of(line), row.parallel_export_shard),
        )

    def _media(self, row: _Row) -> Media:
        media = row.media
        return Media(
            video_streams=tuple(
                Stream(stream.name, self.roots.stream(stream.path, row.episode_id))
                for stream in media.video_paths
            ),
            mosaic_video_path=self.roots.rendered(media.mosaic_video_path),
            audio_path=self.roots.rendered(media.audio_path),
            context_window=Context(
                media.context_start_frame, media.context_end_frame, media.max_video_frames
            ),
        )

    def _fields_of(self, line: bytes) -> tuple[str, ...]:
        names = tuple(_keys.decode(line))
        known = self._field_names.get(names)
        if known is None:
            known = self._field_names[names] = tuple(sorted(names))
        return known

    def _count(self, record: WindowRecord) -> None:
        self.records += 1
        self._ids.add(hash(record.id))
        self._splits[record.split] += 1
        self._episodes[record.split].add(record.episode_id)
        media, features = record.modalities.media, record.modalities.sensor_features
        present = {
            "mosaic_video": media.mosaic_video_path,
            "audio": media.audio_path,
            "sensor_features": features.path,
            "language": record.modalities.language.question,
        }
        if record.split == "train":
            self._trained["action_options"] |= {record.supervision.action, record.supervision.next_action}
            self._trained["subtask_options"].add(record.supervision.subtask)
        self._modalities.update(name for name, value in present.items() if value)
        files = (media.mosaic_video_path, media.audio_path)
        self.leaks.add(record.episode_id, record.split, files=[file for file in files if file])

    def unseen_options(self) -> dict[str, tuple[str, ...]]:
        """By kind, the label options that no record of the train split has: labels leaked from elsewhere."""
        return {
            kind: tuple(sorted(self.vocabulary.all_options(kind) - trained))
            for kind, trained in self._trained.items()
        }

    def counts(self) -> dict[str, Any]:
        """The manifest's counts; records and skipped rows add up to the source's rows."""
        return {
            "num_records": self.records,
            "num_source_rows": self.rows,
            "num_skipped": self.rows - self.records,
            "skipped_records": msgspec.to_builtins(self.skipped),
            "num_episodes": len(set().union(*self._episodes.values())),
            "sample_split_counts": dict(self._splits),
            "episode_split_counts": {split: len(episodes) for split, episodes in self._episodes.items()},
            "modality_record_counts": dict(self._modalities),
            "missing_modality_counts": {
                name: self.records - self._modalities[name]
                for name in ("mosaic_video", "audio", "sensor_features", "language")
            },
        }


def _supervision(raw: Raw, answer: _Answer) -> Supervision:
    return Supervision(
        json_answer=raw,
        action=answer.action,
        subtask=answer.subtask,
        objects=answer.objects,
        contact=answer.contact,
        transition=answer.transition,
        next_action=answer.next_action,
        evidence_window=answer.evidence_window,
    )
