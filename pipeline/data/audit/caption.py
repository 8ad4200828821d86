"""The captions of staged annotations, in any of the forms they are stored in (formats section 1.2)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from pipeline.data.audit.rows import Caption
from pipeline.data.captions import caption_json
from pipeline.data.pool import run_pool
from pipeline.data.status import first_line
from pipeline.data.taxonomy import caption_text
from pipeline.engine.errors import XopsError
from pipeline.engine.files import publish_bytes
from pipeline.engine.log import Emit


class _Cached(Struct):
    identity: str
    caption: Caption


def read_captions(
    annotations: Sequence[str],
    roots: Sequence[Path],
    *,
    cache: Path,
    emit: Emit,
    workers: int = 0,
    check_cancelled: Callable[[], None] = lambda: None,
) -> dict[str, Caption]:
    """The caption of every annotation, by its path.

    Args:
        annotations: paths relative to the roots.
        roots: the first that has the file counts.
        cache: directory of one record per annotation; it counts while size and time of the file are the same.
        emit: told `caption_read` (episode, status; done, total, unit) for each.
        workers: processes; 0 takes one per core.
        check_cancelled: called now and then; whatever it raises ends the work.
    """
    found: dict[str, Caption] = {}

    def finish(name: str, caption: Caption) -> None:
        found[name] = caption
        emit(
            "caption_read",
            done=len(found),
            total=len(annotations),
            unit="episodes",
            episode=name.rpartition("/")[0],
            status=caption.parse_status,
            error=caption.error,
        )

    todo: dict[str, str] = {}
    for name in annotations:
        path = next((root / name for root in roots if (root / name).is_file()), None)
        if path is None:
            finish(name, Caption(parse_status="missing", error="the annotation is not staged"))
        elif (known := _known(_place(cache, name), path)) is not None:
            finish(name, known)
        else:
            todo[str(path)] = name
    for outcome in run_pool(read_caption, list(todo), workers=workers, check_cancelled=check_cancelled):
        caption = outcome.result or Caption(parse_status="failed", error=outcome.error)
        name = todo[outcome.item]
        record = _Cached(_identity(Path(outcome.item)), caption)
        publish_bytes(_place(cache, name), msgspec.json.encode(record))
        finish(name, caption)
    return found


def _place(cache: Path, name: str) -> Path:
    return cache / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.json"


def _identity(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size}-{status.st_mtime_ns}"


def _known(place: Path, path: Path) -> Caption | None:
    try:
        record = msgspec.json.decode(place.read_bytes(), type=_Cached)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None  # not there, or of an earlier version: read again
    return record.caption if record.identity == _identity(path) else None


def read_caption(annotation: str) -> Caption:
    """Read and parse one caption; never raises for what the file is."""
    from pipeline.data.annotation import Annotation

    path = Path(annotation)
    try:
        with Annotation(path) as file:
            texts = [text for name in ("caption", "captions") if (text := file.text(name)) is not None]
        if not texts:
            return Caption(parse_status="missing", error="the annotation has no caption")
        text = caption_json(texts[0], path.parent)
    except XopsError as error:
        return Caption(parse_status="failed", error=str(error))
    size = len(text.encode("utf-8", "replace"))
    try:
        return Caption(parse_status="ok", json_bytes=size, text=caption_text(json.loads(text)))
    except (ValueError, RecursionError) as error:
        return Caption(parse_status="failed", json_bytes=size, error=first_line(error))
