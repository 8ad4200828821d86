"""The selection file: which episodes a run uses, in which split, and the bytes that prove them.

The keys are those of the published `xperience10m_128_episode_selection.json`, so that either side reads
the other's file; ours adds `revision`, `version`, `replacements` and, per episode, `files` with size and
sha256. A selection without hashes (the published one) is accepted as it is and completed from a listing.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from pipeline.engine.errors import DamagedFileError, NotFoundError
from pipeline.engine.files import publish_bytes, publish_json
from pipeline.hub import names
from pipeline.hub.listing import Listing
from pipeline.hub.types import RemoteFile

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

Band = Literal["short", "lower_mid", "upper_mid", "long"]
BANDS: tuple[Band, ...] = ("short", "lower_mid", "upper_mid", "long")

CSV_COLUMNS = (
    "selection_rank",
    "split",
    "size_band",
    "episode_path",
    "top_level_session",
    "episode_id",
    "annotation_human",
    "training_human",
    "annotation_bytes",
    "training_bytes_excluding_visualization_rrd",
    "has_visualization_rrd",
    "selection_score",
)


class SelectedEpisode(Struct, frozen=True, kw_only=True):
    """One selected episode; sizes in bytes. Keys: formats section 2.1.

    Attributes:
        path: qualified id, `<session>/ep<N>`.
        training_bytes: annotation and videos, without the viewer file.
        files: size and sha256 of each of the seven files; empty in a selection that has no hashes.
    """

    path: str = field(name="episode_path")
    episode_id: str
    episode_number: int
    session: str = field(name="top_level_session")
    file_count: int
    total_bytes: int
    training_bytes: int = field(name="training_bytes_excluding_visualization_rrd")
    annotation_bytes: int
    video_bytes: int
    has_annotation: bool
    has_all_six_videos: bool
    has_visualization_rrd: bool
    missing_required_files: tuple[str, ...]
    download_files: tuple[str, ...]
    band: Band = field(name="size_band")
    annotation_human: str
    training_human: str
    score: float = field(name="selection_score")
    split: Split
    rank: int = field(name="selection_rank")
    files: tuple[RemoteFile, ...] = ()


class Replacement(Struct, frozen=True):
    """One exchange that made this selection from the version before it."""

    version: int
    removed: str
    added: str
    reason: str
    at_utc: str


class Selection(Struct, frozen=True, kw_only=True):
    """A selection file; see the module's docstring.

    Attributes:
        revision: commit the episodes are pinned to (`repo_sha` in the published file).
        rules, annotation_size_summary_complete, training_size_summary_complete, selected_summary: as
            written by the selector; kept as found.
        version: 1 as selected, raised by every replacement.
    """

    status: Literal["pass"]
    generated_at_utc: str
    repo_id: str
    repo_sha: str
    selection_type: str
    target_episodes: int
    seed: int
    rules: dict[str, Any]
    available_complete_episodes: int
    candidate_episodes_after_filters: int
    rejected_counts: dict[str, int]
    annotation_size_summary_complete: dict[str, Any]
    training_size_summary_complete: dict[str, Any]
    selected_summary: dict[str, Any]
    episodes: tuple[SelectedEpisode, ...] = field(name="selected_episodes")
    download_files: tuple[str, ...]
    revision: str | UnsetType = UNSET
    version: int = 1
    replacements: tuple[Replacement, ...] = ()

    @property
    def commit(self) -> str:
        """The pinned commit."""
        return self.repo_sha if self.revision is UNSET else self.revision

    @property
    def size(self) -> int:
        """Bytes to move."""
        return sum(episode.training_bytes for episode in self.episodes)

    @property
    def hashed(self) -> bool:
        """Whether every file's size and sha256 are known."""
        return all(
            len(episode.files) == len(episode.download_files) and all(file.sha256 for file in episode.files)
            for episode in self.episodes
        )

    def episode(self, path: str) -> SelectedEpisode:
        """The selected episode `path`; NotFoundError if it is not selected."""
        for episode in self.episodes:
            if episode.path == path:
                return episode
        raise NotFoundError(
            f"episode {path!r} is not in the selection", hint=f"xops relay explain --selection FILE {path!r}"
        )

    def split_hash(self) -> str:
        """Twelve hex digits that change exactly when the split of some episode changes."""
        lines = sorted(f"{episode.path}\t{episode.split}\n" for episode in self.episodes)
        return hashlib.sha256("".join(lines).encode()).hexdigest()[:12]

    def files(self) -> tuple[RemoteFile, ...]:
        """All files with size and hash, in selection order; empty ones where the file has none."""
        return tuple(file for episode in self.episodes for file in episode.files)


