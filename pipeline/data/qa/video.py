"""Looking at one camera: is all of it there, do rate, duration and frames agree, is there sound and when."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import msgspec

from pipeline.data.audio import probe_audio
from pipeline.data.qa.record import Findings, Limits
from pipeline.data.status import first_line
from pipeline.data.video import BROKEN, VideoInfo, probe_video


def check_video(path: Path, limits: Limits, *, audio: bool = False) -> tuple[dict[str, Any], Findings]:
    """Facts and findings of a camera file; never raises for what the file is.

    Facts: those of `VideoInfo`, and where `audio` is asked for `audio` (its status), `audio_seconds` and
    `audio_offset_s` (how long after the picture the sound begins).
    """
    found = Findings(path.name)
    status, info = probe_video(path)
    if info is None:
        found.fail("mp4_opens", status.reason)
        return {}, found
    if not status.usable:
        found.fail("whole", status.reason)
    _check_times(info, found, limits)
    facts: dict[str, Any] = msgspec.to_builtins(info)
    if audio:
        facts |= _check_sound(path, info, found, limits)
    return facts, found


def _check_times(info: VideoInfo, found: Findings, limits: Limits) -> None:
    found.warn_if(abs(info.fps - limits.fps) > limits.fps_slack, "fps", f"{info.fps:.4f} frames per second")
    expected = info.frames / limits.fps
    found.warn_if(
        abs(info.seconds - expected) > limits.duration_slack_s,
        "duration",
        f"{info.seconds:.2f} s, but {info.frames} frames at {limits.fps:g} fps are {expected:.2f} s",
    )


def _check_sound(path: Path, info: VideoInfo, found: Findings, limits: Limits) -> dict[str, Any]:
    status = probe_audio(path)
    found.warn_if(not status.usable, "audio", f"{status.status}: {status.reason}")
    facts: dict[str, Any] = {"audio": status.status}
    if status.status == "absent":
        return facts
    try:
        with av.open(str(path)) as container:
            sound, picture = container.streams.audio[0], container.streams.video[0]
            seconds = _seconds(sound.duration, sound.time_base)
            offset = _seconds(sound.start_time, sound.time_base)
            offset -= _seconds(picture.start_time, picture.time_base)
    except BROKEN as error:
        found.warn("audio", f"its times cannot be read: {first_line(error)}")
        return facts
    longer = seconds - info.seconds
    slack = limits.audio_slack_s
    found.warn_if(abs(offset) > slack, "audio_offset", f"sound begins {offset:+.3f} s after the picture")
    found.warn_if(abs(longer) > slack, "audio_length", f"sound is {longer:+.2f} s longer than the picture")
    return {**facts, "audio_seconds": round(seconds, 4), "audio_offset_s": round(offset, 4)}


def _seconds(ticks: int | None, base: Fraction | None) -> float:
    return float(ticks * base) if ticks is not None and base is not None else 0.0
