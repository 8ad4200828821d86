"""One picture of a clip and the outline of a sound, as small numbers: what a terminal can draw.

    python -m pipeline.data.glimpse COLUMNS ROWS [--clip FILE] [--sound FILE]

A program of its own, so that a console never loads the libraries that decode video. Prints one line of JSON:
`grey`, rows of levels 0 to 255 of the clip's middle picture, and `sound`, peaks 0 to 255 from left to right.
"""

from __future__ import annotations

import argparse
import json
import sys
import wave
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np

from pipeline.data.video import BROKEN


def picture(clip: Path, columns: int, rows: int) -> list[list[int]]:
    """The middle picture, averaged to so many cells."""
    with av.open(str(clip)) as container:
        frames = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    middle = frames[len(frames) // 2].astype(np.float64)
    down, across = _cells(middle.shape[0], rows), _cells(middle.shape[1], columns)
    return [[int(middle[y, x].mean()) for x in across] for y in down]


def _cells(pixels: int, count: int) -> list[slice]:
    """The pixels of each cell; where there are fewer pixels than cells, one pixel fills several."""
    starts = [cell * pixels // count for cell in range(count + 1)]
    return [slice(first, max(first + 1, last)) for first, last in pairwise(starts)]


def outline(sound: Path, columns: int) -> list[int]:
    """The loudest sample of each stretch."""
    with wave.open(str(sound), "rb") as file:
        samples = np.abs(np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.int32))
    return [int(part.max() * 255 // 32768) if len(part) else 0 for part in np.array_split(samples, columns)]


def main(arguments: list[str]) -> int:
    """Print what could be read; problems are told in the line itself."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.data.glimpse", description=main.__doc__)
    parser.add_argument("columns", type=int)
    parser.add_argument("rows", type=int)
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--sound", type=Path)
    options = parser.parse_args(arguments)
    told: dict[str, Any] = {"grey": [], "sound": [], "problem": ""}
    columns, rows = min(max(options.columns, 1), 400), min(max(options.rows, 1), 200)
    try:
        if options.clip:
            told["grey"] = picture(options.clip, columns, rows)
        if options.sound:
            told["sound"] = outline(options.sound, columns)
    except (*BROKEN, EOFError, wave.Error) as error:
        told["problem"] = str(error)
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
