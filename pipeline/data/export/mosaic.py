"""Mosaic clips of windows: the six cameras as 3 x 2 tiles, a few frames evenly over the context.

A frame that several windows show is scaled and composed once and goes to the encoder of each of them; only
the encoders of windows that span the current frame are open.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from msgspec import Struct
from numpy.typing import NDArray

from pipeline.data.frames import Span
from pipeline.data.layout import VIDEOS

TILE_WIDTH, TILE_HEIGHT = 320, 240
COLUMNS, ROWS = 3, 2
FPS = 8

#: The published codec, and a rate that keeps 960 x 480 sharp at 8 frames per second.
CODEC, BITS_PER_S = "mpeg4", 2_000_000

#: Luma and chroma of black, limited range.
_BLACK = (16, 128)


class Clip(Struct, frozen=True):
    """A mosaic to make: its file, and the frames it shows, ascending."""

    path: Path
    frames: tuple[int, ...]


class MadeClip(Struct, frozen=True):
    """What became of a clip.

    Attributes:
        frames: pictures in the file; 0 if no camera had any, and then there is no file.
        black: camera -> frames of it that are black.
    """

    frames: int
    black: dict[str, int]


def even_frames(span: Span, most: int) -> tuple[int, ...]:
    """At most `most` different frames of `span` (both inside), evenly spaced, ends included."""
    first, last = span
    count = min(most, last - first + 1)
    return tuple(int(frame) for frame in np.linspace(first, last, count).round())


class Mosaics:
    """Makes clips from frames that arrive in ascending order.

    Args:
        clips: all that are to be made.
        tile: width and height of a tile, even pixels.
    """

    def __init__(self, clips: Iterable[Clip], *, tile: tuple[int, int] = (TILE_WIDTH, TILE_HEIGHT)) -> None:
        self.made: dict[Path, MadeClip] = {}
        self._tile = tile
        self._scalers = {name: VideoReformatter() for name in VIDEOS}
        self._showing: dict[int, list[_Encoder]] = defaultdict(list)
        for clip in clips:
            encoder = _Encoder(clip, (tile[0] * COLUMNS, tile[1] * ROWS))
            for frame in clip.frames:
                self._showing[frame].append(encoder)

    @property
    def frames(self) -> set[int]:
        """The frames it needs."""
        return set(self._showing)

    def accept(self, index: int, frames: Mapping[str, Any]) -> list[Path]:
        """Take one frame of all cameras that have it; returns the clips that are finished by it."""
        encoders = self._showing.pop(index, [])
        if not encoders:
            return []
        picture = self._compose(frames)
        finished = []
        for encoder in encoders:
            encoder.add(picture, [name for name in VIDEOS if name not in frames])
            if encoder.complete:
                self.made[encoder.clip.path] = encoder.finish()
                finished.append(encoder.clip.path)
        return finished

    def _compose(self, frames: Mapping[str, Any]) -> NDArray[np.uint8]:
        """A yuv420p picture as PyAV takes it: luma, then both chroma planes, one below the other."""
        width, height = self._tile
        luma = np.full((height * ROWS, width * COLUMNS), _BLACK[0], np.uint8)
        chroma = np.full((2, height * ROWS // 2, width * COLUMNS // 2), _BLACK[1], np.uint8)
        for place, name in enumerate(VIDEOS):
            if name in frames:
                tile = self._scalers[name].reformat(
                    frames[name], width, height, "yuv420p", interpolation="AREA"
                )
                planes = tile.to_ndarray()
                row, column = divmod(place, COLUMNS)
                luma[row * height :, column * width :][:height, :width] = planes[:height]
                small = planes[height:].reshape(2, height // 2, width // 2)
                chroma[:, row * height // 2 :, column * width // 2 :][:, : height // 2, : width // 2] = small
        return np.concatenate([luma, chroma.reshape(-1, width * COLUMNS)])


class _Encoder:
    """One clip in the making; its file is opened with its first picture."""

    def __init__(self, clip: Clip, size: tuple[int, int]) -> None:
        self.clip = clip
        self._size = size
        self._left = len(clip.frames)
        self._black: dict[str, int] = defaultdict(int)
        self._container: Any = None
        self._stream: Any = None

    @property
    def complete(self) -> bool:
        """Whether all its frames have been added."""
        return self._left == 0

    def add(self, picture: NDArray[np.uint8], black: Iterable[str]) -> None:
        """Append a picture, of which some cameras are black."""
        if self._container is None:
            self._open()
        for name in black:
            self._black[name] += 1
        frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts, frame.time_base = len(self.clip.frames) - self._left, Fraction(1, FPS)
        self._container.mux(self._stream.encode(frame))
        self._left -= 1

    def finish(self) -> MadeClip:
        """Close the file, and delete it if it shows nothing."""
        self._container.mux(self._stream.encode(None))
        self._container.close()
        count = len(self.clip.frames)
        if all(self._black[name] == count for name in VIDEOS):
            self.clip.path.unlink()
            count = 0
        return MadeClip(count, {name: frames for name, frames in sorted(self._black.items()) if frames})

    def _open(self) -> None:
        self.clip.path.parent.mkdir(parents=True, exist_ok=True)
        self._container = av.open(str(self.clip.path), "w", format="mp4")
        self._stream = self._container.add_stream(CODEC, rate=FPS)
        self._stream.width, self._stream.height = self._size
        self._stream.pix_fmt, self._stream.bit_rate = "yuv420p", BITS_PER_S
        self._stream.codec_context.thread_count = 1  # the same bytes on every machine
