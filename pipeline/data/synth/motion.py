"""The numbers of a generated episode: clocks, head, hands, body, inertial samples and depth.

All of it tells one story. The right hand moves along the action's path, in the camera's frame; the body's
wrist is the same point in the world; the camera is at the head; the accelerometer feels what is touched.
Units: metres, seconds, ns of device time, m/s^2, rad/s. Quaternions are w first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.data.layout import FPS
from pipeline.data.synth.looks import PERIOD, VIBRATION_HZ, path
from pipeline.data.synth.script import Script
from pipeline.data.synth.vocabulary import Vocabulary

Floats = NDArray[np.float64]

#: Device time between two frames and two inertial samples, and how far a frame may be off, ns.
FRAME_NS, IMU_NS, JITTER_NS = 50_000_000, 5_000_000, 200_000

#: The first inertial sample is this much later than the first frame, ns.
IMU_OFFSET_NS = 3_000_000

#: Body (x forward, y left, z up) -> camera (x right, y down, z forward), which sits beside the body's origin.
T_C0_B = np.array([[0, -1, 0, 0.03], [0, 0, -1, 0.01], [1, 0, 0, -0.08], [0, 0, 0, 1]], np.float64)

GRAVITY = 9.81

#: Joints of the body: left and right wrist of the 52, and their columns among the 21 with contacts.
LEFT_WRIST, RIGHT_WRIST = 20, 21
LEFT_CONTACT, RIGHT_CONTACT = 19, 20

#: Frames in which the left hand is out of sight, as NaN and as zeros; only in episodes long enough.
_UNSEEN, _UNSEEN_FROM = 5, 100


@dataclass(frozen=True, slots=True)
class Motion:
    """Everything that moves; N frames, M inertial samples.

    Attributes:
        clock: (N,) device time of the frames, ns.
        imu_clock: (M,) device time of the samples, ns.
        keyframes: (N,) nearest sample of each frame.
        accel, gyro: (M, 3).
        quaternion, translation: (N, 4), (N, 3) world -> body.
        head: (N, 3) the head in the world; `turn` its yaw, rad.
        right_hand, left_hand: (N, 21, 3) joints in the camera's frame.
        body: (N, 52, 3) joints in the world.
        contacts: (N, 21) 1 where a joint touches something.
    """

    clock: NDArray[np.int64]
    imu_clock: NDArray[np.int64]
    keyframes: NDArray[np.int64]
    accel: Floats
    gyro: Floats
    quaternion: Floats
    translation: Floats
    head: Floats
    turn: Floats
    right_hand: Floats
    left_hand: Floats
    body: Floats
    contacts: Floats


def make_motion(script: Script, vocabulary: Vocabulary, random: np.random.Generator) -> Motion:
    """The motion of a script."""
    frames = script.frames
    start = 80_000_000_000_000 + int(random.integers(0, 2_000_000_000_000))
    clock = start + FRAME_NS * np.arange(frames) + random.integers(-JITTER_NS, JITTER_NS, frames)
    imu_clock = start + IMU_OFFSET_NS + IMU_NS * np.arange(max(1, 10 * frames - 10))
    keyframes = np.clip(np.rint((clock - imu_clock[0]) / IMU_NS), 0, len(imu_clock) - 1).astype(np.int64)
    sway = _sway(script, vocabulary)
    head, turn = _head(np.arange(frames) / FPS, sway)
    quaternion, translation = _world_to_body(head, turn)
    right, left = _hands(script, vocabulary, random)
    accel, gyro = _inertia(script, sway, imu_clock - clock[0], random)
    contacts = np.zeros((frames, 21))
    contacts[script.contact, RIGHT_CONTACT] = 1
    return Motion(
        clock=clock,
        imu_clock=imu_clock,
        keyframes=keyframes,
        accel=accel,
        gyro=gyro,
        quaternion=quaternion,
        translation=translation,
        head=head,
        turn=turn,
        right_hand=right,
        left_hand=_unseen(left),
        body=_body(head, turn, right[:, 0], left[:, 0]),
        contacts=contacts,
    )


def _sway(script: Script, vocabulary: Vocabulary) -> Floats:
    """How fast the head sways in each frame, Hz: a subtask's own rate."""
    count = max(1, len(vocabulary.subtasks) - 1)
    return np.array([0.4 + 1.6 * vocabulary.subtasks[label] / count for label in script.subtask])


def _head(seconds: Floats, sway: Floats) -> tuple[Floats, Floats]:
    """Where the head is, on a slow walk around the room, and where it looks."""
    phase = 2 * np.pi * np.cumsum(sway) / FPS
    walk = 2 * np.pi * seconds / 40
    place = np.stack([0.8 * np.sin(walk), 0.5 * np.cos(walk), 1.6 + 0.01 * np.sin(phase)], axis=1)
    return place, 0.4 * np.sin(walk) + 0.05 * np.sin(phase)


