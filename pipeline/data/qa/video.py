"""Looking at one MP4: does its index open, are its last bytes there, do rate, duration and frames agree.

Decodes nothing of the picture and only a second of sound in three places; the frame count is the index's.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from pipeline.data.qa.record import Findings, Limits, first_line

#: Where the sound is listened to, as shares of its length, and for how long in seconds.
LISTEN_AT, LISTEN_S = (0.05, 0.5, 0.9), 1.0


def check_video(path: Path, limits: Limits, *, audio: bool = False) -> tuple[dict[str, Any], Findings]:
    """Facts and findings of a camera file; never raises for what the file is.

    Facts: `frames`, `fps`, `seconds`, `width`, `height`, `codec`, and `audio` (`present` or `absent`,
    `silent`, `unreadable`) with `audio_seconds` and `audio_offset_s` where `audio` is asked for.
    """
    found = Findings(path.name)
    facts: dict[str, Any] = {}
    try:
        with av.open(str(path)) as container:
            if container.streams.video:
                _picture(container, path, facts, found, limits)
            else:
                found.fail("video_stream", "no video stream")
            if audio:
                _sound(container, facts, found, limits)
    except (av.FFmpegError, OSError, ValueError) as error:
        found.fail("mp4_opens", f"not a readable video: {first_line(error)}")
    return facts, found


def _picture(container: Any, path: Path, facts: dict[str, Any], found: Findings, limits: Limits) -> None:
    stream = container.streams.video[0]
    frames = stream.frames or sum(packet.size > 0 for packet in container.demux(stream))
    fps = float(stream.average_rate or 0)
    seconds = _seconds(stream.duration, stream.time_base)
    facts.update(
        frames=frames,
        fps=round(fps, 5),
        seconds=round(seconds, 4),
        width=stream.codec_context.width,
        height=stream.codec_context.height,
        codec=stream.codec_context.name,
    )
    found.warn_if(abs(fps - limits.fps) > limits.fps_slack, "fps", f"{fps:.4f} frames per second")
    off = seconds - frames / limits.fps
    found.warn_if(
        abs(off) > limits.duration_slack_s,
        "duration",
        f"{seconds:.2f} s, but {frames} frames at {limits.fps:g} fps are {frames / limits.fps:.2f} s",
    )
    _last_bytes(container, stream, path, found)


def _last_bytes(container: Any, stream: Any, path: Path, found: Findings) -> None:
    """The index may name bytes that a torn copy does not have: the last packet must lie inside the file."""
    if stream.duration:
        container.seek(stream.duration, stream=stream, backward=True)
    last = None
    for packet in container.demux(stream):
        if packet.size:
            last = packet
    size = path.stat().st_size
    if last is None:
        found.fail("last_frame", "no frame can be read at the end of the index")
    elif last.pos is not None and last.pos + last.size > size:
        found.fail("last_frame", f"the last frame ends at byte {last.pos + last.size} of {size}")
    elif last.pts is not None and stream.duration and last.is_corrupt:
        found.fail("last_frame", "the last frame is corrupt")


def _sound(container: Any, facts: dict[str, Any], found: Findings, limits: Limits) -> None:
    if not container.streams.audio:
        facts["audio"] = "absent"
        found.warn("audio", "no audio stream")
        return
    stream = container.streams.audio[0]
    seconds = _seconds(stream.duration, stream.time_base)
    facts["audio_seconds"] = round(seconds, 4)
    picture = container.streams.video[0] if container.streams.video else stream
    offset = _seconds(stream.start_time, stream.time_base) - _seconds(picture.start_time, picture.time_base)
    facts["audio_offset_s"] = round(offset, 4)
    found.warn_if(
        abs(offset) > limits.audio_slack_s, "audio_offset", f"sound starts {offset:+.3f} s after the picture"
    )
    difference = seconds - facts.get("seconds", seconds)
    found.warn_if(
        abs(difference) > limits.audio_slack_s,
        "audio_length",
        f"sound is {difference:+.2f} s longer than the picture",
    )
    try:
        peak = _peak(container, stream, seconds)
    except (av.FFmpegError, OSError, ValueError) as error:
        facts["audio"] = "unreadable"
        found.warn("audio", f"the sound cannot be decoded: {first_line(error)}")
        return
    facts["audio"] = "present" if peak > limits.silence else "silent"
    found.warn_if(peak <= limits.silence, "audio", f"the sound is silent (peak {peak:.1e})")


def _peak(container: Any, stream: Any, seconds: float) -> float:
    """The largest sample in a few places, full scale 1."""
    peak = 0.0
    for share in LISTEN_AT:
        container.seek(int(share * seconds / stream.time_base), stream=stream)
        heard = 0.0
        for frame in container.decode(stream):
            samples = frame.to_ndarray()
            scale = np.iinfo(samples.dtype).max if samples.dtype.kind in "iu" else 1.0
            peak = max(peak, float(np.abs(samples.astype(np.float64)).max(initial=0.0)) / scale)
            heard += frame.samples / frame.sample_rate
            if heard >= LISTEN_S:
                break
    return peak


def _seconds(ticks: int | None, base: Fraction | None) -> float:
    return float(ticks * base) if ticks is not None and base is not None else 0.0