def read_selection(path: Path) -> Selection:
    """Read and check a selection file, ours or the published one.

    Raises:
        NotFoundError: there is no such file.
        DamagedFileError: it is not JSON, a key is missing or of the wrong type, or the episodes contradict
            each other; the message names the file, the key and the episode.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise NotFoundError(
            f"{path} does not exist",
            hint="make one: xops run new relay, then xops run start last --until select",
        ) from None
    except OSError as error:
        raise DamagedFileError(f"{path} cannot be read: {error.strerror}") from None
    return decode_selection(data, str(path))


def decode_selection(data: bytes, origin: str) -> Selection:
    """`read_selection` for bytes that came from `origin`."""
    try:
        selection = msgspec.json.decode(data, type=Selection)
    except msgspec.ValidationError as error:
        raise DamagedFileError(f"{origin}: {_blame(data, str(error))}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedFileError(f"{origin} is not JSON: {error}") from None
    problems = list(contradictions(selection))
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise DamagedFileError(f"{origin}: {problems[0]}{more}", hint="select again, or repair the file")
    return selection


def contradictions(selection: Selection) -> Iterator[str]:
    """Every way in which `selection` contradicts the rules it claims to follow."""
    for key, values in (
        ("episode_path", [episode.path for episode in selection.episodes]),
        ("top_level_session", [episode.session for episode in selection.episodes]),
    ):
        for value, times in Counter(values).items():
            if times > 1:
                yield f"selected_episodes: {key} {value!r} appears {times} times"
    for position, episode in enumerate(selection.episodes):
        for key, problem in _episode_problems(episode, position + 1):
            yield f"selected_episodes[{position}].{key} of episode {episode.path!r}: {problem}"
    listed = [path for episode in selection.episodes for path in episode.download_files]
    if sorted(listed) != sorted(selection.download_files):
        yield "download_files is not the union of the episodes' download_files"


def _episode_problems(episode: SelectedEpisode, rank: int) -> Iterator[tuple[str, str]]:
    if not names.is_episode(episode.path):
        yield "episode_path", names.refusal(episode.path) or "not <session>/ep<N>"
        return
    if episode.path != f"{episode.session}/ep{episode.episode_number}":
        yield "top_level_session", f"{episode.session!r} and ep{episode.episode_number} do not make its path"
    if episode.rank != rank:
        yield "selection_rank", f"{episode.rank} at position {rank}"
    for path in episode.download_files:
        if names.is_excluded(path):
            yield "download_files", f"{path!r} is a viewer file, which is never relayed"
    wanted = sorted(f"{episode.path}/{name}" for name in names.EPISODE_FILES)
    if sorted(episode.download_files) != wanted:
        yield "download_files", "not the seven files of the episode"
    if episode.annotation_bytes + episode.video_bytes != episode.training_bytes:
        yield "training_bytes_excluding_visualization_rrd", "not annotation_bytes + video_bytes"
    if episode.files:
        if sorted(file.path for file in episode.files) != wanted:
            yield "files", "not the seven files of the episode"
        if sum(file.size for file in episode.files) != episode.training_bytes:
            yield "files", "sizes do not add up to training_bytes_excluding_visualization_rrd"


def _blame(data: bytes, message: str) -> str:
    """Add the episode's name to a message that only has its position."""
    _, found, tail = message.partition("`$.selected_episodes[")
    if not found:
        return message
    index = int(tail.partition("]")[0])
    raw = msgspec.json.decode(data)["selected_episodes"][index]
    name = raw.get("episode_path") if isinstance(raw, dict) else None
    return f"{message} (episode {name!r})" if name else message


def complete(selection: Selection, listing: Listing) -> Selection:
    """`selection` with the size and sha256 of every file, from a listing of the same commit.

    Raises:
        DamagedFileError: the listing is of another commit, lacks a file, or its sizes differ; nothing is
            guessed.
    """
    if listing.revision != selection.commit or listing.repo_id != selection.repo_id:
        raise DamagedFileError(
            f"the listing is of {listing.repo_id} at {listing.revision[:12]}, the selection of "
            f"{selection.repo_id} at {selection.commit[:12]}",
            hint=f"list the selection's own revision: xops relay listing --revision {selection.commit}",
        )
    known = listing.by_path()
    missing = [path for path in selection.download_files if path not in known]
    if missing:
        raise DamagedFileError(f"{len(missing)} selected files are not in the listing, first: {missing[0]!r}")
    episodes = tuple(
        msgspec.structs.replace(episode, files=tuple(known[path] for path in episode.download_files))
        for episode in selection.episodes
    )
    completed = msgspec.structs.replace(selection, episodes=episodes, revision=selection.commit)
    for problem in contradictions(completed):
        raise DamagedFileError(f"listing and selection disagree: {problem}")
    return completed


def write_selection(path: Path, selection: Selection) -> None:
    """Publish the selection as JSON."""
    publish_json(path, msgspec.to_builtins(selection))


def write_csv(path: Path, selection: Selection) -> None:
    """Publish the table of the selected episodes, with the published file's twelve columns."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(msgspec.to_builtins(episode) for episode in selection.episodes)
    publish_bytes(path, text.getvalue().encode())


def write_download_list(path: Path, selection: Selection) -> None:
    """Publish one repository path per line, in selection order."""
    lines = (f"{name}\n" for episode in selection.episodes for name in episode.download_files)
    publish_bytes(path, "".join(lines).encode())


def write_checksums(path: Path, selection: Selection) -> None:
    """Publish a `sha256sum -c` file of every hashed file, to check a staged root with stock tools."""
    lines = (f"{file.sha256}  {file.path}\n" for file in selection.files() if file.sha256)
    publish_bytes(path, "".join(lines).encode())
