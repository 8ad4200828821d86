"""The media of one row, read from disk: clip, sound and sensor features.

A row without a clip or sound has None there, and its prompt then has no such part; a file that the row names
but that is gone or damaged is an error of that sample.
"""

from __future__ import annotations

import wave
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from msgspec import Struct
from numpy.typing import NDArray

from pipeline.data.layout import FPS
from pipeline.data.video import BROKEN
from pipeline.engine.errors import StageFailedError

#: Sound is exported as mono at this rate, Hz.
RATE = 16_000


class Media(Struct, frozen=True):
    """What one sample looks, sounds and feels like.

    Attributes:
        frames: (pictures, 3, height, width), uint8; None without a clip.
        frames_per_s: at which the pictures were taken from the episode, for the model's sense of time.
        sound: float32 in -1..1 at `RATE`; None without sound.
    """

    frames: torch.Tensor | None
    frames_per_s: float
    sound: NDArray[np.float32] | None


def read_media(row: Mapping[str, Any], root: Path) -> Media:
    """Read clip and sound of a row.

    Args:
        row: of `dataset.jsonl`.
        root: folder its paths are relative to.

    Raises:
        StageFailedError: a file that the row names cannot be read.
    """
    media = row["media"]
    frames = _frames(_inside(root, media["mosaic_video_path"])) if media.get("mosaic_video_path") else None
    seconds = (media["context_end_frame"] - media["context_start_frame"] + 1) / FPS
    rate = len(frames) / seconds if frames is not None else 1.0
    sound = _sound(_inside(root, media["audio_path"])) if media.get("audio_path") else None
    return Media(frames, rate, sound)


def _inside(root: Path, name: str) -> Path:
    """A path of a row, which must stay below the dataset."""
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        raise StageFailedError(f"{name!r} leaves the dataset {root}", hint="export again")
    return path


def _frames(path: Path) -> torch.Tensor:
    try:
        with av.open(str(path)) as container:
            pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    except BROKEN as error:
        raise StageFailedError(f"{path}: the clip cannot be read: {error}", hint="export again") from None
    if not pictures:
        raise StageFailedError(f"{path}: the clip has no picture", hint="export again")
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()


def _sound(path: Path) -> NDArray[np.float32]:
    try:
        with wave.open(str(path), "rb") as file:
            if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (RATE, 1, 2):
                raise StageFailedError(f"{path}: not 16 kHz mono of 16 bits", hint="export again")
            data = file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise StageFailedError(f"{path}: the sound cannot be read: {error}", hint="export again") from None
    return np.frombuffer(data, "<i2").astype(np.float32) / 32768.0
