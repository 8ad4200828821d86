"""Export one episode: every stream is decoded once, for all its windows of all scales.

The results appear in their folder all at once, by rename, so that a killed worker leaves nothing half done.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

from pipeline.data.audio import SILENCE, Audio
from pipeline.data.episode import Episode, open_episode
from pipeline.data.export.cameras import Cameras
from pipeline.data.export.features import Features, Signal, window_features
from pipeline.data.export.layout import AUDIO_BLOCK, LAYOUTS
from pipeline.data.export.mosaic import Clip, MadeClip, Mosaics, even_frames
from pipeline.data.export.pictures import PictureStatistics
from pipeline.data.export.record import RECORD_FILE, EpisodeRecord, made_file
from pipeline.data.export.rows import Camera, Draft, Media, answer_of
from pipeline.data.export.settings import ExportTask, Scale
from pipeline.data.export.signals import read_signals
from pipeline.data.export.sound import audio_signal, write_wav
from pipeline.data.frames import Span
from pipeline.data.index.record import Frames
from pipeline.data.labels import FrameLabels
from pipeline.data.layout import MAIN_VIDEO, VIDEOS
from pipeline.data.qa.episode import file_identity
from pipeline.data.status import PRESENT, StreamStatus, absent, silent
from pipeline.data.windows import Window, cap_windows, context_span, cut_windows
from pipeline.engine.errors import DamagedFileError, DiskFullError, NotFoundError, XopsError
from pipeline.engine.files import publish_bytes

#: Raised when the same episode and settings give other results than before.
VERSION = 1

#: Seconds between two notes of a worker on how far it is.
_NOTE_S = 0.5


class Cut(Struct, frozen=True):
    """One window of one scale, its context, and its position in the feature file of its scale."""

    scale: Scale
    window: Window
    context: Span
    position: int


def identity_of(task: ExportTask) -> str:
    """Changes when the episode's files, its split or the settings do."""
    parts = (VERSION, task.episode_id, task.split, task.settings.digest(), file_identity(Path(task.folder)))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def export_episode(task: ExportTask) -> EpisodeRecord:
    """Write an episode's files and record into `task.target`; what is wrong with it becomes `skipped`.

    Raises:
        DiskFullError: there is no room for the results.
    """
    target = Path(task.target)
    unfinished = target.with_name(f".{target.name}.tmp")
    for leftover in (unfinished, target):
        shutil.rmtree(leftover, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        with open_episode(Path(task.folder)) as episode:
            record = _Export(task, episode, unfinished).run()
    except DiskFullError:
        raise
    except XopsError as error:
        record = _skipped(task, str(error))
    publish_bytes(unfinished / RECORD_FILE, msgspec.json.encode(record))
    unfinished.rename(target)
    return record


def _skipped(task: ExportTask, reason: str) -> EpisodeRecord:
    return EpisodeRecord(
        episode_id=task.episode_id, split=task.split, identity=identity_of(task), skipped=reason
    )


class _Export:
    """The work on one episode.

    Args:
        task: what is to be done.
        episode: open.
        root: folder that stands for the dataset's.
    """

    def __init__(self, task: ExportTask, episode: Episode, root: Path) -> None:
        self.task, self.settings = task, task.settings
        self.episode = episode
        self.root = root
        self.layout = LAYOUTS[task.settings.layout]
        self.nulls = {"mosaic": 0, "audio": 0}
        self._noted = 0.0

    def run(self) -> EpisodeRecord:
        """Cut, decode, write; an episode without windows is skipped with its reason."""
        _ = self.episode.annotation  # raises where it cannot be read
        labels = self.episode.labels(self.settings.resolver)
        cuts = self._cut(labels)
        if not cuts:
            return _skipped(self.task, f"no labelled window: {self._why_unlabelled(labels)}")
        audio, heard = self._audio()
        clips, pictures = self._watch(cuts)
        signals = read_signals(
            self.episode,
            self.layout,
            labels=labels if self.settings.annotation_text else None,
            depth_of=[_span(cut.window) for cut in cuts] if self.settings.depth_features else (),
        )
        signals.values |= pictures
        if audio is not None and self.layout.has(AUDIO_BLOCK):
            signals.values[AUDIO_BLOCK] = audio_signal(audio, self.episode.frame_count, self.fps)
        features = {
            scale: self._features(scale, [cut for cut in cuts if cut.scale == scale], signals.values)
            for scale in self.settings.scales
        }
        rows = []
        for cut in cuts:
            sound = self._sound(cut, audio, heard)
            rows.append(
                self._draft(cut, clips.get(self._path(cut, "mosaic.mp4")), sound, features[cut.scale])
            )
            self._note(len(rows), len(cuts), stage="writing")
        files = [made_file(self.root, path) for path in sorted(self.root.rglob("*")) if path.is_file()]
        return EpisodeRecord(
            episode_id=self.task.episode_id,
            split=self.task.split,
            identity=identity_of(self.task),
            rows=tuple(rows),
            files=tuple(files),
            nulls=self.nulls,
            streams={**self.episode.streams, **{f"features/{k}": s for k, s in signals.statuses.items()}},
            frames=self.episode.frame_count,
        )

    @property
    def fps(self) -> float:
        """Of the main camera, whose clock the sound has."""
        info = self.episode.videos.get(MAIN_VIDEO)
        return info.fps if info is not None and info.fps > 0 else self.episode.fps

    def _cut(self, labels: FrameLabels) -> list[Cut]:
        contact = self.episode.contact()
        cuts = []
        for scale in self.settings.scales:
            found = cut_windows(
                labels,
                contact=contact,
                window_frames=scale.window_frames,
                stride=scale.stride_frames,
                min_share=self.settings.min_share,
            )
            kept = cap_windows(found, self.settings.max_windows)
            for position, window in enumerate(kept):
                context = context_span(window.start, window.end, len(labels), scale.context_frames)
                cuts.append(Cut(scale, window, context, position))
        return cuts

    def _why_unlabelled(self, labels: FrameLabels) -> str:
        if labels.labelled:
            return f"{labels.labelled} of {len(labels)} frames have an action, in no window enough"
        streams = self.episode.streams
        reasons = [streams[name].reason for name in ("caption", "captions") if streams[name].reason]
        return "; ".join(dict.fromkeys(reasons)) or "no frame has an action"

    def _watch(self, cuts: Sequence[Cut]) -> tuple[dict[Path, MadeClip], dict[str, Signal]]:
        """Decode all cameras once: clips, and the pictures' statistics where the layout has them."""
        wanted = [
            Clip(self._path(cut, "mosaic.mp4"), even_frames(cut.context, self.settings.video_frames))
            for cut in cuts
        ]
        mosaics = Mosaics(wanted if self.settings.render_media else ())
        seen = {f for cut in cuts for f in range(cut.window.start, cut.window.end + 1)}
        pictures = PictureStatistics(seen if self.settings.layout == "full" else (), self.episode.frame_count)
        self.cameras = Cameras(Path(self.task.folder), threads=self.task.threads)
        done = 0
        for index, frames in self.cameras.frames(mosaics.frames | pictures.frames):
            pictures.accept(index, frames)
            done += len(mosaics.accept(index, frames))
            self._note(done, len(cuts), stage="decoding")
        return mosaics.made, pictures.signals()

    def _audio(self) -> tuple[Audio | None, StreamStatus]:
        status = self.episode.streams["audio"]
        if not status.usable:
            return None, status
        try:
            return self.episode.audio(), status
        except (NotFoundError, DamagedFileError) as error:
            return None, StreamStatus("unreadable", str(error))

    def _sound(self, cut: Cut, audio: Audio | None, heard: StreamStatus) -> StreamStatus:
        """Write the sound of a window's context; returns its status, present if there is a file."""
        if audio is None:
            return heard
        if not self.settings.render_media:
            return absent("no media was asked for")
        first, last = cut.context
        part = audio.cut(first / self.fps, (last - first + 1) / self.fps)
        if not len(part.samples):
            return absent(f"the sound ends after {audio.start_s + audio.seconds:.2f} s")
        write_wav(self._path(cut, "audio.wav"), part)
        return StreamStatus("present", "" if part.peak > SILENCE else "nothing can be heard in it")

    def _features(self, scale: Scale, cuts: Sequence[Cut], signals: dict[str, Signal]) -> Features:
        features = window_features(signals, self.layout, [_span(cut.window) for cut in cuts])
        path = self.root / self._features_path(scale)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            path,
            features=features.values,
            valid=features.valid,
            blocks=np.array([block.name for block in self.layout.blocks]),
            windows=np.array([_span(cut.window) for cut in cuts], np.int64).reshape(-1, 2),
        )
        return features

    def _draft(self, cut: Cut, clip: MadeClip | None, sound: StreamStatus, features: Features) -> Draft:
        clip = clip or MadeClip(0, {})
        mosaic = self._mosaic_status(clip)
        self.nulls["mosaic"] += not mosaic.usable
        self.nulls["audio"] += not sound.usable
        window = cut.window
        scale = cut.scale.id if len(self.settings.scales) > 1 else ""
        own = f"{self.task.episode_id}:qa:{window.index}"
        return Draft(
            id=f"{scale}:{own}" if scale else own,
            episode_id=self.task.episode_id,
            split=self.task.split,
            center_window=Frames(window.start, window.end, window.frames),
            media=Media(
                video_paths=tuple(
                    Camera(name, f"{self.task.episode_path}/{name}")
                    for name in VIDEOS
                    if self.episode.streams[name].status != "absent"
                ),
                context_start_frame=cut.context[0],
                context_end_frame=cut.context[1],
                max_video_frames=self.settings.video_frames,
                mosaic_video_path=self._relative(cut, "mosaic.mp4") if mosaic.usable else None,
                audio_path=self._relative(cut, "audio.wav") if sound.usable else None,
                mosaic_frames=clip.frames,
                black_tiles=clip.black,
                status={
                    "mosaic": mosaic,
                    "audio": sound,
                    "sensor_features": self._features_status(features, cut.position),
                },
            ),
            sensor_feature_path=self._features_path(cut.scale),
            sensor_feature_index=cut.position,
            sensor_feature_dim=self.layout.dim,
            answer_json=answer_of(window),
            source_episode_id=self.task.source_episode_id,
            episode_path=self.task.episode_path,
            scale_id=scale,
        )

    def _mosaic_status(self, clip: MadeClip) -> StreamStatus:
        if not self.settings.render_media:
            return absent("no media was asked for")
        problems = self.cameras.problems
        reason = "; ".join(f"{name}: {problems.get(name, 'no frame')}" for name in sorted(clip.black))
        if clip.frames:
            return StreamStatus("present", reason)
        return absent("; ".join(f"{name}: {reason}" for name, reason in sorted(problems.items())))

    def _features_status(self, features: Features, position: int) -> StreamStatus:
        valid = features.valid[position]
        empty = [block.name for block, share in zip(self.layout.blocks, valid, strict=True) if not share]
        if len(empty) == len(valid):
            return silent("no block has a valid value")
        return StreamStatus("present", f"without {', '.join(empty)}") if empty else PRESENT

    def _features_path(self, scale: Scale) -> str:
        prefix = f"{scale.id}_" if len(self.settings.scales) > 1 else ""
        return f"sensor_features/{prefix}{self.task.episode_id}_sensor_features.npz"

    def _relative(self, cut: Cut, ending: str) -> str:
        prefix = f"{cut.scale.id}_" if len(self.settings.scales) > 1 else ""
        first, last = cut.context
        name = f"{prefix}{self.task.episode_id}_w{cut.window.index:05d}_ctx{first}_{last}_{ending}"
        return f"media/{self.task.episode_id}/{name}"

    def _path(self, cut: Cut, ending: str) -> Path:
        return self.root / self._relative(cut, ending)

    def _note(self, done: int, total: int, *, stage: str) -> None:
        """Tell how far this worker is, now and then, in a file that the stage reads."""
        if time.monotonic() < self._noted + _NOTE_S:
            return
        self._noted = time.monotonic()
        written = sum(path.stat().st_size for path in self.root.rglob("*") if path.is_file())
        note = {
            "episode": self.task.episode_id,
            "worker": os.getpid(),
            "step": stage,
            "window": done,
            "windows": total,
            "bytes": written,
            "nulls": self.nulls,
        }
        path = Path(self.task.progress)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(note))
        temporary.replace(path)


def _span(window: Window) -> Span:
    return window.start, window.end
