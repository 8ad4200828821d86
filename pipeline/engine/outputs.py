"""The outputs of a stage: publication, the manifest whose presence means completion, and where to find them.

`outputs.json` is the last file an attempt writes. A stage that was taken over from another run has none of
its own; `taken_from.json` names the run that made them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from pipeline.engine.context import Artefact
from pipeline.engine.errors import DamagedFileError
from pipeline.engine.files import publish_json, sync_directory
from pipeline.engine.fingerprint import ExternalInput, digest_of, scan
from pipeline.engine.paths import StagePaths

_Kind = TypeVar("_Kind")


class OutputsRecord(Struct, frozen=True, kw_only=True):
    """The content of `outputs.json`.

    Attributes:
        attempt: which attempt made them.
        made: Unix seconds.
        digest: identity of the artefacts: of what is inside them, not of when and where.
        out: files below `out/`, with sha256.
        artefacts: what was made elsewhere (big data roots), by role.
    """

    attempt: int
    made: float
    digest: str
    out: ExternalInput
    artefacts: tuple[ExternalInput, ...] = ()


class TakenFrom(Struct, frozen=True, kw_only=True):
    """The content of `taken_from.json`.

    Attributes:
        run_id: the run whose own attempt made the outputs.
        fingerprint: the question both runs ask.
        outputs: digest of the outputs at that moment.
        when: Unix seconds.
    """

    run_id: str
    fingerprint: str
    outputs: str
    when: float


class _DigestOnly(Struct):
    digest: str


def publish_outputs(paths: StagePaths, attempt: int, artefacts: Sequence[Artefact]) -> OutputsRecord:
    """Rename this attempt's temporary directory to `out/`, then write outputs.json.

    An `out/` that an earlier attempt renamed without living to finish is set aside first.
    """
    temporary = paths.out_tmp(attempt)
    out = scan("out", temporary, "content")
    made = [scan(item.role, item.path, item.level) for item in artefacts]
    _sync_tree(temporary)
    if paths.out.exists():
        set_aside(paths, attempt, ("out",))
    temporary.rename(paths.out)
    sync_directory(paths.root)
    record = OutputsRecord(
        attempt=attempt,
        made=time.time(),
        digest=_digest(out, made),
        out=msgspec.structs.replace(out, root=str(paths.out)),
        artefacts=tuple(made),
    )
    publish_json(paths.outputs, msgspec.to_builtins(record))
    return record


def read_outputs(path: Path) -> OutputsRecord | None:
    """The manifest in `path`; None if there is none; DamagedFileError if it is something else."""
    return _decode(path, OutputsRecord)


def read_digest(path: Path) -> str:
    """The digest in an outputs.json, without the list of files; empty if there is no such file."""
    found = _decode(path, _DigestOnly)
    return found.digest if found else ""


def read_taken_from(path: Path) -> TakenFrom | None:
    """The reference in `path`; None if there is none; DamagedFileError if it is something else."""
    return _decode(path, TakenFrom)


def set_aside(paths: StagePaths, attempt: int, names: Sequence[str]) -> Path:
    """Move files of the stage (by name) to the attempt's `superseded/`; nothing is deleted."""
    aside = paths.attempt(attempt).superseded
    number = 1
    while aside.exists():
        number += 1
        aside = aside.with_name(f"superseded.{number}")
    aside.mkdir(parents=True)
    for name in names:
        if (source := paths.root / name).exists():
            source.rename(aside / name)
    sync_directory(paths.root)
    return aside


def _digest(out: ExternalInput, artefacts: Sequence[ExternalInput]) -> str:
    """Content by sha256 where known; artefacts at level `stat` by size and time, wherever they are."""
    return digest_of(
        [
            (entry.role, file.path, file.size, file.sha256 or file.mtime_ns)
            for entry in (out, *artefacts)
            for file in entry.files
        ]
    )


def _sync_tree(root: Path) -> None:
    for folder, _, files in os.walk(root):
        for name in files:
            handle = os.open(Path(folder) / name, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        sync_directory(Path(folder))


def _decode(path: Path, kind: type[_Kind]) -> _Kind | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DamagedFileError(f"{path} is not a {kind.__name__}: {error}") from None
