"""One camera's MP4: what its index says, and its pictures, decoded in one pass through PyAV."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from pipeline.data.status import PRESENT, StreamStatus, absent, first_line, unreadable
from pipeline.engine.errors import DamagedFileError

#: Frames that are worth a seek instead of being decoded and dropped.
SEEK_FROM = 250

#: What PyAV raises for files that are not what they should be.
BROKEN = (av.FFmpegError, OSError, ValueError, IndexError)


class VideoInfo(Struct, frozen=True, kw_only=True):
    """What a video's index says; nothing is decoded for it.

    Attributes:
        frames: pictures in the index.
        fps: mean frames per second.
        seconds: duration.
        width, height: pixels.
        codec: such as `h264`.
        readable_frames: pictures whose bytes are inside the file; fewer in a torn file.
        has_audio: whether there is a sound track, whatever is in it.
    """

    frames: int
    fps: float
    seconds: float
    width: int
    height: int
    codec: str
    readable_frames: int
    has_audio: bool


def probe_video(path: Path) -> tuple[StreamStatus, VideoInfo | None]:
    """Status and index of a video; never raises for what the file is."""
    if not path.is_file():
        return absent("the file is not there"), None
    size = path.stat().st_size
    try:
        with av.open(str(path)) as container:
            info = _info(container, size) if container.streams.video else None
    except BROKEN as error:
        return unreadable(f"not a readable video of {size} bytes: {first_line(error)}"), None
    if info is None:
        return absent("the file has no video track"), None
    if not info.readable_frames or info.readable_frames < info.frames:
        return unreadable(f"torn: {info.readable_frames} of {info.frames} frames are in the file"), info
    return PRESENT, info


def _info(container: Any, size: int) -> VideoInfo:
    stream = container.streams.video[0]
    ends = [entry.pos + entry.size for entry in stream.index_entries]
    if not ends:  # no index of its own: count what can be read
        ends = [0 for packet in container.demux(stream) if packet.size]
    duration = stream.duration * stream.time_base if stream.duration and stream.time_base else 0
    return VideoInfo(
        frames=stream.frames or len(ends),
        fps=round(float(stream.average_rate or 0), 5),
        seconds=round(float(duration), 4),
        width=stream.codec_context.width,
        height=stream.codec_context.height,
        codec=stream.codec_context.name,
        readable_frames=sum(end <= size for end in ends),
        has_audio=bool(container.streams.audio),
    )


def read_frames(
    path: Path, indices: Iterable[int], *, threads: int = 1, size: tuple[int, int] | None = None
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """The pictures at `indices`, as `decode_frames` finds them.

    Args:
        path: the MP4.
        indices: frame numbers from 0, in any order.
        threads: of the decoder.
        size: (width, height) to scale to, averaging over areas; None keeps the video's.

    Yields:
        (index, picture): height x width x RGB, one byte each.

    Raises:
        DamagedFileError: as there.
    """
    for index, frame in decode_frames(path, indices, threads=threads):
        yield index, _picture(frame, size)


def decode_frames(path: Path, indices: Iterable[int], *, threads: int = 1) -> Iterator[tuple[int, Any]]:
    """The frames at `indices` as PyAV's, each decoded at most once, in ascending order.

    Args:
        path: the MP4.
        indices: frame numbers from 0, in any order; those beyond the last frame yield nothing.
        threads: of the decoder.

    Raises:
        DamagedFileError: the file cannot be opened, or decoding ends before its last wanted frame.
    """
    wanted = iter(sorted({index for index in indices if index >= 0}))
    target = next(wanted, None)
    if target is None:
        return
    position = 0
    try:
        with av.open(str(path)) as container:
            for position, frame in _decode(container, path, target, threads):
                if position == target:
                    yield target, frame
                    target = next(wanted, None)
                    if target is None:
                        return
    except BROKEN as error:
        raise DamagedFileError(f"{path} cannot be decoded at frame {position}: {first_line(error)}") from None


def _decode(container: Any, path: Path, first: int, threads: int) -> Iterator[tuple[int, Any]]:
    """Frames with their numbers, beginning at or before `first`."""
    stream = container.streams.video[0]
    stream.codec_context.thread_count = threads
    stream.codec_context.thread_type = "NONE" if threads == 1 else "AUTO"
    if first < SEEK_FROM:
        yield from enumerate(container.decode(stream))
        return
    times = _times(path)
    if first >= len(times):
        return
    container.seek(times[first], stream=stream, backward=True)
    for frame in container.decode(stream):
        yield bisect_left(times, frame.pts), frame


def _times(path: Path) -> list[int]:
    """Presentation times of all pictures in order; reads the file, decodes nothing."""
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.video[0])
        return sorted(packet.pts for packet in packets if packet.pts is not None and packet.size)


def _picture(frame: Any, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    if size is not None and size != (frame.width, frame.height):
        frame = frame.reformat(width=size[0], height=size[1], format="rgb24", interpolation="AREA")
    picture: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
    return picture
