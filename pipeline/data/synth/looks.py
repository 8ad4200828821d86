"""How labels look, sound and move: one number in, one appearance out, the same in every episode.

An action is a coloured shape that moves along a path, the right hand that follows it, and a tone. A subtask
is the background, the left hand's height, the head's sway and a hum. An object is a small square in a place
of its own. Contact is the hand on the shape instead of above it, fingers drawn together, a rattle in the
sound and a vibration in the accelerometer.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Colour = tuple[int, int, int]

#: Frames of one round of every path: one second, which a window of 20 frames shows as a whole.
PERIOD = 20

#: Range of the tones of actions and of the hums of subtasks, Hz; all below the 8 kHz that models hear.
TONES = (400.0, 6000.0)
HUMS = (70.0, 200.0)

#: Rate of the rattle in the sound and of the vibration in the accelerometer while something is touched, Hz.
RATTLE_HZ = 12.0
VIBRATION_HZ = 35.0

#: Small places for objects along the upper edge.
SLOTS = 12


def colour(number: int, *, value: float = 0.95) -> Colour:
    """A saturated colour far from those of neighbouring numbers."""
    red, green, blue = colorsys.hsv_to_rgb((number * 0.618034) % 1.0, 0.85, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _spread(number: int, count: int, low: float, high: float) -> float:
    """Geometric steps from low to high."""
    return float(low * (high / low) ** (number / max(1, count - 1)))


def tone(action: int, count: int) -> float:
    """Frequency of an action among `count`, Hz."""
    return _spread(action, count, *TONES)


def hum(subtask: int, count: int) -> float:
    """Frequency of a subtask among `count`, Hz."""
    return _spread(subtask, count, *HUMS)


_PATHS: tuple[Callable[[Floats], tuple[Floats, Floats]], ...] = (
    lambda a: (np.cos(a), np.sin(a)),
    lambda a: (np.sin(a), 0 * a),
    lambda a: (0 * a, np.sin(a)),
    lambda a: (np.sin(a), np.sin(a)),
    lambda a: (np.sin(a), np.sin(2 * a)),
    lambda a: (np.cos(3 * a), 0.5 * np.sin(a)),
    lambda a: (-np.sin(a), np.sin(a)),
)


def path(action: int, frames: NDArray[np.int64]) -> Floats:
    """Place of an action's shape at these frames, (n, 2), right and down from the middle, within -1 ... 1."""
    angle = 2 * np.pi * frames / PERIOD
    return np.stack(_PATHS[action % len(_PATHS)](angle), axis=1)


_SHAPES: tuple[Callable[[Floats, Floats], NDArray[np.bool_]], ...] = (
    lambda x, y: x * x + y * y <= 1,
    lambda x, y: np.maximum(abs(x), abs(y)) <= 0.9,
    lambda x, y: (y <= 0.9) & (y >= 2 * abs(x) - 0.9),
    lambda x, y: (x * x + y * y <= 1) & (x * x + y * y >= 0.3),
    lambda x, y: (np.minimum(abs(x), abs(y)) <= 0.35) & (np.maximum(abs(x), abs(y)) <= 1),
    lambda x, y: abs(x) + abs(y) <= 1,
)


@dataclass(frozen=True, slots=True)
class Sprite:
    """A small picture: where it covers (square of pixels), and its colour."""

    mask: NDArray[np.bool_]
    colour: Colour


def shape_sprite(action: int, side: int) -> Sprite:
    """The shape of an action, `side` pixels wide."""
    return Sprite(_mask(_SHAPES[action % len(_SHAPES)], side), colour(action))


def hand_sprite(side: int) -> Sprite:
    """The hand."""
    return Sprite(_mask(_SHAPES[0], side), (255, 255, 255))


def _mask(inside: Callable[[Floats, Floats], NDArray[np.bool_]], side: int) -> NDArray[np.bool_]:
    line = (np.arange(side) + 0.5) / side * 2 - 1
    return inside(*np.meshgrid(line, line))


def background(subtask: int, size: int, view: int) -> NDArray[np.uint8]:
    """The room of a subtask as camera `view` sees it: a dark colour with stripes, brighter per camera."""
    base = np.array(colour(subtask + 5, value=0.28 + 0.02 * view))
    line = np.arange(size)
    slant = (line[None] * (subtask % 3) + line[:, None] * ((subtask // 3) % 3)) // max(2, size // 16)
    striped = base * (1 + 0.35 * (slant % 2))[..., None]
    room: NDArray[np.uint8] = np.clip(striped, 0, 255).astype(np.uint8)
    return room
