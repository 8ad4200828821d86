"""What a stage gets to work with, and all it may use to speak to the engine.

The dispatcher builds one `StageContext` per attempt and passes it to `run(context)`. A stage reads
`params` and `upstream(...)`, writes below `out` (published as a whole on success) and `work` (kept, for
resuming), reports through `emit`, and collects gate checks. It never opens the run's own files.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipeline.engine.config import WorkspaceConfig
from pipeline.engine.errors import CancelledByOperatorError, NotReadyError
from pipeline.engine.gates import Check
from pipeline.engine.log import Emit
from pipeline.engine.paths import RunPaths, StagePaths, WorkspacePaths


class CancelFlag(threading.Event):
    """A `threading.Event` that also reads as a bool: `while not context.cancelled: ...`."""

    def __bool__(self) -> bool:
        return self.is_set()


@dataclass(frozen=True, slots=True)
class Artefact:
    """Something a stage made outside `out/`, such as a data root of hundreds of gigabytes.

    Attributes:
        role: what it is, as outputs.json and later stages call it.
        path: file or directory.
        level: `stat` records sizes and times of its files, `content` their sha256 as well.
    """

    role: str
    path: Path
    level: Literal["stat", "content"]


@dataclass(slots=True, kw_only=True)
class StageContext:
    """One attempt of one stage, as the stage sees it.

    Attributes:
        params: the stage's own `Params`, validated and frozen in run.toml.
        emit: writes one domain event to the stage's progress.jsonl.
        out: empty directory for this attempt's artefacts; published by rename as `out/` on success.
        work: directory that survives failed attempts; a resumed attempt continues from it.
        upstreams: stage name -> its published `out/`, this run's own or the one it was taken over from;
            for a sharded stage several, in shard order.
        workspace, run, paths: where everything is.
        attempt: number of this attempt, from 1.
        shard: (k, n) when this process does only rows k::n.
        config: the workspace's configuration (hosts, dataset).
        cancelled: true after SIGTERM; long loops either poll it or call `check_cancelled`.
        checks, artefacts: what `check`, `needs_signature` and `artefact` collected.
    """

    params: Any
    emit: Emit
    out: Path
    work: Path
    workspace: WorkspacePaths
    run: RunPaths
    paths: StagePaths
    upstreams: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    attempt: int = 1
    shard: tuple[int, int] | None = None
    config: WorkspaceConfig = field(default_factory=WorkspaceConfig)
    cancelled: CancelFlag = field(default_factory=CancelFlag)
    checks: list[Check] = field(default_factory=list)
    artefacts: list[Artefact] = field(default_factory=list)

    def upstream(self, stage: str) -> Path:
        """The published `out/` of a stage this one needs.

        Raises:
            NotReadyError: this stage does not declare that need, or the other has several shards
                (use `upstream_parts`).
        """
        parts = self.upstream_parts(stage)
        if len(parts) != 1:
            raise NotReadyError(
                f"stage {stage!r} has {len(parts)} shards, not one out/", hint="merge it first"
            )
        return parts[0]

    def upstream_parts(self, stage: str) -> tuple[Path, ...]:
        """The published `out/` of every shard of `stage`, in shard order; one path if it has no shards."""
        try:
            return self.upstreams[stage]
        except KeyError:
            raise NotReadyError(
                f"stage {stage!r} is not an input of this stage",
                hint=f"its inputs are: {', '.join(self.upstreams) or 'none'}",
            ) from None

    def check(self, name: str, ok: bool, detail: str, **evidence: Any) -> bool:
        """Record the answer to one question of the gate; returns `ok`."""
        self.checks.append(Check(name=name, ok=bool(ok), detail=detail, evidence=evidence))
        return bool(ok)

    def needs_signature(self, name: str, detail: str, **evidence: Any) -> None:
        """Record a question only a person can answer; the gate stays closed until somebody signs."""
        self.checks.append(Check(name=name, ok=None, detail=detail, evidence=evidence))

    def check_cancelled(self) -> None:
        """Raise CancelledByOperatorError if the attempt was asked to stop; call it between units of work."""
        if self.cancelled:
            raise CancelledByOperatorError("stopped as asked", hint=f"xops run resume {self.run.run_id}")

    def artefact(self, role: str, path: Path, *, level: Literal["stat", "content"] = "stat") -> None:
        """Register something made outside `out/`, so that outputs.json lists it."""
        self.artefacts.append(Artefact(role, path, level))


def loose_context(
    root: Path, params: Any, *, upstreams: Mapping[str, Path] | None = None, emit: Emit | None = None
) -> StageContext:
    """A context outside any engine process, below `root`: to try a stage by hand, and in tests.

    Events go to `emit`, or are dropped; `out` and `work` exist and are empty.
    """
    workspace = WorkspacePaths(root)
    run = workspace.run("loose")
    paths = run.stage("stage")
    for folder in (paths.out, paths.work):
        folder.mkdir(parents=True)
    return StageContext(
        params=params,
        emit=emit or _dropped,
        out=paths.out,
        work=paths.work,
        workspace=workspace,
        run=run,
        paths=paths,
        upstreams={name: (path,) for name, path in (upstreams or {}).items()},
    )


def _dropped(event: str, **fields: Any) -> None:
    """An `Emit` for callers that want no events."""
