"""Action targets of one episode, frame by frame, and whether each frame really has one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.data.episode import Episode, invalid_rows
from pipeline.data.labels import FrameLabels
from pipeline.data.policy.kinds import (
    BODY,
    BODY_JOINTS,
    CONTACTS,
    HAND_JOINTS,
    HANDS,
    INDEX_TIP,
    THUMB_TIP,
    WRIST,
    Kind,
)
from pipeline.data.windows import majority
from pipeline.engine.errors import DamagedFileError, NotFoundError

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Motion:
    """What an episode's bodies do.

    Attributes:
        hands: (frames, 2, 21, 3) m; NaN where a hand is not seen.
        body: (frames, 52, 3) m; NaN where there is no valid pose.
        contact: (frames,) whether anything is touched; None where the episode does not say.
        labels: per frame.
        reasons: array -> why it is not there.
    """

    hands: NDArray[np.float64]
    body: NDArray[np.float64]
    contact: NDArray[np.bool_] | None
    labels: FrameLabels
    reasons: dict[str, str]

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.hands)


@dataclass(frozen=True, slots=True)
class Target:
    """The target of one window.

    Attributes:
        values: (steps, numbers); 0 where padded.
        is_pad: (steps,) steps that nothing was measured for, or beyond the episode's end.
        label: of a class; empty for numbers.
        names: of objects, for affordance.
    """

    values: Floats
    is_pad: NDArray[np.bool_]
    label: str = ""
    names: tuple[str, ...] = ()


def read_motion(episode: Episode, frames: int) -> Motion:
    """Everything a target may need, read once."""
    reasons: dict[str, str] = {}
    sides = [_joints(episode, name, HAND_JOINTS, frames, reasons) for name in HANDS]
    body = _joints(episode, BODY, BODY_JOINTS, frames, reasons)
    contact = episode.contact()
    if contact is None:
        reasons[CONTACTS] = "the episode has no contacts"
    return Motion(np.stack(sides, axis=1), body, contact, episode.labels(), reasons)


def target_of(motion: Motion, kind: Kind, first: int, last: int, steps: int) -> Target | str:
    """The target of the window `first` to `last` (both inside), or why there is none.

    Args:
        motion: of the episode.
        kind: of the target.
        first: observed frame.
        last: last one, inside.
        steps: frames of the target, from `last` + 1 on.
    """
    ahead = range(last + 1, last + 1 + steps)
    if kind == "action_class":
        return _class(motion.labels.action[first : last + 1])
    if kind == "next_subtask":
        return _class(motion.labels.subtask[ahead.start : ahead.stop])
    if kind == "object_affordance":
        return _affordance(motion, ahead)
    if kind == "contact_state":
        return _contact(motion, ahead)
    numbers = {"hand_trajectory": _hands, "body_motion": _body, "action_token": _wrist}[kind](motion, ahead)
    return _padded(numbers, f"nothing of {kind} was measured in the {steps} frames that follow")


def state_of(motion: Motion, frame: int) -> Floats:
    """Wrists and grips of both hands in one frame, 8 numbers; 0 where a hand is not seen."""
    hands = motion.hands[frame]
    grips = np.linalg.norm(hands[:, THUMB_TIP] - hands[:, INDEX_TIP], axis=1)
    return np.asarray(np.nan_to_num(np.concatenate([hands[:, WRIST].ravel(), grips])), np.float32)


def _joints(
    episode: Episode, name: str, count: int, frames: int, reasons: dict[str, str]
) -> NDArray[np.float64]:
    found = np.full((frames, count, 3), np.nan)
    try:
        values = episode.array(name)
    except (NotFoundError, DamagedFileError) as error:
        reasons[name] = str(error)
        return found
    if values.ndim < 2 or values[0].size != count * 3:
        reasons[name] = f"rows of {values[0].size if len(values) else 0} numbers, not {count * 3}"
        return found
    rows = min(frames, len(values))
    found[:rows] = values[:rows].reshape(rows, count, 3)
    found[:rows][invalid_rows(values[:rows])] = np.nan
    return found


def _hands(motion: Motion, ahead: range) -> NDArray[np.float64]:
    wrists = motion.hands[ahead.start - 1, :, WRIST][:, None]
    return np.asarray((_rows(motion.hands, ahead) - wrists).reshape(len(ahead), -1))


def _body(motion: Motion, ahead: range) -> NDArray[np.float64]:
    return np.asarray((_rows(motion.body, ahead) - motion.body[ahead.start - 1, 0]).reshape(len(ahead), -1))


def _wrist(motion: Motion, ahead: range) -> NDArray[np.float64]:
    right = _rows(motion.hands[:, 1], range(ahead.start - 1, ahead.stop))
    steps = np.diff(right[:, WRIST], axis=0)
    grips = np.linalg.norm(right[1:, THUMB_TIP] - right[1:, INDEX_TIP], axis=1)
    return np.concatenate([steps, grips[:, None]], axis=1)


def _rows(values: NDArray[np.float64], wanted: range) -> NDArray[np.float64]:
    """Rows, NaN beyond the end."""
    found = np.full((len(wanted), *values.shape[1:]), np.nan)
    part = values[wanted.start : wanted.stop]
    found[: len(part)] = part
    return found


def _padded(numbers: NDArray[np.float64], nothing: str) -> Target | str:
    pad: NDArray[np.bool_] = np.asarray(~np.isfinite(numbers).all(axis=1))
    if pad.all():
        return nothing
    return Target(np.where(pad[:, None], 0.0, numbers).astype(np.float32), pad)


def _class(labels: Sequence[str]) -> Target | str:
    label, _ = majority(labels)
    if not label:
        return "its frames have no majority label"
    return Target(np.zeros((1, 1), np.float32), np.zeros(1, np.bool_), label=label)


def _contact(motion: Motion, ahead: range) -> Target | str:
    if motion.contact is None:
        return "the episode has no contacts"
    part = motion.contact[ahead.start : ahead.stop]
    if not len(part):
        return "the episode ends with the observation"
    values = np.zeros((len(ahead), 1), np.float32)
    values[: len(part), 0] = part
    return Target(values, np.arange(len(ahead)) >= len(part))


def _affordance(motion: Motion, ahead: range) -> Target | str:
    if motion.contact is None:
        return "the episode has no contacts"
    stop = min(ahead.stop, motion.frames, len(motion.contact))
    touched = [frame for frame in range(ahead.start, stop) if motion.contact[frame]]
    names = sorted({name for frame in touched for name in motion.labels.objects[frame]})
    if not names:
        return "nothing that has a name is touched in the frames that follow"
    return Target(np.zeros((1, 1), np.float32), np.zeros(1, np.bool_), names=tuple(names))
