"""Checking a finished window index: every record, the files it claims, and its agreement with the source.

Streams; memory grows with distinct ids (as hashes) and episodes only. Problems are listed with line, record
and field, so that each names what to repair.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from pipeline.data.index.record import (
    INDEX_FILE,
    MANIFEST_FILE,
    SCHEMA,
    VOCABULARY_FILE,
    Frames,
    WindowRecord,
)
from pipeline.data.index.rules import record_problems
from pipeline.data.index.vocabulary import LabelLists, read_vocabulary
from pipeline.data.leakage import LeakFinder
from pipeline.engine.errors import NotFoundError, XopsError
from pipeline.engine.files import read_json


class Issue(Struct, frozen=True):
    """One thing that is wrong.

    Attributes:
        line: line of the index, from 1; None where the issue is about a whole file.
        record: id of the record, where it could be read.
        field: dotted path inside the record or manifest.
        problem: what is wrong, with the values found.
    """

    line: int | None
    record: str | None
    field: str
    problem: str

    def __str__(self) -> str:
        place = f"line {self.line}" if self.line else ""
        name = f" (id {self.record!r})" if self.record is not None else ""
        return f"{place}{name}: {self.field}: {self.problem}".lstrip(": ")


def validate_index(path: Path, *, source: Path | None = None, limit: int = 1_000) -> list[Issue]:
    """Everything wrong with an index, in the order of its lines; empty if it is valid.

    Args:
        path: `window_index.jsonl`, or the directory it lies in.
        source: the dataset it was made from; its window boundaries are then compared with the records'.
        limit: most issues listed; one more then says that the list was cut.

    Raises:
        NotFoundError: there is no index.
    """
    index = path / INDEX_FILE if path.is_dir() else path
    if not index.is_file():
        raise NotFoundError(f"{index} does not exist", hint="xops run start --until index")
    issues: list[Issue] = []
    for issue in _Validator(index, source).issues():
        if len(issues) == limit:
            return [
                *issues,
                Issue(None, None, index.name, f"more issues than {limit}; the rest is not listed"),
            ]
        issues.append(issue)
    return issues


class _Validator:
    """One pass over an index."""

    def __init__(self, index: Path, source: Path | None) -> None:
        self.index = index
        self.source = source
        self.leaks = LeakFinder()
        self.lines: dict[int, int] = {}
        self.splits: Counter[str] = Counter()
        self.episodes: dict[str, set[str]] = defaultdict(set)
        self.digest = hashlib.sha256()
        self.lists = LabelLists()

    def issues(self) -> Iterator[Issue]:
        """All issues: of the vocabulary, of each record, of the splits, of the manifest, of the source."""
        yield from self._vocabulary()
        decoder = msgspec.json.Decoder(WindowRecord)
        with self.index.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                self.digest.update(line)
                if not line.endswith(b"\n"):
                    yield Issue(number, None, "line", "does not end with a newline; the file may be cut off")
                try:
                    record = decoder.decode(line)
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    yield _undecodable(number, line, error)
                    continue
                for where, problem in self._record(number, record):
                    yield Issue(number, record.id, where, problem)
        for leak in self.leaks.leaks():
            splits = ", ".join(leak.splits)
            yield Issue(None, None, "split", f"{leak.kind} {leak.value!r} is in more than one: {splits}")
        yield from self._manifest()
        if self.source is not None:
            yield from _compare(self.index, self.source)

    def _vocabulary(self) -> Iterator[Issue]:
        try:
            self.lists = read_vocabulary(self.index.parent / VOCABULARY_FILE)
        except NotFoundError:
            return  # an index with its lists inside needs none; a reference into nothing is named below
        except XopsError as error:
            yield Issue(None, None, VOCABULARY_FILE, str(error))

    def _record(self, number: int, record: WindowRecord) -> Iterator[tuple[str, str]]:
        first = self.lines.setdefault(hash(record.id), number)
        if first != number:
            yield "id", f"appears a second time, first on line {first}"
        self.splits[record.split] += 1
        self.episodes[record.split].add(record.episode_id)
        media = record.modalities.media
        rendered = [path for path in (media.mosaic_video_path, media.audio_path) if path]
        self.leaks.add(record.episode_id, record.split, files=rendered)
        yield from record_problems(record, self.lists)

    def _manifest(self) -> Iterator[Issue]:
        path = self.index.parent / MANIFEST_FILE
        try:
            manifest = read_json(path)
        except XopsError as error:
            yield Issue(None, None, MANIFEST_FILE, str(error))
            return
        found: dict[str, Any] = {
            "schema": SCHEMA,
            "num_records": sum(self.splits.values()),
            "num_episodes": len(set().union(*self.episodes.values())),
            "sample_split_counts": dict(self.splits),
            "episode_split_counts": {split: len(members) for split, members in self.episodes.items()},
        }
        for key, value in found.items():
            if manifest.get(key) != value:
                yield Issue(None, None, f"{MANIFEST_FILE}: {key}", f"{manifest.get(key)!r}, found {value!r}")
        claimed = manifest.get("sha256", {}).get(INDEX_FILE)
        if claimed != self.digest.hexdigest():
            yield Issue(
                None,
                None,
                f"{MANIFEST_FILE}: sha256",
                f"{claimed} is not the index's {self.digest.hexdigest()}",
            )
        rows = manifest.get("num_source_rows")
        accounted = manifest.get("num_records", 0) + manifest.get("num_skipped", 0)
        if rows != accounted:
            yield Issue(
                None, None, f"{MANIFEST_FILE}: num_source_rows", f"{rows}, but {accounted} are accounted for"
            )


class _Id(Struct):
    id: str | None = None


def _undecodable(number: int, line: bytes, error: Exception) -> Issue:
    problem, _, path = str(error).partition(" - at `$")
    try:
        name = msgspec.json.decode(line, type=_Id).id
    except (msgspec.MsgspecError, UnicodeDecodeError):
        name = None
    return Issue(number, name, path.rstrip("`").lstrip(".") or "record", problem)


class _Boundary(Struct):
    id: str
    episode_id: str
    center_window: Frames
    split: str = "unspecified"


def _compare(index: Path, source: Path) -> Iterator[Issue]:
    """Records against the rows they came from, which both stand in the source's order."""
    rows = msgspec.json.Decoder(_Boundary)
    records = msgspec.json.Decoder(_Record)
    with index.open("rb") as lines, source.open("rb") as source_lines:
        for number, line in enumerate(lines, 1):
            try:
                record = records.decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue  # already an issue
            row = next(_decodable(rows, source_lines, record.source_record_id), None)
            if row is None:
                yield Issue(number, record.id, "source_record_id", f"no further such row in {source}")
                return
            for name, mine, theirs in (
                ("window", record.window, row.center_window),
                ("split", record.split, row.split),
                ("episode_id", record.episode_id, row.episode_id),
            ):
                if mine != theirs:
                    yield Issue(number, record.id, name, f"{mine}, but the source row has {theirs}")


class _Record(Struct):
    id: str
    source_record_id: str
    episode_id: str
    split: str
    window: Frames


def _decodable(
    rows: msgspec.json.Decoder[_Boundary], lines: Iterator[bytes], wanted: str
) -> Iterator[_Boundary]:
    """The next row with that id; rows before it were left out of the index."""
    for line in lines:
        try:
            row = rows.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
        if row.id == wanted:
            yield row
