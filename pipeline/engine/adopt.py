"""Foreign result trees as runs: read-only, nothing is rewritten, nothing is guessed.

A foreign run is scattered over directories: training, evaluation, watchers and launchers, each with an id
of its own. They are joined only where a row says that they belong together: a watcher names the training
and the evaluation it waits for, a trainer names the evaluation it ran. Equal ids belong together as well;
similar ids do not. A data set shared by many runs joins nothing; it is an attribute.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath

import msgspec

from pipeline.engine.attempt import Terminal
from pipeline.engine.families import Family, stage_of_path
from pipeline.engine.watch import Group, Summary, WatchedLog

STAGE_OF: Mapping[Family, str] = {
    "train": "train",
    "fd_train": "train",
    "future_window": "train",
    "eval": "eval",
    "fd_eval": "eval",
    "watcher": "watch",
    "package_watcher": "package",
    "launcher": "launch",
    "pipeline": "pipeline",
    "relay": "relay",
    "transfer": "transfer",
    "unknown": "other",
}

#: Stages in the order a run goes through them.
ORDER = ("relay", "transfer", "pipeline", "launch", "train", "watch", "eval", "package", "other")

#: Roles of one run's parts. The data set is not among them: many runs share it.
_JOINING = ("train_run_id", "eval_run_id", "eval_smoke_run_id")


class AdoptedStage(msgspec.Struct, frozen=True, kw_only=True):
    """One stage of a foreign run.

    Attributes:
        name: stage as our runs call it, as far as there is one.
        run_id: the id its own rows carry.
        terminal: how it ended; of several logs the one written last decides, of ranks and shards all.
        done, total, unit: progress.
        logs: its logs, without copies.
        group: the merged ranks or shards, if it has them.
    """

    name: str
    run_id: str
    terminal: Terminal
    done: int | float | None
    total: int | float | None
    unit: str | None
    logs: tuple[WatchedLog, ...]
    group: Group | None


class AdoptedRun(msgspec.Struct, frozen=True, kw_only=True):
    """One foreign run.

    Attributes:
        run_id: the training's id, or that of its earliest part.
        dataset_run_id: the data set the rows name, if they do.
        stages: in the order of `ORDER`, then by time.
        first_time, last_time: Unix seconds.
    """

    run_id: str
    dataset_run_id: str | None
    stages: tuple[AdoptedStage, ...]
    first_time: float | None
    last_time: float | None


def adopt(summary: Summary) -> list[AdoptedRun]:
    """The foreign runs of a summary, newest first; logs of our own run directories are left out."""
    logs = [log for log in summary.logs if log.duplicate_of is None and not _is_ours(log)]
    groups = {path: group for group in summary.groups for path in group.paths}
    owner = _join(logs, groups)
    by_run: dict[str, list[WatchedLog]] = defaultdict(list)
    for log in logs:
        by_run[owner[_id_of(log, groups)]].append(log)
    runs = [_run(found, groups) for found in by_run.values()]
    return sorted(runs, key=lambda run: (-(run.last_time or 0.0), run.run_id))


def _is_ours(log: WatchedLog) -> bool:
    return stage_of_path(PurePath(log.root) / log.path) is not None


def _id_of(log: WatchedLog, groups: Mapping[str, Group]) -> str:
    return groups[log.path].run_id if log.path in groups else log.run_id


def _join(logs: Iterable[WatchedLog], groups: Mapping[str, Group]) -> dict[str, str]:
    """Every run id -> the id that stands for all it is joined with."""
    stands_for: dict[str, str] = {}

    def find(name: str) -> str:
        stands_for.setdefault(name, name)
        while stands_for[name] != name:
            name = stands_for[name]
        return name

    for log in logs:
        own = find(_id_of(log, groups))
        for role in _JOINING:
            if role in log.names:
                stands_for[find(log.names[role])] = find(own)
    return {name: find(name) for name in list(stands_for)}


def _run(logs: list[WatchedLog], groups: Mapping[str, Group]) -> AdoptedRun:
    stages = sorted(_stages(logs, groups), key=lambda s: (ORDER.index(s.name), s.logs[0].first_time or 0.0))
    named = next((log.names["train_run_id"] for log in logs if "train_run_id" in log.names), None)
    trained = next((stage.run_id for stage in stages if stage.name == "train"), None)
    firsts = [log.first_time for log in logs if log.first_time is not None]
    lasts = [log.last_time for log in logs if log.last_time is not None]
    return AdoptedRun(
        run_id=trained or named or stages[0].run_id,
        dataset_run_id=next(
            (log.names["dataset_run_id"] for log in logs if "dataset_run_id" in log.names), None
        ),
        stages=tuple(stages),
        first_time=min(firsts, default=None),
        last_time=max(lasts, default=None),
    )


def _stages(logs: Iterable[WatchedLog], groups: Mapping[str, Group]) -> Iterator[AdoptedStage]:
    found: dict[tuple[str, str], list[WatchedLog]] = defaultdict(list)
    for log in logs:
        found[STAGE_OF[log.family], _id_of(log, groups)].append(log)
    for (name, run_id), parts in found.items():
        last = max(parts, key=lambda log: log.last_time or 0.0)
        group = groups.get(last.path)
        source = group or last
        yield AdoptedStage(
            name=name,
            run_id=run_id,
            terminal=source.terminal,
            done=source.done,
            total=source.total,
            unit=source.unit,
            logs=tuple(parts),
            group=group,
        )
