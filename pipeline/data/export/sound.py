"""Sound of windows: WAV files of their contexts, and 24 numbers per frame for the feature vector.

The published feature has 8 + 16 channels per frame; their inner order is not established. Ours: effective
value, peak, mean absolute value, share of sign changes, centre and width of the spectrum and its 85 %
roll-off as shares of 8 kHz, log10 of the power; then log10 of the power in 16 mel bands.
"""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.data.audio import Audio
from pipeline.data.export.features import Signal

BANDS, CHANNELS = 16, 24

#: Power below which everything is silence, so that its logarithm is finite.
_FLOOR = 1e-10

_ROLL_OFF = 0.85


def write_wav(path: Path, audio: Audio) -> int:
    """16-bit mono; returns the number of samples."""
    samples = (np.clip(audio.samples, -1, 1) * 32_767).round().astype("<i2")
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(audio.rate)
        file.writeframes(samples.tobytes())
    return len(samples)


def audio_signal(audio: Audio, frames: int, fps: float) -> Signal:
    """(frames, 24) of the sound during each frame; NaN for frames after its end."""
    length = round(audio.rate / fps)
    starts = np.round((np.arange(frames) / fps - audio.start_s) * audio.rate).astype(int)
    heard = (starts >= 0) & (starts + length <= len(audio.samples))
    values = np.full((frames, CHANNELS), np.nan)
    for part in np.array_split(np.flatnonzero(heard), max(1, frames // 500)):
        if len(part):
            values[part] = sound_channels(
                audio.samples[starts[part][:, None] + np.arange(length)], audio.rate
            )
    return Signal(values)


def sound_channels(samples: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    """(frames, 24) of (frames, samples) at `rate` per second."""
    samples = samples.astype(np.float64)
    magnitude = np.abs(samples)
    changes = (np.diff(np.signbit(samples), axis=1) != 0).mean(axis=1)
    power = np.abs(np.fft.rfft(samples * np.hanning(samples.shape[1]), axis=1)) ** 2
    frequency = np.linspace(0, 1, power.shape[1])
    total = power.sum(axis=1)
    share = power / np.maximum(total, _FLOOR)[:, None]
    centre = share @ frequency
    width = np.sqrt(np.maximum(share @ frequency**2 - centre**2, 0))
    roll_off = frequency[np.argmax(np.cumsum(share, axis=1) >= _ROLL_OFF * share.sum(1)[:, None], axis=1)]
    mean_power = (samples**2).mean(axis=1)
    parts = [np.sqrt(mean_power), magnitude.max(1), magnitude.mean(1), changes, centre, width, roll_off]
    bands = np.log10(power @ _mel_bands(power.shape[1], rate) + _FLOOR)
    return np.column_stack([*parts, np.log10(mean_power + _FLOOR), bands])


def _mel_bands(bins: int, rate: int) -> NDArray[np.float64]:
    """Which of 16 bands, equally wide in mel, each bin of a spectrum belongs to: (bins, 16)."""
    mel = 2595 * np.log10(1 + np.linspace(0, rate / 2, bins) / 700)
    band = np.minimum((mel / mel[-1] * BANDS).astype(int), BANDS - 1)
    belongs: NDArray[np.float64] = np.eye(BANDS)[band]
    return belongs
