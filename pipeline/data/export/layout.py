"""What every number of a sensor feature vector is (formats section 1.4). Light to import.

Three published layouts, of 8,546, 4,430 and 4,262 numbers: the full one, the one without the cameras' own
statistics, and the one without sound either. A block that changes over time holds seven statistics of its
channels, one statistic after the other: all means, then all deviations, and so on.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from pipeline.data.layout import VIDEOS

#: The statistics of every channel over a window, in their order; deviations are of the population.
STATISTICS: Final = ("mean", "std", "min", "max", "last-first", "mean difference", "std of differences")

LayoutName = Literal["full", "no_video", "no_video_no_audio"]

AUDIO_BLOCK: Final = "audio_fisheye_cam0_aac"
TEXT_BLOCK: Final = "caption_objects_interaction_text"
DEPTH_BLOCK: Final = "depth_confidence"

#: Camera file -> its block, in the order of the mosaic's tiles.
VIDEO_BLOCKS: Final = {name: f"video_{name.removesuffix('.mp4')}" for name in VIDEOS}

#: Block -> (channels, whether it changes over time). Units are those of the annotation.
_CHANNELS: Final = {
    "hand_left_joints": (63, True),  # 21 joints x, y, z in m, relative to body joint 0
    "hand_right_joints": (63, True),
    "body_joints": (156, True),  # 52 joints, as above
    "body_contacts": (21, True),
    "camera_translation": (3, True),  # m, relative to the window's first frame
    "camera_rotation_matrix": (9, True),  # camera -> world, by rows
    "imu_accel_gyro": (6, True),  # m/s^2 and rad/s, at 200 Hz
    DEPTH_BLOCK: (140, True),  # see pipeline.data.export.depth
    **dict.fromkeys(VIDEO_BLOCKS.values(), (98, True)),  # see pipeline.data.export.pictures
    AUDIO_BLOCK: (24, True),  # see pipeline.data.export.sound
    TEXT_BLOCK: (128, True),  # words hashed into 128 counts
    "slam_point_cloud": (22, False),
    "calibration": (117, False),
}


class Block(Struct, frozen=True):
    """A stretch of the vector.

    Attributes:
        name: as published.
        start, end: its numbers, end outside.
        channels: per frame, or in all for a block that does not change.
        changes: whether it holds statistics over time.
    """

    name: str
    start: int
    end: int
    channels: int
    changes: bool

    @property
    def dim(self) -> int:
        """Numbers of the vector."""
        return self.end - self.start


class Layout(Struct, frozen=True):
    """All blocks of a vector, in order."""

    name: LayoutName
    blocks: tuple[Block, ...]

    @property
    def dim(self) -> int:
        """Length of the vector."""
        return self.blocks[-1].end

    def has(self, name: str) -> bool:
        """Whether the vector has this block."""
        return any(block.name == name for block in self.blocks)

    def published(self) -> list[dict[str, str | int]]:
        """The entries of `feature_manifest` in a dataset's manifest."""
        return [
            {"name": block.name, "start": block.start, "end": block.end, "dim": block.dim}
            for block in self.blocks
        ]


def _layout(name: LayoutName, left_out: frozenset[str]) -> Layout:
    blocks: list[Block] = []
    for block, (channels, changes) in _CHANNELS.items():
        if block not in left_out:
            start = blocks[-1].end if blocks else 0
            end = start + channels * (len(STATISTICS) if changes else 1)
            blocks.append(Block(block, start, end, channels, changes))
    return Layout(name, tuple(blocks))


_VIDEO: Final = frozenset(VIDEO_BLOCKS.values())

LAYOUTS: Final[dict[LayoutName, Layout]] = {
    "full": _layout("full", frozenset()),
    "no_video": _layout("no_video", _VIDEO),
    "no_video_no_audio": _layout("no_video_no_audio", _VIDEO | {AUDIO_BLOCK}),
}
