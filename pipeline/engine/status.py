"""Reading a run: the facts behind every state, from its files and from the process table.

`read_run` is the only reader of stage directories for front ends, planner and conductor. It changes
nothing, opens nothing for writing and imports no stage.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from pipeline.engine import records
from pipeline.engine.claim import Holder, holder
from pipeline.engine.errors import DamagedFileError, NotFoundError, XopsError
from pipeline.engine.fingerprint import Question, differences, digest_of, read_inputs, rescan
from pipeline.engine.gates import GateRecord, Verdict, read_gate
from pipeline.engine.outputs import read_digest, read_taken_from
from pipeline.engine.paths import AttemptPaths, RunPaths, StagePaths, WorkspacePaths, checked_name
from pipeline.engine.registry import Registry, StageSpec
from pipeline.engine.runs import Request, load_request
from pipeline.engine.state import AttemptInfo, Facts, StageState, StageStatus, combined, derive, explain

_TAIL_BYTES = 65536

#: Tokens of attempts whose processes are all gone: none of them can come back, so nobody looks again.
_extinct: set[str] = set()


class RunStatus(Struct, frozen=True, kw_only=True):
    """A run as it is now.

    Attributes:
        request: what was asked for.
        stages: in dependency order.
        conductor: who starts stage after stage for it; None if nobody does.
    """

    request: Request
    stages: tuple[StageStatus, ...]
    conductor: Holder | None = None

    def stage(self, name: str) -> StageStatus:
        """The status of one stage; NotFoundError if the run has none of that name."""
        for status in self.stages:
            if status.stage == name:
                return status
        known = ", ".join(status.stage for status in self.stages)
        raise NotFoundError(f"run {self.request.run_id} has no stage {name!r}", hint=f"it has: {known}")


def read_run(
    run: RunPaths,
    registry: Registry,
    *,
    request: Request | None = None,
    pending: frozenset[StagePaths] = frozenset(),
) -> RunStatus:
    """Derive the state of every stage of a run.

    Args:
        run: which run.
        registry: what its stages are; a stage it does not know is shown, but cannot be started.
        request: the run's request, if already loaded.
        pending: stages that a scheduler accepted and has not started.

    Raises:
        NotFoundError, ConfigError, UsageError: as `load_request`.
    """
    return _Reader(run, registry, request or load_request(run), pending).read()


def question_of(
    spec: StageSpec, request: Request, upstream: Mapping[str, StageStatus], shard: tuple[int, int] | None
) -> Question:
    """What the stage is asked in this run, as far as the run itself decides it (no external inputs)."""
    return Question(
        stage=spec.name,
        version=spec.version,
        params=request.params.get(spec.name, {}),
        dataset=request.dataset_identity,
        upstream={name: status.outputs for name, status in upstream.items()},
        shard=shard,
    )


Part = tuple[StagePaths, tuple[int, int] | None]


def list_parts(request: Request, run: RunPaths, stage: str) -> list[Part]:
    """The stage's directory, or those of its shards with their (k, n)."""
    paths = run.stage(stage)
    count = request.shards.get(stage, 1)
    return [(paths, None)] if count == 1 else [(paths.shard(k), (k, count)) for k in range(count)]


