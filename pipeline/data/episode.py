"""One episode: its annotation and its six cameras behind one lazy reader.

Opening reads nothing but the annotation's header. Whatever is missing or broken has a status with a reason in
`Episode.streams`; reading what is not usable raises an error that names file and array, and nothing is ever
filled with zeros.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.annotation import Annotation
from pipeline.data.audio import Audio, probe_audio, read_audio
from pipeline.data.captions import Caption, caption_json, parse_caption
from pipeline.data.frames import CurrentResolver, FrameTable, OlderResolver, Resolver, ResolverName
from pipeline.data.labels import FrameLabels, propagate
from pipeline.data.layout import ANNOTATION, FPS, MAIN_VIDEO, MODALITIES, VIDEOS
from pipeline.data.status import PRESENT, StreamStatus, absent, silent, unreadable
from pipeline.data.video import VideoInfo, probe_video
from pipeline.engine.errors import DamagedFileError, NotFoundError, XopsError

_EPISODE_NAME = re.compile(r"ep\d+")

#: Arrays whose rows with a NaN, or with nothing but zeros, are invalid poses (formats section 1.3).
_POSES = {
    "slam_pose": ("slam/quat_wxyz", "slam/trans_xyz"),
    "body_mocap": ("full_body_mocap/keypoints",),
}


class Episode:
    """An open episode.

    Attributes:
        root: its folder.
        session: name of the folder above, or the episode's own where that is no `epN`.
        path: `<session>/ep<N>`.
        id: `<session>__ep<N>`, the only name that is unique.
        fps: nominal frames per second; see `videos` for what the files say.
    """

    fps = FPS

    def __init__(self, root: Path, annotation: Annotation | None, problem: StreamStatus) -> None:
        self.root = root
        self._annotation = annotation
        self._problem = problem
        resolved = root.resolve()
        named = bool(_EPISODE_NAME.fullmatch(resolved.name))
        self.session = resolved.parent.name if named else resolved.name
        self.path = f"{self.session}/{resolved.name}" if named else resolved.name
        self.id = self.path.replace("/", "__")

    @property
    def annotation(self) -> Annotation:
        """The annotation; NotFoundError or DamagedFileError where it cannot be read."""
        if self._annotation is None:
            error = NotFoundError if self._problem.status == "absent" else DamagedFileError
            raise error(f"{self.root / ANNOTATION}: {self._problem.reason}")
        return self._annotation

    @cached_property
    def frames(self) -> FrameTable:
        """The frames by name and device time; empty without a readable annotation."""
        if self._annotation is None:
            return FrameTable(0)
        try:
            return self._annotation.frame_table()
        except DamagedFileError:  # names and clock are torn; the arrays still say how many frames there are
            return FrameTable(self._annotation.frame_count())

    @property
    def frame_count(self) -> int:
        """Frames of the annotation; 0 without a readable one, which `streams` explains."""
        return self.frames.count

    @cached_property
    def streams(self) -> dict[str, StreamStatus]:
        """Status of `annotation`, of each of the eleven modalities, of `audio` and of the six video files."""
        found = {"annotation": self._problem}
        found |= {flag: self._modality(flag, name) for flag, name in MODALITIES.items()}
        found["audio"] = probe_audio(self.root / MAIN_VIDEO)
        found |= {name: status for name, (status, _) in self._probed.items()}
        return found

    @cached_property
    def videos(self) -> dict[str, VideoInfo]:
        """What the index of each readable video file says."""
        return {name: info for name, (_, info) in self._probed.items() if info is not None}

    def modalities(self) -> dict[str, bool]:
        """The eleven flags of the manifest: whether each HDF5 path exists, whatever is in it."""
        return {flag: self._has(name) for flag, name in MODALITIES.items()}

    def array(self, name: str, rows: slice | None = None) -> NDArray[Any]:
        """An array of the annotation, or some rows of it; errors as `Annotation.array`'s."""
        return self.annotation.array(name, rows)

    def audio(self, start_s: float = 0.0, seconds: float | None = None) -> Audio:
        """The main camera's sound, mono at 16 kHz; errors as `read_audio`'s."""
        return read_audio(self.root / MAIN_VIDEO, start_s=start_s, seconds=seconds)

    @cached_property
    def caption(self) -> Caption | None:
        """The parsed caption; None where there is none or it cannot be parsed, which `streams` explains."""
        return self._read_caption[0]

    def labels(self, resolver: ResolverName = "default") -> FrameLabels:
        """Labels of every frame; all empty without a caption."""
        if self.caption is None:
            return FrameLabels.empty(self.frame_count)
        reading = self._resolver(resolver)
        return propagate(self.caption, reading, self.frame_count)

    def contact(self) -> NDArray[np.bool_] | None:
        """Whether anything is touched, per frame; None where the episode does not say."""
        usable = self._annotation is not None and self.streams["contacts"].status != "unreadable"
        return self.annotation.contact() if usable else None

    def invalid_frames(self) -> dict[str, int]:
        """Frames without a valid pose, by modality, of those that can be read (formats section 1.3)."""
        return {flag: int(rows.sum()) for flag, rows in self._invalid.items()}

    @cached_property
    def _probed(self) -> dict[str, tuple[StreamStatus, VideoInfo | None]]:
        return {name: probe_video(self.root / name) for name in VIDEOS}

    @cached_property
    def _invalid(self) -> dict[str, NDArray[np.bool_]]:
        found = {}
        for flag, names in _POSES.items():
            if all(self._has(name) for name in names):
                with suppress(DamagedFileError):  # its status says so
                    found[flag] = invalid_rows(*(self.array(name) for name in names))
        return found

    @cached_property
    def _read_caption(self) -> tuple[Caption | None, StreamStatus]:
        if self._annotation is None:
            return None, absent("no readable annotation")
        try:
            texts = [
                text for name in ("caption", "captions") if (text := self._annotation.text(name)) is not None
            ]
            if not texts:
                return None, absent("the annotation has no caption")
            text = next((text for text in texts if text.strip("\0 \n")), None)
            if text is None:
                return None, silent("the caption is empty")
            caption = parse_caption(caption_json(text, self.root))
        except XopsError as error:
            return None, unreadable(str(error))
        return caption, PRESENT if caption.segments else silent("the caption has no segments")

    def _resolver(self, name: ResolverName) -> Resolver:
        if name == "default":
            return CurrentResolver(self.frames)
        table = self.annotation.published_frame_table()
        return CurrentResolver(table) if name == "current" else OlderResolver(table)

    def _has(self, name: str) -> bool:
        return self._annotation is not None and self._annotation.has(name)

    def _modality(self, flag: str, name: str) -> StreamStatus:
        if self._annotation is None:
            broken = self._problem.status == "unreadable"
            return unreadable("its file cannot be read") if broken else absent("no annotation")
        if not self._annotation.has(name):
            return absent(f"no {name}")
        if flag in ("caption", "captions"):
            return self._caption_status()
        try:
            return self._array_status(flag, name)
        except XopsError as error:
            return unreadable(str(error))

    def _caption_status(self) -> StreamStatus:
        caption, status = self._read_caption
        if caption is None or not status.usable:
            return status
        labels = self.labels()
        if not labels.labelled:
            return silent(f"no frame gets an action; {labels.unresolved} references mean no frame")
        problems = [f"{caption.problem_count} parts left out"] if caption.problem_count else []
        problems += [f"{labels.unresolved} references mean no frame"] if labels.unresolved else []
        return StreamStatus("present", "; ".join(problems))

    def _array_status(self, flag: str, name: str) -> StreamStatus:
        shape = self.annotation.shape(name)
        if shape is None:
            return PRESENT  # a group
        if not shape or not all(shape):
            return unreadable(f"{name} has shape {shape}")
        self.annotation.array(name, slice(shape[0] - 1, shape[0]))  # the last row of a torn file is not there
        if flag not in ("imu", "slam_point_cloud") and shape[0] != self.frame_count:
            return StreamStatus("present", f"{shape[0]} rows for {self.frame_count} frames")
        invalid = self._invalid.get(flag) if flag in _POSES else None
        if invalid is None or not invalid.any():
            return PRESENT
        if invalid.all():
            return silent("no frame has a valid pose")
        return StreamStatus("present", f"{int(invalid.sum())} of {len(invalid)} frames have no valid pose")


@contextmanager
def open_episode(root: Path) -> Iterator[Episode]:
    """Open the episode in the folder `root`; a broken or missing file is a status, not an error.

    Raises:
        NotFoundError: there is no such folder.
    """
    if not root.is_dir():
        raise NotFoundError(f"no episode at {root}: it is no folder")
    annotation, status = None, PRESENT
    try:
        annotation = Annotation(root / ANNOTATION)
    except NotFoundError:
        status = absent("the file is not there")
    except DamagedFileError as error:
        status = unreadable(str(error))
    try:
        yield Episode(root, annotation, status)
    finally:
        if annotation:
            annotation.close()


def invalid_rows(*parts: NDArray[Any]) -> NDArray[np.bool_]:
    """Rows with a NaN in any part, or with nothing but zeros in all of them."""
    rows = min(len(part) for part in parts)
    flat = np.concatenate([part[:rows].reshape(rows, -1).astype(np.float64) for part in parts], axis=1)
    bad: NDArray[np.bool_] = ~np.isfinite(flat).all(axis=1) | ~flat.any(axis=1)
    return bad
