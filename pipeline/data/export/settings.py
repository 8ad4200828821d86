"""What an export is asked for, and what one worker is told. Light to import."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from pipeline.data.export.layout import LayoutName

#: `pipeline.data.frames.ResolverName`, which needs NumPy.
ResolverName = Literal["default", "current", "older"]

Positive = Annotated[int, Meta(ge=1)]

#: Names of the three published scales; others are named by their length alone.
_SCALE_NAMES = {20: "dense", 40: "medium", 80: "long"}


class Scale(Struct, frozen=True, forbid_unknown_fields=True):
    """Windows of one length: their frames, the frames from one to the next, and those a model may see.

    Raises:
        ValueError: the context is too short to hold the window where the published rule puts it.
    """

    window_frames: Positive = 20
    stride_frames: Positive = 20
    context_frames: Positive = 120

    def __post_init__(self) -> None:
        if self.context_frames < self.window_frames + 2:
            raise ValueError(
                f"a context of {self.context_frames} frames cuts windows of {self.window_frames}"
            )

    @property
    def id(self) -> str:
        """As published, such as `dense_20f_stride10`."""
        name = _SCALE_NAMES.get(self.window_frames, "scale")
        return f"{name}_{self.window_frames}f_stride{self.stride_frames}"


class Settings(Struct, frozen=True, kw_only=True):
    """Everything that decides the content of an episode's rows and files.

    Attributes:
        scales: kinds of windows; rows name theirs where there are several.
        max_windows: per episode and scale, see `pipeline.data.windows.cap_windows`; 0 for all.
        min_share: see `pipeline.data.windows`.
        resolver: how captions are read.
        video_frames: most pictures of a clip.
        layout: of the feature vectors.
        depth_features, annotation_text: fill those two blocks; see `pipeline.data.export.signals`.
        render_media: write clips and sound.
    """

    scales: tuple[Scale, ...] = (Scale(),)
    max_windows: int = 32
    min_share: float = 0.6
    resolver: ResolverName = "default"
    video_frames: int = 16
    layout: LayoutName = "no_video"
    depth_features: bool = True
    annotation_text: bool = False
    render_media: bool = True

    def digest(self) -> str:
        """Changes when any setting does."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:16]


class ExportTask(Struct, frozen=True, kw_only=True):
    """One episode of an export.

    Attributes:
        episode_id, episode_path, source_episode_id, split: as the manifest says.
        folder: where it lies; `target` where its results go; `progress` the file that tells how far it is.
        threads: of each decoder.
    """

    episode_id: str
    episode_path: str
    source_episode_id: str
    split: str
    folder: str
    target: str
    progress: str
    settings: Settings
    threads: int = 1