class _Reader:
    """One pass over a run, stages in dependency order, each reading the statuses of those before it."""

    def __init__(
        self,
        run: RunPaths,
        registry: Registry,
        request: Request,
        pending: frozenset[StagePaths],
        descendants: frozenset[str] = frozenset(),
    ) -> None:
        self._run = run
        self._registry = registry
        self._request = request
        self._pending = pending
        self._known: dict[str, StageStatus] = {}
        self._descendants = descendants | {run.run_id}
        self._source: RunStatus | None = None

    def read(self) -> RunStatus:
        for name in self._request.stages:
            self._known[name] = self._stage(self._spec(name))
        return RunStatus(
            request=self._request,
            stages=tuple(self._known.values()),
            conductor=holder(self._run.conductor.claim),
        )

    def _spec(self, name: str) -> StageSpec:
        known = self._registry.stages.get(name)
        return known or StageSpec(name=name, summary="not known to this version of xops", module="")

    def _stage(self, spec: StageSpec) -> StageStatus:
        parts = list_parts(self._request, self._run, spec.name)
        read = [self._part(spec, paths, shard) for paths, shard in parts]
        return read[0] if parts[0][1] is None else _whole(read)

    def _part(self, spec: StageSpec, paths: StagePaths, shard: tuple[int, int] | None) -> StageStatus:
        upstream = {name: self._known[name] for name in spec.needs if name in self._known}
        status = StageStatus(
            run_id=self._run.run_id,
            stage=spec.name,
            shard=None if shard is None else shard[0],
            state=StageState.READY,
            needs=tuple(upstream),
            waits_for=tuple(_closed(upstream)),
        )
        try:
            return self._fill(status, spec, paths, question_of(spec, self._request, upstream, shard))
        except DamagedFileError as error:
            return msgspec.structs.replace(status, state=StageState.LOST, reason=str(error))

    def _fill(
        self, status: StageStatus, spec: StageSpec, paths: StagePaths, question: Question
    ) -> StageStatus:
        # Life before outputs: one that ends in between has published by then, and is not taken for lost.
        attempts = paths.list_attempts()
        life = _Life.of(paths, attempts)
        history = tuple(_attempt_info(attempt) for attempt in attempts)
        origin, taken_from, gone = self._origin(paths)
        outputs = read_digest(origin.outputs)
        stale = gone or (_stale(origin, question) if outputs else ())
        # An attempt whose outputs were set aside is history: it says nothing about what to do now.
        counts = bool(attempts) and not attempts[-1].superseded.exists()
        quiet_s = _quiet(paths, history) if life.held else 0.0
        state = derive(
            Facts(
                held=life.held,
                led=life.led,
                cancel_asked=life.held and _cancel_asked(paths, attempts),
                quiet_s=quiet_s,
                stall_s=spec.stall_s,
                queued=paths in self._pending,
                complete=bool(outputs or gone),
                fresh=not stale,
                attempted=counts,
                outcome=history[-1].outcome if counts else "",
                needs_met=not status.waits_for,
            )
        )
        gate = read_gate(origin.gate) if outputs or not taken_from else None
        candidate = ""
        if not outputs and not life.held and self._request.source:
            candidate = self._candidate(question, status)
        return msgspec.structs.replace(
            status,
            state=state,
            reason=explain(state, history[-1] if history else None, life.holder, quiet_s)
            or _because(state, stale, status.waits_for, taken_from),
            attempts=history,
            holder=life.holder,
            pids=life.survivors,
            gate=gate,
            verdict=gate.verdict if gate else None,
            outputs=outputs,
            out=(str(origin.out),) if outputs else (),
            taken_from=taken_from,
            can_take_from=candidate,
            offered=read_digest(self._elsewhere(candidate, paths).outputs) if candidate else "",
            stale_because=stale,
            quiet_s=quiet_s,
        )

    def _origin(self, paths: StagePaths) -> tuple[StagePaths, str, tuple[str, ...]]:
        """Where the outputs in use are, the run that made them if another, and why they are not there."""
        taken = read_taken_from(paths.taken_from)
        if taken is None or paths.outputs.exists():
            return paths, "", ()
        origin = self._elsewhere(taken.run_id, paths)
        if read_digest(origin.outputs) == taken.outputs:
            return origin, taken.run_id, ()
        return origin, taken.run_id, (f"run {taken.run_id} no longer has the outputs taken over",)

    def _elsewhere(self, run_id: str, paths: StagePaths) -> StagePaths:
        """The same stage or shard in another run of the workspace."""
        other = RunPaths(self._run.root.parent / checked_name(run_id, what="run id"))
        return StagePaths(other.root / paths.root.relative_to(self._run.root))

    def _candidate(self, question: Question, status: StageStatus) -> str:
        """Id of the run that has answered exactly this question already; empty if none has.

        Upstream stages count with the outputs they could take over, so that a whole chain is recognised.
        """
        found = self._of_source(status.stage)
        if found is not None and status.shard is not None:
            found = next((part for part in found.shards if part.shard == status.shard), None)
        if found is None or found.state.active or found.state is StageState.STALE:
            return ""
        succeeded = found.run_id if found.state is StageState.SUCCEEDED else ""
        owner = found.taken_from or found.can_take_from or succeeded
        if not owner:
            return ""
        upstream = {name: self._known[name].outputs or self._known[name].offered for name in status.needs}
        folder = RunPaths(self._run.root.parent / owner).stage(status.stage)
        there = folder if status.shard is None else folder.shard(status.shard)
        return "" if _stale(there, msgspec.structs.replace(question, upstream=upstream)) else owner

    def _of_source(self, stage: str) -> StageStatus | None:
        """The stage in the run this one was made from; None if there is no such run or stage."""
        name = self._request.source
        if name in self._descendants:
            return None  # somebody edited two requests into a circle
        try:
            if self._source is None:
                run = WorkspacePaths(self._run.root.parent.parent).run(name)
                request = load_request(run)
                self._source = _Reader(run, self._registry, request, frozenset(), self._descendants).read()
            return self._source.stage(stage)
        except XopsError:
            return None


class _Life(Struct, frozen=True):
    """Who of an attempt is alive."""

    held: bool
    led: bool
    holder: Holder | None
    survivors: tuple[int, ...]

    @classmethod
    def of(cls, paths: StagePaths, attempts: list[AttemptPaths]) -> _Life:
        who = holder(paths.claim)
        last = attempts[-1] if attempts else None
        record = records.read_process(last) if last and (who or not last.exit.exists()) else None
        if record is None:
            return cls(who is not None, True, who, ())
        main = record.main.alive()
        if main is not False or (who is not None and who.identity.alive() is not False):
            return cls(who is not None or main is True, True, who, ())
        left = _survivors(record)
        return cls(who is not None or bool(left), False, who, left)


