"""What is known of one exported episode: `episodes.jsonl`, from which a dataset is put together."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
from msgspec import Struct

from pipeline.data.export.rows import Draft
from pipeline.data.status import StreamStatus
from pipeline.engine.errors import DamagedFileError, NotFoundError

RECORD_FILE = "record.json"
EPISODES_FILE = "episodes.jsonl"


class MadeFile(Struct, frozen=True):
    """A file of a dataset: its path there, its size, its sha256."""

    path: str
    bytes: int
    sha256: str


class EpisodeRecord(Struct, frozen=True, kw_only=True):
    """One episode of an export.

    Attributes:
        identity: of the episode's files and of the settings; another one means: export it again.
        skipped: why it has no rows; empty where it has.
        rows: by scale and window.
        files: clips, sound and features of the rows.
        nulls: kind of media -> rows without it.
        streams: status of everything the episode should have.
        frames: of its annotation.
    """

    episode_id: str
    split: str
    identity: str
    skipped: str = ""
    rows: tuple[Draft, ...] = ()
    files: tuple[MadeFile, ...] = ()
    nulls: dict[str, int] = {}
    streams: dict[str, StreamStatus] = {}
    frames: int = 0

    @property
    def bytes(self) -> int:
        """Of all its files."""
        return sum(file.bytes for file in self.files)


def made_file(root: Path, path: Path) -> MadeFile:
    """Size and hash of a file below `root`."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return MadeFile(path.relative_to(root).as_posix(), path.stat().st_size, digest)


def read_record(folder: Path, identity: str) -> EpisodeRecord | None:
    """The record of an episode exported before with the same identity; None where there is none."""
    try:
        record = msgspec.json.decode((folder / RECORD_FILE).read_bytes(), type=EpisodeRecord)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return record if record.identity == identity else None


def read_episodes(dataset: Path) -> list[EpisodeRecord]:
    """The records of a dataset, or of one shard of it.

    Raises:
        NotFoundError, DamagedFileError: there are none, or they are something else.
    """
    path = dataset / EPISODES_FILE
    try:
        return msgspec.json.Decoder(EpisodeRecord).decode_lines(path.read_bytes())
    except FileNotFoundError:
        raise NotFoundError(f"{path} does not exist", hint="xops run start --until export") from None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DamagedFileError(f"{path} holds no records of episodes: {error}") from None
