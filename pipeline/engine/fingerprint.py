"""Fingerprints: whether a stage's outputs still answer the question that its inputs ask.

A fingerprint covers the stage's version, its parameters, the dataset it reads, the digests of the outputs
it builds on, and files outside the run that it declares. It holds no path of the run, so two runs that ask
the same question have the same fingerprint and one can take over the other's outputs.

Files count by `stat` (size and modification time: big media) or by `content` (sha256). A content digest is
not computed again while size and time are as recorded, so looking is cheap.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from pipeline.engine.errors import DamagedFileError, NotFoundError
from pipeline.engine.files import publish_json

Level = Literal["stat", "content"]

_CHUNK = 1 << 20


class FileEntry(Struct, frozen=True, kw_only=True):
    """One file below an input or an artefact.

    Attributes:
        path: relative to the declared root, `.` for the root itself.
        size: bytes.
        mtime_ns: modification time.
        sha256: hexadecimal; empty at level `stat`.
    """

    path: str
    size: int
    mtime_ns: int
    sha256: str = ""


class ExternalInput(Struct, frozen=True, kw_only=True):
    """Files outside the run that a stage reads, as they were when it started.

    Attributes:
        role: what they are to the stage.
        root: absolute path of the file or directory.
        level: how they are compared.
        files: sorted by path.
    """

    role: str
    root: str
    level: Level
    files: tuple[FileEntry, ...]


class Question(Struct, frozen=True, kw_only=True):
    """What a stage is asked; equal questions have interchangeable answers.

    Attributes:
        stage, version: which code.
        params: its parameters as JSON values.
        dataset: repository and revision the run reads.
        upstream: stage name -> digest of the outputs it builds on.
        shard: (k, n) for one stride of a split stage.
        external: files outside the run.
    """

    stage: str
    version: int
    params: dict[str, Any]
    dataset: dict[str, Any]
    upstream: dict[str, str]
    shard: tuple[int, int] | None = None
    external: tuple[ExternalInput, ...] = ()

    @property
    def digest(self) -> str:
        """The fingerprint: blake2b over the canonical form."""
        files = sorted(
            (entry.role, file.path, file.size, file.sha256 or file.mtime_ns)
            for entry in self.external
            for file in entry.files
        )
        asked = (self.stage, self.version, self.shard, self.params, self.dataset, self.upstream)
        return digest_of([*asked, files])


class InputsRecord(Struct, frozen=True, kw_only=True):
    """The content of `inputs.json`.

    Attributes:
        question: as it stood when the attempt started.
        fingerprint: its digest.
        attempt: which attempt.
    """

    question: Question
    fingerprint: str
    attempt: int


def digest_of(value: Any) -> str:
    """Digest of a JSON value that does not depend on the order of keys."""
    return hashlib.blake2b(msgspec.json.encode(value, order="sorted"), digest_size=20).hexdigest()


def scan(role: str, root: Path, level: Level, known: ExternalInput | None = None) -> ExternalInput:
    """Look at the files below `root` (or at `root` itself if it is a file).

    Args:
        role: what they are to the stage.
        root: file or directory; links to files count as the files.
        level: `stat` or `content`.
        known: an earlier look, whose sha256 are reused where size and time are unchanged.

    Raises:
        NotFoundError: `root` does not exist.
    """
    if not root.exists():
        raise NotFoundError(f"input {role!r}: {root} does not exist")
    before = {file.path: file for file in known.files} if known else {}
    entries = tuple(_look(root, name, level, before.get(name)) for name in sorted(_names(root)))
    return ExternalInput(role=role, root=str(root.absolute()), level=level, files=entries)


def sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(_CHUNK):
            digest.update(block)
    return digest.hexdigest()


def rescan(external: Sequence[ExternalInput]) -> tuple[ExternalInput, ...]:
    """The same inputs as they are now; one that is gone has no files."""
    return tuple(
        scan(entry.role, Path(entry.root), entry.level, entry)
        if os.path.exists(entry.root)  # noqa: PTH110 - a str, called often
        else msgspec.structs.replace(entry, files=())
        for entry in external
    )


def differences(old: Question, new: Question) -> tuple[str, ...]:
    """What changed between two questions, one plain sentence each; empty if they are equal."""
    found: list[str] = []
    if old.version != new.version:
        found.append(f"the stage itself changed (version {old.version} -> {new.version})")
    if old.shard != new.shard:
        found.append(f"the split into shards changed ({old.shard} -> {new.shard})")
    found += _changed("parameter", old.params, new.params)
    found += _changed("dataset", old.dataset, new.dataset)
    for stage in sorted(old.upstream.keys() | new.upstream.keys()):
        if not new.upstream.get(stage):
            found.append(f"{stage} has no outputs now")
        elif old.upstream.get(stage) != new.upstream[stage]:
            found.append(f"the outputs of {stage} are not those it was made from")
    before = {entry.role: entry for entry in old.external}
    for entry in new.external:
        found += _changed_files(before.pop(entry.role, None), entry)
    return (*found, *(f"input {role} is no longer used" for role in before))


def publish_inputs(path: Path, question: Question, attempt: int) -> None:
    """Write inputs.json."""
    record = InputsRecord(question=question, fingerprint=question.digest, attempt=attempt)
    publish_json(path, msgspec.to_builtins(record))


def read_inputs(path: Path) -> InputsRecord | None:
    """The record in `path`; None if there is none; DamagedFileError if it is something else."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=InputsRecord)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DamagedFileError(f"{path} is not a record of inputs: {error}") from None


def _names(root: Path) -> Iterator[str]:
    if root.is_file():
        yield "."
        return
    for folder, _, files in os.walk(root):
        for name in files:
            yield os.path.relpath(os.path.join(folder, name), root)  # noqa: PTH118 - millions of names


def _look(root: Path, name: str, level: Level, before: FileEntry | None) -> FileEntry:
    path = root if name == "." else root / name
    stat = path.stat() if path.exists() else path.lstat()
    entry = FileEntry(path=name, size=stat.st_size, mtime_ns=stat.st_mtime_ns)
    if level == "stat" or not path.is_file():
        return entry
    unchanged = before is not None and (before.size, before.mtime_ns) == (entry.size, entry.mtime_ns)
    known = before.sha256 if before is not None and unchanged else ""
    return msgspec.structs.replace(entry, sha256=known or sha256_of(path))


def _changed(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(old.keys() | new.keys()):
        if name not in old:
            yield f"{what} {name} is new ({new[name]!r})"
        elif name not in new:
            yield f"{what} {name} is gone (was {old[name]!r})"
        elif old[name] != new[name]:
            yield f"{what} {name}: {old[name]!r} -> {new[name]!r}"


def _changed_files(old: ExternalInput | None, new: ExternalInput) -> Iterator[str]:
    if old is None:
        yield f"input {new.role} is new"
        return
    if old.files and not new.files:
        yield f"input {new.role}: {new.root} is gone"
        return
    before, after = ({f.path: (f.size, f.sha256 or f.mtime_ns) for f in e.files} for e in (old, new))
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        yield f"input {new.role}: {changed[0]} changed{more}"
