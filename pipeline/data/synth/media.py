"""The six MP4s of a generated episode: H.264 pictures, and one AAC track copied into all of them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.data.layout import FPS, VIDEOS
from pipeline.data.synth.looks import RATTLE_HZ, hum, tone
from pipeline.data.synth.scene import Scene
from pipeline.data.synth.script import Script
from pipeline.data.synth.vocabulary import Vocabulary

#: Sound as cameras store it; models hear 16 kHz mono.
AUDIO_RATE = 48_000
_LAYOUT = "stereo"

#: One thread and fixed settings make the bytes the same every time.
_CODEC = {"preset": "ultrafast", "crf": "20", "threads": "1", "g": "40"}

#: Frames whose sound is made at once, and the times of the samples of one frame, s.
_BLOCK_FRAMES = 400
_TIMES = np.arange(round(AUDIO_RATE / FPS))[None] / AUDIO_RATE

_TONE, _HUM, _RATTLE, _NOISE = 0.25, 0.12, 0.2, 0.004


def write_videos(folder: Path, scene: Scene, sound: bytes | None, *, extra_frames: int = 0) -> None:
    """Write the six videos; `sound` is an encoded track from `encode_sound`, or None for none."""
    for view, name in enumerate(VIDEOS):
        write_video(folder / name, scene.frames(view, extra_frames), scene.size, sound)


def write_video(
    path: Path, pictures: Iterable[NDArray[np.uint8]], size: int, sound: bytes | None, *, options: Any = None
) -> None:
    """Write one video of size x size RGB pictures at 20 fps, sound and pictures interleaved by the second.

    Args:
        path: the file to write.
        pictures: frames in order.
        size: width and height; even.
        sound: an encoded track, or None.
        options: of the container, such as `{"movflags": "faststart"}`.
    """
    source = av.open(io.BytesIO(sound)) if sound else None
    try:
        with av.open(str(path), "w", options=options or {}) as target:
            stream = target.add_stream("libx264", rate=round(FPS), options=_CODEC)
            stream.width = stream.height = size
            stream.pix_fmt = "yuv420p"
            packets = _copied(source, target) if source else iter(())
            held = next(packets, None)
            for index, picture in enumerate(pictures):
                while held is not None and held.pts * held.time_base <= index / FPS:
                    target.mux(held)
                    held = next(packets, None)
                target.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            target.mux(stream.encode(None))
            while held is not None:
                target.mux(held)
                held = next(packets, None)
    finally:
        if source:
            source.close()


def _copied(source: Any, target: Any) -> Iterator[Any]:
    """The packets of a track, made into a track of `target`."""
    stream = target.add_stream_from_template(source.streams.audio[0])

    def packets() -> Iterator[Any]:
        for packet in source.demux(source.streams.audio[0]):
            if packet.size:
                packet.stream = stream
                yield packet

    return packets()


def encode_sound(samples: NDArray[np.float32]) -> bytes:
    """An MP4 with only an AAC track of these samples, at `AUDIO_RATE`, the same in both channels."""
    buffer = io.BytesIO()
    both = np.repeat(samples[None], 2, axis=0)
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=AUDIO_RATE, layout=_LAYOUT)
        for start in range(0, both.shape[1], 1024):
            block = np.ascontiguousarray(both[:, start : start + 1024])
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=_LAYOUT)
            frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE, start, Fraction(1, AUDIO_RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def sound_of(script: Script, vocabulary: Vocabulary, seed: int) -> NDArray[np.float32]:
    """The sound of a script: per action a tone, per subtask a hum, a rattle while something is touched."""
    actions, subtasks = vocabulary.actions, vocabulary.subtasks
    tones = np.array([tone(actions[label], len(actions)) for label in script.action])
    hums = np.array([hum(subtasks[label], len(subtasks)) for label in script.subtask])
    voices = [(_TONE, tones, _start_phases(tones)), (_HUM, hums, _start_phases(hums))]
    random = np.random.default_rng(seed)
    blocks = []
    for first in range(0, script.frames, _BLOCK_FRAMES):
        frames = slice(first, first + _BLOCK_FRAMES)
        times = np.arange(first, min(first + _BLOCK_FRAMES, script.frames))[:, None] / FPS + _TIMES
        rattle = (np.sin(2 * np.pi * RATTLE_HZ * times) > 0.6) & script.contact[frames, None]
        block = random.normal(size=times.shape) * (_NOISE + _RATTLE / 3 * rattle)
        for loudness, hertz, phases in voices:
            block += loudness * np.sin(phases[frames, None] + 2 * np.pi * hertz[frames, None] * _TIMES)
        blocks.append(np.clip(block, -1, 1).astype(np.float32).ravel())
    return np.concatenate(blocks)


def _start_phases(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Phase at the start of each frame of a voice whose frequency changes by frames, without clicks."""
    steps = 2 * np.pi * hertz / FPS
    phases: NDArray[np.float64] = np.cumsum(steps) - steps
    return phases
