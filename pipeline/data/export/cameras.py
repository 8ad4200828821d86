"""Several cameras of an episode decoded side by side, each frame at most once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pipeline.data.layout import VIDEOS
from pipeline.data.video import decode_frames
from pipeline.engine.errors import DamagedFileError


class Cameras:
    """The six cameras of one episode, read in one pass.

    Args:
        folder: of the episode.
        threads: of each decoder.

    Attributes:
        problems: camera -> why it lacks frames that were asked for; complete after the pass.
    """

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        self.problems: dict[str, str] = {}
        self._folder = folder
        self._threads = threads

    def frames(self, indices: Iterable[int]) -> Iterator[tuple[int, dict[str, Any]]]:
        """For each of `indices`, ascending: its number and PyAV's frame of every camera that has it."""
        wanted = sorted(set(indices))
        feeds = {name: self._feed(name, wanted) for name in VIDEOS}
        for index in wanted:
            found = {}
            for name, feed in list(feeds.items()):
                frame = next(feed, None)
                if frame is None:
                    del feeds[name]
                    self.problems.setdefault(name, f"it ends before frame {index}")
                else:
                    found[name] = frame
            yield index, found

    def _feed(self, name: str, wanted: list[int]) -> Iterator[Any]:
        """The wanted frames one after the other, until the camera has no more."""
        path = self._folder / name
        if not path.is_file():
            self.problems[name] = "the file is not there"
            return
        try:
            found = decode_frames(path, wanted, threads=self._threads)
            for expected, (index, frame) in zip(wanted, found, strict=False):
                if index != expected:  # a torn index may skip frames; a tile must never be of another time
                    self.problems[name] = f"frame {expected} is missing"
                    return
                yield frame
        except DamagedFileError as error:
            self.problems[name] = str(error)
