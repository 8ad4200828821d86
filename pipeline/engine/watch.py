"""What `xops watch` prints: every log below some paths as one JSON object, each run counted once.

    {"schema": 1, "logs": [...], "groups": [...], "texts": [...], "skipped": [...]}

Copies: logs with the same bytes are one log. The original is, in this order: not inside a package of
published results, named `progress.jsonl`, in a directory named like its run, the least deep, the first by
name; the others carry its path in `duplicate_of`. Empty logs are no copies of each other.

Groups: ranks (`progress_rank<k>.jsonl` of one directory) and shards (rows that announce a stride, or
directories `<run>_shard<k>` and `shards/<k>`) are parts of one evaluation or training. A group counts no
copy, and is complete only when all parts that the rows announce are there and complete.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import Any, Literal

import msgspec

from pipeline.engine.attempt import Terminal
from pipeline.engine.discover import Skipped
from pipeline.engine.errors import NotFoundError
from pipeline.engine.families import Family
from pipeline.engine.logview import LogView
from pipeline.engine.store import Store
from pipeline.engine.textlog import TextLog, read_end

SCHEMA = 1

_RANK = re.compile(r"^progress[._]rank(\d+)\.jsonl$")
_SHARD_SUFFIX = re.compile(r"_shard_?(\d+)$")
_PACKAGES = frozenset({"verified_public", "pkg", "package", "packages"})


class WatchedLog(LogView, frozen=True, kw_only=True):
    """A log in the answer: its view, and the log it is a copy of, if it is one."""

    duplicate_of: str | None = None


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Ranks or shards of one run.

    Attributes:
        run_id: the run they are parts of.
        family, kind: what they are.
        paths: the logs, in order of their numbers.
        expected: how many parts the rows announce, None if they do not.
        missing: numbers of announced parts without a log.
        done, total, unit: sums over the parts; total is None while a part does not know its own.
        terminal: `failed` if a part failed, `complete` if all are there and complete.
        first_time, last_time: Unix seconds.
    """

    run_id: str
    family: Family
    kind: Literal["ranks", "shards"]
    paths: tuple[str, ...]
    expected: int | None
    missing: tuple[int, ...]
    done: int | float | None
    total: int | float | None
    unit: str | None
    terminal: Terminal
    first_time: float | None
    last_time: float | None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Everything below the given paths; see the module's text."""

    schema: int = SCHEMA
    logs: tuple[WatchedLog, ...] = ()
    groups: tuple[Group, ...] = ()
    texts: tuple[TextLog, ...] = ()
    skipped: tuple[Skipped, ...] = ()


def summarise(paths: Iterable[Path], *, remember: bool = False) -> dict[str, Any]:
    """Read everything below `paths` once; the answer as plain JSON values.

    Raises:
        NotFoundError: one of the paths does not exist.
    """
    store = open_store(paths, remember=remember)
    store.catch_up()
    for log in store:
        log.finish()
    if remember:
        store.remember()
    answer: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(summary_of(store)))
    for log in answer["logs"]:
        del log["curves"]
    return answer


def open_store(paths: Iterable[Path], *, remember: bool = False) -> Store:
    """A store over `paths`, each of which must exist.

    Raises:
        NotFoundError: one does not.
    """
    roots = list(paths)
    for root in roots:
        try:
            root.expanduser().lstat()
        except FileNotFoundError:
            raise NotFoundError(f"no such file or directory: {root}", hint="xops watch --help") from None
        except OSError:
            continue  # exists but cannot be looked at; recorded as skipped
    return Store(roots, remember=remember)


def summary_of(store: Store) -> Summary:
    """The summary of a store as far as it has been read."""
    views = store.views()
    originals = find_copies(views)
    logs = tuple(_watched(view, originals.get(i)) for i, view in enumerate(views))
    texts = tuple(
        msgspec.structs.replace(read_end(root / path, 1), path=str(path)) for root, path in store.texts
    )
    return Summary(logs=logs, groups=tuple(group_parts(logs)), texts=texts, skipped=tuple(store.skipped))


def _watched(view: LogView, original: LogView | None) -> WatchedLog:
    fields = {name: getattr(view, name) for name in LogView.__struct_fields__}
    return WatchedLog(**fields, duplicate_of=original.path if original else None)


