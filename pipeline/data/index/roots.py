"""Making the paths of dataset rows relative, so that a move to another host rewrites no row.

A row's own paths are absolute (the original's) or already relative to their root (ours). Two roots exist:
`data`, where episodes lie, and `dataset`, where the exporter put renderings and features. A root that is
not given is taken from the first absolute path, by the layout both exporters write; every later row must
then agree with it.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from pipeline.data.splits import episode_path

#: `<root>[/shards/shard_05]/media/...` and `<root>[/shards/shard_05]/sensor_features/...`.
_RENDERED = re.compile(r"(?P<root>/.+)/(?:media|sensor_features)/")
_SHARD = re.compile(r"/shards/shard_\d+$")


class PathRefusedError(ValueError):
    """A path of a row cannot be expressed below its root; the message says why."""


class Roots:
    """The two roots, given or found.

    Args:
        data: absolute directory of the episodes in the rows' own paths; empty to find it.
        dataset: the same for the exporter's output.
    """

    def __init__(self, data: str = "", dataset: str = "") -> None:
        self.data = data.rstrip("/")
        self.dataset = dataset.rstrip("/")

    def stream(self, path: str, episode_id: str) -> str:
        """A camera file of `episode_id`, relative to `data`.

        Raises:
            PathRefusedError: it lies elsewhere, or its name could leave the root.
        """
        if path.startswith("/") and not self.data:
            self.data = _data_root(path, episode_id)
        return _below(path, self.data, "data")

    def rendered(self, path: str | None) -> str | None:
        """A mosaic, audio or feature file, relative to `dataset`; None stays None.

        Raises:
            PathRefusedError: as for `stream`.
        """
        if path is None:
            return None
        if path.startswith("/") and not self.dataset:
            self.dataset = _dataset_root(path)
        return _below(path, self.dataset, "dataset")


def _below(path: str, root: str, name: str) -> str:
    if path.startswith("/"):
        if not path.startswith(f"{root}/"):
            raise PathRefusedError(f"{path!r} is not below the {name} root {root}")
        path = path[len(root) + 1 :]
    refused = refusal(path)
    if refused:
        raise PathRefusedError(f"{path!r}: {refused}")
    return path


def refusal(path: str) -> str | None:
    """Why `path` may not stand in an index as a relative path; None if it may."""
    if not path:
        return "empty path"
    if path.startswith("/"):
        return "absolute path"
    if "\\" in path or not path.isprintable():
        return "path with control characters or backslashes"
    if ".." in path.split("/"):
        return "path leaves its root"
    return None


def _data_root(path: str, episode_id: str) -> str:
    folder = str(PurePosixPath(path).parent)
    for ending in (f"/{episode_path(episode_id)}", f"/{episode_id}"):
        if folder.endswith(ending):
            return folder[: -len(ending)]
    raise PathRefusedError(f"{path!r} does not lie in a folder of episode {episode_id!r}; name the data root")


def _dataset_root(path: str) -> str:
    found = _RENDERED.match(path)
    if not found:
        raise PathRefusedError(
            f"{path!r} is neither below media/ nor sensor_features/; name the dataset root"
        )
    return _SHARD.sub("", found["root"])
