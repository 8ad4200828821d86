"""What happens in one generated episode, frame by frame: the truth that everything else shows."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.data.synth.vocabulary import ActionSpec, SubtaskSpec, TaskSpec

#: Frames between two sampled pictures of the real captions, and of their segments.
SAMPLE_FRAMES = 40
SEGMENT_FRAMES = 400

#: How often the usual order of actions is left.
_JUMP = 0.15

#: How often an action ends a frame early or late.
_OFF_BY_ONE = 0.2


@dataclass(frozen=True, slots=True)
class Run:
    """One action from `start` to `end`, both inside.

    `touched` is the middle of it for actions with contact, as (first, last) frame; None for the others.
    """

    start: int
    end: int
    subtask: SubtaskSpec
    action: ActionSpec
    touched: tuple[int, int] | None

    @property
    def interaction(self) -> str:
        """A sentence on it."""
        return f"The hands are busy: {self.action.label} ({', '.join(self.action.objects)})."


@dataclass(frozen=True, slots=True)
class Script:
    """An episode's runs, without gaps from the first frame to the last."""

    frames: int
    task: TaskSpec
    runs: tuple[Run, ...]

    @property
    def action(self) -> list[str]:
        """Action of every frame."""
        return [run.action.label for run in self._each()]

    @property
    def subtask(self) -> list[str]:
        """Subtask of every frame."""
        return [run.subtask.label for run in self._each()]

    @property
    def objects(self) -> list[tuple[str, ...]]:
        """Objects seen in every frame."""
        return [run.action.objects for run in self._each()]

    @property
    def contact(self) -> NDArray[np.bool_]:
        """Whether the hand touches something, per frame."""
        values = np.zeros(self.frames, np.bool_)
        for run in self.runs:
            if run.touched:
                values[run.touched[0] : run.touched[1] + 1] = True
        return values

    def segments(self) -> Iterator[list[Run]]:
        """Runs of one subtask that follow each other; a segment ends before it gets too long."""
        segment: list[Run] = []
        for run in self.runs:
            fits = segment and run.subtask is segment[0].subtask
            if segment and not (fits and run.end - segment[0].start < SEGMENT_FRAMES):
                yield segment
                segment = []
            segment.append(run)
        if segment:
            yield segment

    def _each(self) -> Iterator[Run]:
        for run in self.runs:
            for _ in range(run.start, run.end + 1):
                yield run


def write_script(frames: int, task: TaskSpec, pick: random.Random) -> Script:
    """A script of `frames` frames: the task's actions in their usual order from a random one on, with jumps.

    Actions last one to four units: 40 frames, as in the real captions, or less in short episodes.
    """
    unit = max(5, min(SAMPLE_FRAMES, frames // 10))
    steps = task.steps
    step = pick.randrange(len(steps))
    runs: list[Run] = []
    start = 0
    while start < frames:
        length = unit * pick.choices((1, 2, 3, 4), (7, 7, 4, 2))[0]
        if pick.random() < _OFF_BY_ONE:
            length += pick.choice((-1, 1))
        end = min(frames, start + length) - 1
        subtask, action = steps[step]
        runs.append(Run(start, end, subtask, action, _touched(action, start, end)))
        start = end + 1
        jump = pick.random() < _JUMP and len(steps) > 1
        step = (step + (pick.randrange(1, len(steps)) if jump else 1)) % len(steps)
    return Script(frames, task, tuple(runs))


def _touched(action: ActionSpec, start: int, end: int) -> tuple[int, int] | None:
    if not action.contact:
        return None
    edge = (end - start + 1) // 8
    return start + edge, end - edge
