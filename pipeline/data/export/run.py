"""All episodes of an export, in processes; what was exported before stays as it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from pipeline.data.export.dataset import Part
from pipeline.data.export.episode import export_episode, identity_of
from pipeline.data.export.record import EpisodeRecord, read_record
from pipeline.data.export.settings import ExportTask, Settings
from pipeline.data.index.roots import refusal
from pipeline.data.manifest.record import ManifestEpisode
from pipeline.data.pool import run_pool
from pipeline.engine.log import Emit

#: Longest time that one episode may take, seconds; real ones take minutes.
LIMIT_S = 7_200.0


class Refused(Struct, frozen=True):
    """An entry of the manifest that cannot be worked on."""

    episode_path: str
    reason: str


def make_tasks(
    episodes: Sequence[ManifestEpisode],
    roots: Sequence[Path],
    work: Path,
    settings: Settings,
    *,
    threads: int = 1,
) -> tuple[list[ExportTask], list[Refused]]:
    """One task per episode, and the entries that cannot have one: no safe path, or an id seen before.

    Args:
        episodes: of the manifest.
        roots: where their paths begin; the first that has an episode counts.
        work: folder that survives attempts.
        settings: of the export.
        threads: of each decoder.
    """
    tasks: dict[str, ExportTask] = {}
    refused = []
    for entry in episodes:
        reason = refusal(entry.path) or refusal(entry.episode_path) or refusal(entry.episode_id)
        if not reason and "/" in entry.episode_id:
            reason = "an id is no path"
        if not reason and entry.episode_id in tasks:
            reason = f"episode id {entry.episode_id} appears a second time"
        if reason:
            refused.append(Refused(entry.episode_path, reason))
            continue
        folders = [root / entry.path for root in roots]
        tasks[entry.episode_id] = ExportTask(
            episode_id=entry.episode_id,
            episode_path=entry.episode_path,
            source_episode_id=entry.source_episode_id,
            split=entry.split,
            folder=str(next((folder for folder in folders if folder.is_dir()), folders[0])),
            target=str(work / "episodes" / entry.episode_id),
            progress=str(work / "progress" / f"{entry.episode_id}.json"),
            settings=settings,
            threads=threads,
        )
    return list(tasks.values()), refused


def export_all(
    tasks: Sequence[ExportTask],
    *,
    emit: Emit,
    workers: int = 0,
    check_cancelled: Callable[[], None] = lambda: None,
) -> tuple[list[Part], list[str]]:
    """Export every episode that was not exported before with the same files and settings.

    Args:
        tasks: one per episode.
        emit: told `export_progress` (episode, worker, step, window, windows, bytes, nulls) about twice a
            second per worker, and `episode_export_done` (episode, split, records, bytes, nulls, skipped,
            kept; done, total, unit) for each episode.
        workers: processes; 0 takes one per core.
        check_cancelled: called about twice a second; whatever it raises ends the work.

    Returns:
        All episodes, and the ids of those whose worker died or was too slow; they are skipped, and tried
        again by the next attempt.
    """
    parts: list[Part] = []

    def finish(task: ExportTask, record: EpisodeRecord, *, kept: bool) -> None:
        parts.append(Part(record, Path(task.target)))
        emit(
            "episode_export_done",
            done=len(parts),
            total=len(tasks),
            unit="episodes",
            episode=task.episode_id,
            split=task.split,
            records=len(record.rows),
            bytes=record.bytes,
            nulls=record.nulls,
            skipped=record.skipped,
            kept=kept,
        )

    todo = []
    for task in tasks:
        known = read_record(Path(task.target), identity_of(task))
        if known is None:
            todo.append(task)
        else:
            finish(task, known, kept=True)
    for task in todo:
        Path(task.progress).parent.mkdir(parents=True, exist_ok=True)
        Path(task.progress).unlink(missing_ok=True)
    notes, failed = _Notes(todo, emit), list[str]()

    def look() -> None:
        check_cancelled()
        notes.tell()

    for outcome in run_pool(export_episode, todo, workers=workers, limit_s=LIMIT_S, check_cancelled=look):
        task, record = outcome.item, outcome.result
        notes.tell()
        if record is None:
            failed.append(task.episode_id)
            record = EpisodeRecord(
                episode_id=task.episode_id, split=task.split, identity="", skipped=outcome.error
            )
        finish(task, record, kept=False)
    return parts, failed


class _Notes:
    """Passes on what workers note about how far they are."""

    def __init__(self, tasks: Sequence[ExportTask], emit: Emit) -> None:
        self._paths = [Path(task.progress) for task in tasks]
        self._emit = emit
        self._told: dict[Path, bytes] = {}

    def tell(self) -> None:
        """Emit every note that has changed."""
        for path in self._paths:
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                continue
            if data != self._told.get(path):
                self._told[path] = data
                note: dict[str, Any] = json.loads(data)
                self._emit("export_progress", **note)


def settings_from(params: Struct) -> Settings:
    """The settings among a stage's parameters, which have the same names."""
    wanted = {name: getattr(params, name) for name in Settings.__struct_fields__}
    return msgspec.convert(msgspec.to_builtins(wanted), Settings)
