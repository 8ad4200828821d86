"""Names that come from a listing: which are refused, which belong to an episode, where they go on disk.

A listing is foreign text. A name from it becomes a path on this machine, on the relay and on the training
host, and a line on a screen, so whatever could leave its root or confuse a terminal is refused with a
reason before anything else sees it.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pipeline.engine.errors import UsageError

#: The seven files of a complete episode, in the order the published selection lists them.
EPISODE_FILES = (
    "annotation.hdf5",
    "fisheye_cam0.mp4",
    "fisheye_cam1.mp4",
    "fisheye_cam2.mp4",
    "fisheye_cam3.mp4",
    "stereo_left.mp4",
    "stereo_right.mp4",
)
ANNOTATION = EPISODE_FILES[0]

#: Viewer files that never enter training data.
EXCLUDED_FILE = "visualization.rrd"

_EPISODE = re.compile(r"ep(\d{1,6})")


class EpisodePath(NamedTuple):
    """A repository path taken apart; `text` is the qualified id `<session>/ep<N>`."""

    session: str
    number: int
    name: str

    @property
    def text(self) -> str:
        """`<session>/ep<N>`."""
        return f"{self.session}/ep{self.number}"


def refusal(path: str) -> str | None:
    """Why `path` may not be used as a relative path, or None if it may."""
    parts = path.split("/")
    rules = (
        (not path, "empty"),
        (not path.isprintable(), "control characters"),
        ("\\" in path, "backslash"),
        (path.startswith("/"), "absolute"),
        (".." in parts, "leaves its root"),
        ("" in parts or "." in parts, "not in normal form"),
        (max(len(part) for part in parts) > 255 or len(path) > 1024, "too long"),
        (not path.isascii(), "characters outside ASCII"),
    )
    return next((reason for broken, reason in rules if broken), None)


def is_excluded(path: str) -> bool:
    """Whether `path` is a viewer file (`*.rrd`, any case), which must never be relayed."""
    return path.lower().endswith(".rrd")


def parse(path: str) -> EpisodePath | None:
    """`path` as a file of an episode, or None if it is something else (README, another depth)."""
    parts = path.split("/")
    if len(parts) != 3:
        return None
    number = _EPISODE.fullmatch(parts[1])
    if not number or parts[1] != f"ep{int(number[1])}":
        return None
    return EpisodePath(parts[0], int(number[1]), parts[2])


def is_episode(path: str) -> bool:
    """Whether `path` is a safe `<session>/ep<N>`."""
    return refusal(path) is None and parse(f"{path}/x") is not None


def place(root: Path, path: str) -> Path:
    """Where repository path `path` lies below `root`.

    Raises:
        UsageError: the name is refused, or an existing symbolic link on the way leads out of `root`.
    """
    reason = refusal(path)
    if reason:
        raise UsageError(f"{path!r} cannot be a file below {root}: {reason}")
    target = root / PurePosixPath(path)
    if not target.resolve().is_relative_to(root.resolve()):
        raise UsageError(f"{path!r} leads out of {root} through a symbolic link", hint=f"look at {target}")
    return target
