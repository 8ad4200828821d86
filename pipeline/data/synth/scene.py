"""The pictures of a script, camera by camera."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.data.synth.looks import SLOTS, Sprite, background, colour, hand_sprite, path, shape_sprite
from pipeline.data.synth.script import Run, Script
from pipeline.data.synth.vocabulary import Vocabulary

#: Where each camera sees the middle of the scene, as shares of the picture; the last two are the stereo pair.
_MIDDLES = ((0.5, 0.55), (0.42, 0.55), (0.58, 0.55), (0.5, 0.5), (0.53, 0.55), (0.47, 0.55))

#: Reach of the paths, size of shapes, of the hand and of objects, as shares of the picture.
_REACH, _SHAPE, _HAND, _OBJECT = 0.26, 0.24, 0.1, 0.07

#: How far the room's light may be from white, as a share per colour.
_LIGHT = 0.15

#: How far above the shape the hand is while it touches nothing.
_ABOVE = 0.2


class Scene:
    """Draws the frames of one script.

    Args:
        script: what happens.
        vocabulary: that its labels are from.
        size: width and height in pixels.
        seed: of the room's light, which no two episodes share: no clip of one is a clip of another.
    """

    def __init__(self, script: Script, vocabulary: Vocabulary, size: int, seed: int = 0) -> None:
        self.script = script
        self.vocabulary = vocabulary
        self.size = size
        self._contact = script.contact
        self._light = 1 + _LIGHT * np.random.default_rng(seed).uniform(-1, 1, size=3)
        self._hand = hand_sprite(max(3, round(_HAND * size)))

    def frames(self, view: int, extra: int = 0) -> Iterator[NDArray[np.uint8]]:
        """The pictures of camera `view` (0 to 5), size x size x RGB, then `extra` repeats of the last one."""
        picture = np.zeros((self.size, self.size, 3), np.uint8)
        for run in self.script.runs:
            room = self._room(run, view)
            shape = shape_sprite(self.vocabulary.actions[run.action.label], round(_SHAPE * self.size))
            for frame, place in enumerate(self._places(run), run.start):
                picture = room.copy()
                across, down = np.array(_MIDDLES[view]) + _REACH * place
                _paste(picture, shape, across, down)
                _paste(picture, self._hand, across, down if self._contact[frame] else down - _ABOVE)
                yield picture
        for _ in range(extra):
            yield picture

    def _places(self, run: Run) -> NDArray[np.float64]:
        return path(self.vocabulary.actions[run.action.label], np.arange(run.start, run.end + 1))

    def _room(self, run: Run, view: int) -> NDArray[np.uint8]:
        """Everything that does not move during a run."""
        plain = background(self.vocabulary.subtasks[run.subtask.label], self.size, view)
        picture = np.clip(plain * self._light, 0, 255).astype(np.uint8)
        side = max(2, round(_OBJECT * self.size))
        for name in run.action.objects:
            number = self.vocabulary.objects[name]
            slot, row = number % SLOTS, number // SLOTS
            square = Sprite(np.ones((side, side), np.bool_), colour(number + 3))
            _paste(picture, square, (slot + 0.5) / SLOTS, 0.04 + 0.08 * row)
        return picture


def _paste(picture: NDArray[np.uint8], sprite: Sprite, across: float, down: float) -> None:
    """Draw a sprite with its middle at these shares of the picture, moved inside if it would stick out."""
    side = len(sprite.mask)
    left, top = (
        int(min(max(round(share * len(picture) - side / 2), 0), len(picture) - side))
        for share in (across, down)
    )
    picture[top : top + side, left : left + side][sprite.mask] = sprite.colour
