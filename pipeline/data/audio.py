"""Sound of a camera: mono at 16 kHz as the models hear it, on the clock of the pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.data.status import PRESENT, StreamStatus, absent, first_line, silent, unreadable
from pipeline.data.video import BROKEN
from pipeline.engine.errors import DamagedFileError, NotFoundError

RATE = 16_000

#: Largest sample, full scale 1, of a track that counts as silent.
SILENCE = 1e-4

#: Where a track is listened to before all of it is, as shares of its length, and for how long in seconds.
LISTEN_AT = (0.05, 0.25, 0.5, 0.75, 0.95)
LISTEN_S = 0.5

#: Seconds decoded before a cut, so that the codec has settled.
_LEAD_S = 0.2


@dataclass(frozen=True, slots=True)
class Audio:
    """Samples of one channel.

    Attributes:
        samples: float32, full scale 1.
        rate: samples per second.
        start_s: time of the first sample; 0 is the first picture.
    """

    samples: NDArray[np.float32]
    rate: int
    start_s: float

    @property
    def seconds(self) -> float:
        """Length."""
        return len(self.samples) / self.rate

    @property
    def peak(self) -> float:
        """Largest sample."""
        return float(np.abs(self.samples).max(initial=0.0))

    def cut(self, start_s: float, seconds: float) -> Audio:
        """The part of a span that exists; shorter than asked where the sound is."""
        first = max(0, round((start_s - self.start_s) * self.rate))
        last = max(first, round((start_s + seconds - self.start_s) * self.rate))
        return Audio(self.samples[first:last], self.rate, self.start_s + first / self.rate)


def read_audio(path: Path, *, start_s: float = 0.0, seconds: float | None = None, rate: int = RATE) -> Audio:
    """Decode the first sound track to mono.

    Args:
        path: an MP4 or any other file with sound.
        start_s: where to begin, seconds after the first picture.
        seconds: how long; None to the end.
        rate: samples per second of the result.

    Raises:
        NotFoundError: the file is not there or has no sound track.
        DamagedFileError: the sound cannot be decoded.
    """
    if not path.is_file():
        raise NotFoundError(f"{path} does not exist")
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise NotFoundError(f"{path} has no sound track")
            end_s = None if seconds is None else start_s + seconds
            audio = _decode(container, start_s, end_s, rate)
    except BROKEN as error:
        raise DamagedFileError(f"the sound of {path} cannot be decoded: {first_line(error)}") from None
    length = audio.start_s + audio.seconds - start_s if seconds is None else seconds
    return audio.cut(start_s, length)


def probe_audio(path: Path) -> StreamStatus:
    """Whether a file has sound that can be heard; never raises for what the file is.

    Listens in a few places, and to all of it before it calls a track silent.
    """
    if not path.is_file():
        return absent("the file is not there")
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                return absent("the file has no sound track")
            stream = container.streams.audio[0]
            length = float((stream.duration or 0) * (stream.time_base or 0))
            for share in LISTEN_AT:
                start = share * length
                if _decode(container, start, start + LISTEN_S, RATE).peak > SILENCE:
                    return PRESENT
            peak = _decode(container, 0.0, None, RATE).peak
    except BROKEN as error:
        return unreadable(f"the sound cannot be decoded: {first_line(error)}")
    return PRESENT if peak > SILENCE else silent(f"no sample is above {SILENCE:g} (peak {peak:.1e})")


def _decode(container: Any, start_s: float, end_s: float | None, rate: int) -> Audio:
    """At least the span from `start_s` to `end_s`, as far as it exists."""
    stream = container.streams.audio[0]
    zero = _zero(container)
    container.seek(max(0, int((start_s + zero - _LEAD_S) / stream.time_base)), stream=stream)
    resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
    blocks: list[NDArray[np.float32]] = []
    begins: float | None = None
    for frame in _frames(container, stream, None if end_s is None else end_s + zero):
        if begins is None:
            begins = (float(frame.time) if frame.time is not None else 0.0) - zero
        blocks += [block.to_ndarray()[0] for block in resampler.resample(frame)]
    blocks += [block.to_ndarray()[0] for block in resampler.resample(None)] if blocks else []
    samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    return Audio(samples, rate, begins or 0.0)


def _frames(container: Any, stream: Any, end_s: float | None) -> Iterator[Any]:
    for frame in container.decode(stream):
        if end_s is not None and frame.time is not None and frame.time >= end_s:
            return
        yield frame


def _zero(container: Any) -> float:
    """Time of the first picture on the container's clock; 0 without pictures."""
    if not container.streams.video:
        return 0.0
    stream = container.streams.video[0]
    return float(stream.start_time * stream.time_base) if stream.start_time else 0.0