def _survivors(record: records.ProcessRecord) -> tuple[int, ...]:
    if record.token in _extinct:
        return ()
    left = tuple(record.survivors())
    if not left:
        _extinct.add(record.token)
    return left


def _closed(upstream: Mapping[str, StageStatus]) -> Iterator[str]:
    for name, status in upstream.items():
        if status.state is not StageState.SUCCEEDED:
            yield f"{name} ({status.state})"
        elif not status.done:
            yield f"gate of {name} ({status.verdict})"


def _stale(origin: StagePaths, question: Question) -> tuple[str, ...]:
    """What changed between the question the outputs answered and `question`."""
    record = read_inputs(origin.inputs)
    if record is None:
        return ("there is no record of what its outputs were made from",)
    now = msgspec.structs.replace(question, external=rescan(record.question.external))
    return () if now.digest == record.fingerprint else differences(record.question, now)


def _attempt_info(paths: AttemptPaths) -> AttemptInfo:
    try:
        process, ended = records.read_process(paths), records.read_exit(paths)
    except DamagedFileError as error:
        return AttemptInfo(number=paths.number, message=str(error))
    started = process.started if process else None
    if ended is None:
        return AttemptInfo(number=paths.number, started=started)
    return AttemptInfo(
        number=paths.number,
        started=started,
        ended=ended.ended,
        outcome=ended.outcome,
        rc=ended.rc,
        message=ended.message,
        hint=ended.hint,
        max_rss_mb=ended.max_rss_mb,
        cpu_s=ended.cpu_s,
        orphans_killed=ended.orphans_killed,
    )


def _quiet(paths: StagePaths, history: tuple[AttemptInfo, ...]) -> float:
    """Seconds since the last domain event; a clock that jumped back gives 0."""
    last = (history[-1].started or 0.0) if history else 0.0
    for entry in os.scandir(paths.root):
        if entry.name.startswith("progress.") and entry.name.endswith(".jsonl"):
            last = max(last, entry.stat().st_mtime)
    return max(0.0, time.time() - last) if last else 0.0


def _cancel_asked(paths: StagePaths, attempts: list[AttemptPaths]) -> bool:
    """Whether the last engine event of the last attempt, heartbeats aside, is a cancellation."""
    for event in reversed(_last_events(paths.events)):
        if event.get("event") != "heartbeat":
            return bool(event.get("event") == "stage_cancel" and event.get("attempt") == attempts[-1].number)
    return False


def _last_events(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            lines = file.read(_TAIL_BYTES).splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue  # the first line of the window is usually half a line
    return [event for event in found if isinstance(event, dict)]


def _because(state: StageState, stale: tuple[str, ...], waits: tuple[str, ...], taken_from: str) -> str:
    if state is StageState.STALE:
        return "; ".join(stale)
    if state is StageState.BLOCKED:
        return f"waits for {', '.join(waits)}"
    if state is StageState.SUCCEEDED and taken_from:
        return f"taken over from run {taken_from}"
    return ""


def _whole(shards: list[StageStatus]) -> StageStatus:
    """One status for a split stage."""
    state = combined([shard.state for shard in shards])
    first = next(shard for shard in shards if shard.state is state)
    done = sum(shard.state is StageState.SUCCEEDED for shard in shards)
    complete = done == len(shards)
    answers = [shard.outputs or shard.offered for shard in shards]
    verdicts = [shard.verdict for shard in shards if shard.verdict is not None]
    order = [Verdict.FAIL, Verdict.UNSIGNED, Verdict.WAIVED, Verdict.PASS]
    reason = f"{done} of {len(shards)} shards done"
    if first.reason and not complete:
        reason += f"; shard {first.shard}: {first.reason}"
    return msgspec.structs.replace(
        first,
        shard=None,
        reason=reason,
        attempts=tuple(sorted((a for s in shards for a in s.attempts), key=lambda a: a.started or 0.0)),
        gate=_joined_gate(shards),
        verdict=min(verdicts, key=order.index) if verdicts else None,
        outputs=digest_of([shard.outputs for shard in shards]) if complete else "",
        out=tuple(path for shard in shards for path in shard.out) if complete else (),
        can_take_from=next((s.can_take_from for s in shards if s.can_take_from), ""),
        offered=digest_of(answers) if all(answers) and not complete else "",
        shards=tuple(shards),
    )


def _joined_gate(shards: list[StageStatus]) -> GateRecord | None:
    """The checks of all shards in one list, for display; decisions stay with the shards."""
    gates = [(shard.shard, shard.gate) for shard in shards if shard.gate is not None]
    if not gates:
        return None
    checks = [
        msgspec.structs.replace(check, name=f"{check.name}[{index}]")
        for index, gate in gates
        for check in gate.checks
    ]
    return msgspec.structs.replace(gates[-1][1], checks=tuple(checks), decisions=())
