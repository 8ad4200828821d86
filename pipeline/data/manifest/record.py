"""`episode_manifest.json`: the published keys (formats section 2.3), typed.

Ours differs in what the values say, not in the keys: paths are relative to one of `summary.data_roots`, and
every entry of `missing_or_incomplete` has a `reason`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from pipeline.engine.errors import DamagedFileError, NotFoundError

FILE = "episode_manifest.json"

Counts = dict[str, int]


class FileEntry(Struct, frozen=True):
    """A file of an episode; 0 bytes if it does not exist."""

    name: str
    bytes: int
    exists: bool


class VideoEntry(Struct, frozen=True):
    """A camera file with its path, relative to the data root."""

    name: str
    path: str
    bytes: int
    exists: bool


class PerTarget(Struct, frozen=True):
    """Label -> frames or windows, most common first, for both kinds of label."""

    action: Counts = {}
    subtask: Counts = {}


class LabelStats(Struct, frozen=True, kw_only=True):
    """What the captions label.

    Attributes:
        segments: caption segments that resolve to frames.
        frame_labels: frames per label.
        window_labels: windows per majority label.
        num_labeled_windows: windows that have one.
    """

    main_task: str = ""
    segments: int = 0
    frame_labels: PerTarget = PerTarget()
    window_labels: PerTarget = PerTarget()
    num_labeled_windows: Counts = {}


class ManifestEpisode(Struct, frozen=True, kw_only=True):
    """One episode; sizes in bytes. The last eight keys come from the selection.

    Attributes:
        episode_id: `<session>__ep<N>`.
        path: its folder; `annotation` its annotation; both relative to the data root.
        total_bytes: all files; `train_minimal_bytes` without the viewer file.
        source_episode_id: `ep<N>`, which collides between sessions.
        selection_rank, selection_score, size_band: None where there is no selection.
    """

    episode_id: str
    path: str
    annotation: str
    frame_count: int
    main_task: str
    files: tuple[FileEntry, ...]
    videos: tuple[VideoEntry, ...]
    hdf5_modalities: dict[str, bool]
    label_stats: LabelStats
    total_bytes: int
    train_minimal_bytes: int
    has_annotation: bool
    has_any_video: bool
    has_all_videos: bool
    has_rrd: bool
    source_episode_id: str
    episode_path: str
    split: str
    selection_rank: int | None
    selection_score: float | None
    size_band: str | None
    top_level_session: str

    @property
    def labelled_windows(self) -> int:
        """Windows with an action; an episode without any trains nothing."""
        return self.label_stats.num_labeled_windows.get("action", 0)


class Missing(Struct, frozen=True):
    """A selected episode that is not in the manifest, and why."""

    episode_path: str
    split: str
    missing: tuple[str, ...]
    reason: str = ""


class Manifest(Struct, frozen=True, kw_only=True):
    """The whole file. `summary` keeps the published keys and is as free as they are."""

    summary: dict[str, Any]
    episodes: tuple[ManifestEpisode, ...]
    missing_or_incomplete: tuple[Missing, ...] = field(default=())


def read_manifest(path: Path) -> Manifest:
    """Read a manifest, ours or a published one.

    Raises:
        NotFoundError: there is none.
        DamagedFileError: it is not one; the message names key and place.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise NotFoundError(f"{path} does not exist", hint="xops run start --until manifest") from None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DamagedFileError(f"{path} is not an episode manifest: {error}") from None
