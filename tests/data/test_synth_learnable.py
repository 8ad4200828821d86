"""The generated pixels really carry the labels: the simplest model learns them, on episodes it never saw."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.data.episode import open_episode
from pipeline.data.synth.world import WorldSpec, write_world
from pipeline.data.windows import cut_windows

SESSIONS, HELD_OUT = 18, 5


def windows(folder: Path) -> list[tuple[NDArray[Any], str]]:
    """Mean picture of each labelled window, thinned, and its action."""
    with open_episode(folder) as episode:
        cut = cut_windows(episode.labels())
    with av.open(str(folder / "fisheye_cam0.mp4")) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    pictures = np.stack(frames).astype(np.float64) / 255
    return [(pictures[w.start : w.end + 1].mean(axis=0).reshape(-1, 3)[::7].ravel(), w.action) for w in cut]


def test_nearest_centroid_knows_held_out_actions(tmp_path: Path) -> None:
    spec = WorldSpec(
        sessions=SESSIONS, min_frames=120, max_frames=140, size=32, depth=4, seed=5, viewer_share=0
    )
    write_world(tmp_path, spec, workers=1)
    folders = sorted(tmp_path.glob("*/ep*"))
    train = [window for folder in folders[HELD_OUT:] for window in windows(folder)]
    held_out = [window for folder in folders[:HELD_OUT] for window in windows(folder)]
    labels = sorted({action for _, action in train})
    centroids = np.stack([np.mean([x for x, y in train if y == label], axis=0) for label in labels])
    known = [(x, y) for x, y in held_out if y in labels]
    said = [labels[int(np.argmin(((centroids - x) ** 2).sum(axis=1)))] for x, _ in known]
    right = sum(one == y for one, (_, y) in zip(said, known, strict=True)) / len(known)
    majority = Counter(y for _, y in train).most_common(1)[0][0]
    constant = sum(y == majority for _, y in known) / len(known)
    assert len(known) >= 10
    assert right >= 0.8
    assert constant <= 0.3
