"""A person's word on a gate: waivers and signatures, each bound to the evidence it was given for."""

from __future__ import annotations

import time

import msgspec

from pipeline.engine.acts import Act, part_name, parts_of, recorded
from pipeline.engine.claim import Claim
from pipeline.engine.errors import GateError, NotFoundError, NotReadyError, UsageError
from pipeline.engine.gates import Decision, GateRecord, Verdict, publish_gate, read_gate
from pipeline.engine.journal import operator
from pipeline.engine.paths import RunPaths, StagePaths
from pipeline.engine.registry import Registry
from pipeline.engine.status import read_run


def waive(
    run: RunPaths, registry: Registry, stage: str, *, why: str, dry_run: bool = False, who: str = ""
) -> Act:
    """Let what follows start although the gate of `stage` has not passed, for exactly this evidence.

    Raises:
        GateError: this gate cannot be waived.
        UsageError: no reason is given.
        NotReadyError: the gate needs no waiver.
        NotFoundError: the stage has no gate record yet.
    """
    return _decide("waive", run, registry, stage, why=why, dry_run=dry_run, who=who)


def sign(
    run: RunPaths,
    registry: Registry,
    stage: str,
    *,
    why: str,
    evidence: str = "",
    dry_run: bool = False,
    who: str = "",
) -> Act:
    """Confirm, as a person, what the gate of `stage` cannot decide by itself.

    `why` says what was looked at and found. `evidence`, the digest of the checks the person saw
    (`GateRecord.digest`), must still hold if it is given.

    Raises:
        GateError: a check has failed (a signature does not heal that), or the evidence has changed.
        UsageError, NotReadyError, NotFoundError: as `waive`.
    """
    return _decide("sign", run, registry, stage, why=why, dry_run=dry_run, who=who, evidence=evidence)


def _decide(
    verb: str,
    run: RunPaths,
    registry: Registry,
    stage: str,
    *,
    why: str,
    dry_run: bool,
    who: str,
    evidence: str = "",
) -> Act:
    who = who or operator()
    with recorded(run, verb, dry_run, who, stage) as detail:
        if not why.strip():
            raise UsageError(f"a reason is required to {verb} the gate of {stage}", hint="--why '...'")
        status = read_run(run, registry)
        found = status.stage(stage)
        if found.taken_from:
            hint = f"xops gate {verb} {found.taken_from} {stage}"
            raise UsageError(f"{stage} was taken over; its gate belongs to run {found.taken_from}", hint=hint)
        decided = []
        for paths, part in parts_of(run, status, found):
            gate = part.gate
            if gate is None:
                raise NotFoundError(
                    f"{part_name(part)} has no gate record yet", hint=f"xops run show {run.run_id}"
                )
            if gate.verdict.open and len(found.shards) > 1:
                continue
            _require_decidable(verb, stage, gate, registry.stage(stage).waivable, evidence)
            decided.append(gate.digest)
            if not dry_run:
                _add_decision(paths, gate, verb, who=who, why=why)
        detail.update(why=why, evidence=decided)
        message = f"{'would ' * dry_run}{verb} the gate of {stage}: {why}"
        return Act(verb=verb, run_id=run.run_id, dry_run=dry_run, message=message)


def _require_decidable(verb: str, stage: str, gate: GateRecord, waivable: bool, evidence: str) -> None:
    if gate.verdict.open:
        raise NotReadyError(f"the gate of {stage} is already open ({gate.verdict})")
    if verb == "waive" and not (waivable and gate.waivable):
        raise GateError(
            f"the gate of {stage} cannot be waived", hint="mend what it found and run the stage again"
        )
    if verb == "sign" and gate.verdict is Verdict.FAIL:
        failed = ", ".join(check.name for check in gate.checks if check.ok is False)
        raise GateError(f"the gate of {stage} has failed checks ({failed}); a signature does not change that")
    if evidence and evidence != gate.digest:
        raise GateError(
            f"the evidence of {stage} is not what was looked at", hint="look again, then sign again"
        )


def _add_decision(paths: StagePaths, seen: GateRecord, kind: str, *, who: str, why: str) -> None:
    """Append to gate.json under the stage's claim, so that no attempt replaces the evidence meanwhile."""
    with Claim(paths.claim, what=f"the gate of {seen.stage}", hint="wait until the stage has ended"):
        gate = read_gate(paths.gate)
        if gate is None or gate.digest != seen.digest:
            raise GateError(f"the evidence of {seen.stage} has just changed", hint="look again")
        decision = Decision(kind=kind, who=who, why=why, when=time.time(), digest=gate.digest)
        publish_gate(paths.gate, msgspec.structs.replace(gate, decisions=(*gate.decisions, decision)))