def _world_to_body(head: Floats, turn: Floats) -> tuple[Floats, Floats]:
    quaternion = np.stack([np.cos(turn / 2), 0 * turn, 0 * turn, -np.sin(turn / 2)], axis=1)
    cosine, sine = np.cos(turn), np.sin(turn)
    x, y, z = head.T
    return quaternion, -np.stack([cosine * x + sine * y, cosine * y - sine * x, z], axis=1)


def _hands(script: Script, vocabulary: Vocabulary, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Joints of the right hand, which follows the action, and of the left one, which shows the subtask."""
    place = np.concatenate(
        [path(vocabulary.actions[run.action.label], np.arange(run.start, run.end + 1)) for run in script.runs]
    )
    touching = script.contact.astype(np.float64)
    right = np.stack([0.2 * place[:, 0], 0.1 + 0.15 * place[:, 1], 0.6 - 0.08 * touching], axis=1)
    count = max(1, len(vocabulary.subtasks) - 1)
    height = np.array([0.3 * vocabulary.subtasks[label] / count for label in script.subtask])
    left = np.stack([np.full(script.frames, -0.25), 0.3 - height, np.full(script.frames, 0.55)], axis=1)
    spread = 1 - 0.5 * touching
    return _fingers(right, spread, random), _fingers(left, spread, random)


def _fingers(wrist: Floats, spread: Floats, random: np.random.Generator) -> Floats:
    """21 joints: the wrist and four joints of five fingers, closer together the less `spread` they are."""
    angles = np.linspace(-0.6, 0.6, 5)
    reach = 0.04 + 0.022 * np.arange(4)
    offsets = np.zeros((21, 3))
    offsets[1:, 0] = (np.sin(angles)[:, None] * reach).ravel()
    offsets[1:, 1] = (-np.cos(angles)[:, None] * reach).ravel()
    joints: Floats = wrist[:, None] + offsets * spread[:, None, None]
    return joints + random.normal(scale=1e-3, size=joints.shape)


def _unseen(hand: Floats) -> Floats:
    """A hand that leaves the picture for a moment: once as NaN, once as zeros, as real files have it."""
    if len(hand) >= _UNSEEN_FROM:
        third = len(hand) // 3
        hand = hand.copy()
        hand[third : third + _UNSEEN] = np.nan
        hand[2 * third : 2 * third + _UNSEEN] = 0
    return hand


def _body(head: Floats, turn: Floats, right_wrist: Floats, left_wrist: Floats) -> Floats:
    """52 joints in the world: a standing figure whose wrists are the hands'."""
    figure = np.zeros((52, 3))
    figure[:22, 2] = np.linspace(-0.7, 0, 22)
    figure[:22, 1] = 0.15 * np.sin(np.arange(22))
    body = head[:, None] + figure
    for joint, wrist, first in ((LEFT_WRIST, left_wrist, 22), (RIGHT_WRIST, right_wrist, 37)):
        body[:, joint] = camera_to_world(wrist, head, turn)
        body[:, first : first + 15] = body[:, joint, None] + 0.01 * np.arange(1, 16)[:, None]
    return body


def camera_to_world(points: Floats, head: Floats, turn: Floats) -> Floats:
    """Points (N, 3) of the camera's frame in the world."""
    in_body = (points - T_C0_B[:3, 3]) @ T_C0_B[:3, :3]
    cosine, sine = np.cos(turn), np.sin(turn)
    x, y, z = in_body.T
    turned: Floats = np.stack([cosine * x - sine * y, sine * x + cosine * y, z], axis=1)
    return head + turned


def _inertia(
    script: Script, sway: Floats, elapsed_ns: NDArray[np.int64], random: np.random.Generator
) -> tuple[Floats, Floats]:
    """Gravity, the sway of the head, a vibration while something is touched, and noise."""
    seconds = elapsed_ns / 1e9
    frame = np.clip((seconds * FPS).astype(np.int64), 0, script.frames - 1)
    rate = sway[frame]
    phase = 2 * np.pi * np.cumsum(rate) * IMU_NS / 1e9
    accel = random.normal(scale=0.05, size=(len(seconds), 3))
    accel[:, 2] += GRAVITY + 0.01 * (2 * np.pi * rate) ** 2 * np.sin(phase)
    accel[:, 0] += 1.5 * script.contact[frame] * np.sin(2 * np.pi * VIBRATION_HZ * seconds)
    gyro = random.normal(scale=0.005, size=(len(seconds), 3))
    gyro[:, 2] += 0.05 * 2 * np.pi * rate * np.cos(phase)
    gyro[:, 1] += 0.1 * np.cos(2 * np.pi * seconds * FPS / PERIOD)
    return accel, gyro
