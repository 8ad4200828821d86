"""What the reader sees of one episode, as one JSON-able record for people, manifests and screens."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from pipeline.data.episode import Episode, open_episode
from pipeline.data.frames import ResolverName
from pipeline.data.labels import FrameLabels
from pipeline.data.manifest.build import Windowing
from pipeline.data.manifest.describe import count_labels
from pipeline.data.manifest.record import LabelStats
from pipeline.data.status import StreamStatus
from pipeline.data.video import VideoInfo
from pipeline.data.windows import (
    MIN_SHARE,
    STRIDE,
    WINDOW_FRAMES,
    Window,
    cut_windows,
    window_starts,
)


class InspectReport(Struct, frozen=True, kw_only=True):
    """One episode.

    Attributes:
        id, path: `<session>__ep<N>` and `<session>/ep<N>`.
        frames: of the annotation; None where it cannot be read.
        seconds: by the device clock, else frames over the nominal rate; None without frames.
        fps: by the device clock; None without one.
        modalities: the eleven flags.
        streams: status of everything.
        videos: what each readable video's index says.
        invalid_frames: frames without a valid pose, by modality.
        labels: statistics with the manifest's keys.
        resolver: how frame references were read.
        unresolved: references that mean no frame.
        positions: windows that fit, labelled or not; `windows` of them have an action.
    """

    id: str
    path: str
    frames: int | None
    seconds: float | None
    fps: float | None
    modalities: dict[str, bool]
    streams: dict[str, StreamStatus]
    videos: dict[str, VideoInfo]
    invalid_frames: dict[str, int]
    labels: LabelStats
    resolver: str
    unresolved: int
    positions: int
    windows: int


class WindowReport(Struct, frozen=True, kw_only=True):
    """The windows of one episode, and how many positions had none."""

    id: str
    frames: int
    window_frames: int
    stride: int
    resolver: str
    positions: int
    unlabelled: int
    reason: str
    windows: tuple[Window, ...]


def inspect_episode(
    root: Path,
    *,
    resolver: ResolverName = "default",
    window_frames: int = WINDOW_FRAMES,
    stride: int = STRIDE,
    min_share: float = MIN_SHARE,
) -> InspectReport:
    """Look at an episode without decoding its pictures or reading its depth.

    Raises:
        NotFoundError: there is no such folder.
    """
    with open_episode(root) as episode:
        labels = episode.labels(resolver) if episode.frame_count else FrameLabels.empty(0)
        windows = cut_windows(labels, window_frames=window_frames, stride=stride, min_share=min_share)
        seconds, fps = _clock(episode)
        main_task = episode.caption.main_task if episode.caption else ""
        windowing = Windowing(window_frames=window_frames, stride_frames=stride, min_label_fraction=min_share)
        return InspectReport(
            id=episode.id,
            path=episode.path,
            frames=episode.frame_count or None,
            seconds=seconds,
            fps=fps,
            modalities=episode.modalities(),
            streams=episode.streams,
            videos=episode.videos,
            invalid_frames=episode.invalid_frames(),
            labels=count_labels(labels, windowing, main_task),
            resolver=resolver,
            unresolved=labels.unresolved,
            positions=len(window_starts(len(labels), window_frames, stride)),
            windows=len(windows),
        )


def episode_windows(
    root: Path,
    *,
    resolver: ResolverName = "default",
    window_frames: int = WINDOW_FRAMES,
    stride: int = STRIDE,
    min_share: float = MIN_SHARE,
) -> WindowReport:
    """The windows of an episode.

    Raises:
        NotFoundError: there is no such folder.
    """
    with open_episode(root) as episode:
        labels = episode.labels(resolver) if episode.frame_count else FrameLabels.empty(0)
        contact = episode.contact()
        windows = cut_windows(
            labels, contact=contact, window_frames=window_frames, stride=stride, min_share=min_share
        )
        positions = len(window_starts(len(labels), window_frames, stride))
        return WindowReport(
            id=episode.id,
            frames=len(labels),
            window_frames=window_frames,
            stride=stride,
            resolver=resolver,
            positions=positions,
            unlabelled=positions - len(windows),
            reason="" if windows else _why_none(episode, positions),
            windows=tuple(windows),
        )


def _clock(episode: Episode) -> tuple[float | None, float | None]:
    """Seconds and frames per second; the last frame lasts as long as the others."""
    count, clock = episode.frame_count, episode.frames.clock
    if not count:
        return None, None
    if clock is None or count < 2 or clock[-1] <= clock[0]:
        return round(count / episode.fps, 4), None
    step = float(clock[-1] - clock[0]) / 1e9 / (count - 1)
    return round(step * count, 4), round(1 / step, 5)


def _why_none(episode: Episode, positions: int) -> str:
    streams = episode.streams
    for name in ("annotation", "caption", "captions"):
        status = streams[name]
        if status.status in ("unreadable", "silent") or (name == "annotation" and not status.usable):
            return f"{name}: {status.reason}"
    if not any(streams[name].usable for name in ("caption", "captions")):
        return "the annotation has no caption"
    return "fewer frames than a window" if not positions else "no window has a majority action"