def find_copies(views: Sequence[LogView]) -> dict[int, LogView]:
    """Index of each copy -> its original. Only logs of equal size and rows are compared byte by byte."""
    alike: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for i, view in enumerate(views):
        if view.size and not view.problem:
            alike[view.size, view.rows, view.first_time, view.last_event].append(i)
    copies: dict[int, LogView] = {}
    for candidates in alike.values():
        if len(candidates) < 2:
            continue
        same: dict[bytes, list[int]] = defaultdict(list)
        for i in candidates:
            digest = _digest(Path(views[i].root) / views[i].path)
            if digest is not None:
                same[digest].append(i)
        for group in same.values():
            first, *others = sorted(group, key=lambda i: _originality(views[i]))
            copies.update((i, views[first]) for i in others)
    return copies


def _originality(view: LogView) -> tuple[object, ...]:
    path = PurePath(view.path)
    return (
        any(part in _PACKAGES for part in path.parts),
        path.name != "progress.jsonl",
        view.run_id not in path.parts,
        len(path.parts),
        view.path,
        view.root,
    )


def _digest(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").digest()
    except OSError:
        return None


def group_parts(logs: Iterable[WatchedLog]) -> list[Group]:
    """Ranks and shards put together, by run."""
    parts: dict[tuple[str, str, str, str], dict[int, WatchedLog]] = defaultdict(dict)
    first_ranks: dict[tuple[str, str, str, str], WatchedLog] = {}
    for log in logs:
        if log.duplicate_of is not None:
            continue
        directory = str((PurePath(log.root) / log.path).parent)
        if PurePath(log.path).name == "progress.jsonl":
            first_ranks["ranks", directory, log.run_id, log.family] = log
        place = _part_of(log)
        if place is not None:
            kind, owner, run_id, number = place
            parts[kind, owner or directory, run_id, log.family].setdefault(number, log)
    for key, found in parts.items():  # our rank 0 writes progress.jsonl itself
        if key in first_ranks:
            found.setdefault(0, first_ranks[key])
    return [_group(key[0], key[2], dict(sorted(found.items()))) for key, found in sorted(parts.items())]


def _part_of(log: LogView) -> tuple[str, str, str, int] | None:
    """(kind, what tells groups apart, run id, number) if the log is a part of something.

    An empty second value stands for the log's directory.
    """
    path = PurePath(log.path)
    rank = _RANK.match(path.name)
    if rank:
        return "ranks", "", log.run_id, int(log.facts.get("process_index", int(rank[1])))
    if len(path.parts) >= 3 and path.parts[-3] == "shards" and path.parts[-2].isdecimal():
        return "shards", str(PurePath(log.root) / path.parent.parent), log.run_id, int(path.parts[-2])
    shard = _SHARD_SUFFIX.search(log.run_id)
    stride = int(log.facts.get("sample_stride", 0))
    if stride > 1 or (shard and log.family in ("eval", "fd_eval")):
        run_id = log.run_id[: shard.start()] if shard else log.run_id
        return (
            "shards",
            f"stride {stride}",
            run_id,
            int(log.facts.get("sample_offset", int(shard[1]) if shard else 0)),
        )
    return None


def _group(kind: str, run_id: str, parts: dict[int, WatchedLog]) -> Group:
    logs = list(parts.values())
    announced = [
        int(log.facts.get("num_processes" if kind == "ranks" else "sample_stride", 0)) for log in logs
    ]
    expected = max(announced, default=0) or None
    missing = tuple(k for k in range(min(expected or 0, 4096)) if k not in parts)
    return Group(
        run_id=run_id,
        family=logs[0].family,
        kind="ranks" if kind == "ranks" else "shards",
        paths=tuple(log.path for log in logs),
        expected=expected,
        missing=missing,
        done=sum(log.done or 0 for log in logs),
        total=_sum([log.total for log in logs]) if not missing else None,
        unit=logs[0].unit,
        terminal=_together([log.terminal for log in logs], whole=not missing),
        first_time=min((log.first_time for log in logs if log.first_time is not None), default=None),
        last_time=max((log.last_time for log in logs if log.last_time is not None), default=None),
    )


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _together(ends: Sequence[Terminal], *, whole: bool) -> Terminal:
    if "failed" in ends:
        return "failed"
    return "complete" if whole and set(ends) == {"complete"} else "none"
