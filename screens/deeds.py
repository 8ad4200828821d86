"""What the dialogs offer to do: each deed says what it stops, loses and keeps, and which command is its twin.

A deed is made from what the operator looks at; performing it goes through the engine, which looks again.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from pipeline.engine.acts import Act
from pipeline.engine.claim import spoken_seconds
from pipeline.engine.decisions import sign, waive
from pipeline.engine.errors import NotReadyError
from pipeline.engine.gates import Check, Verdict
from pipeline.engine.journal import operator
from pipeline.engine.operations import cancel, invalidate, reap, start
from pipeline.engine.paths import RunPaths, WorkspacePaths
from pipeline.engine.registry import Registry
from pipeline.engine.state import StageState, StageStatus
from screens.actions import BY_NAME, Argv, Target

#: Acts on a relay; `screens.relay_deeds` knows how.
RELAY_ACTIONS = ("pause-download", "pause-transfer", "limits", "retry", "verify", "repair")


@dataclass(frozen=True, slots=True)
class Deed:
    """One act, ready to be confirmed.

    Attributes:
        title: the question.
        facts: what is stopped, lost, kept; one sentence each.
        argv: the command that does the same.
        button: the word for doing it.
        perform: does it, or with `dry_run` says what it would do; takes the text typed.
        asks: what must be typed; empty for nothing.
        expects: the only text accepted; empty for any that is not blank.
    """

    title: str
    facts: tuple[str, ...]
    argv: Argv
    button: str
    perform: Callable[[str, bool], Act]
    asks: str = ""
    expects: str = ""

    def twin(self, typed: str = "") -> Argv:
        """The command with what was typed in the place of the dots."""
        return tuple(typed if word == "..." and typed else word for word in self.argv)

    def accepts(self, typed: str) -> bool:
        """Whether it can be done with this text."""
        if not self.asks:
            return True
        return typed == self.expects if self.expects else bool(typed.strip())


@dataclass(frozen=True, slots=True)
class Hands:
    """What deeds are done with: a workspace and its table of stages."""

    workspace: WorkspacePaths
    registry: Registry

    def deed(self, action: str, target: Target) -> Deed:
        """The deed behind an action.

        Raises:
            NotReadyError: it makes no sense for what the cursor is on.
        """
        if target.snapshot is None:
            raise NotReadyError("no run is selected", hint="xops run new RECIPE")
        run = self.workspace.run(target.snapshot.run_id)
        if action in RELAY_ACTIONS:
            from screens.relay_deeds import relay_deed

            return relay_deed(self.workspace, action, target)
        if action == "quarantine":
            return self._quarantine(target)
        if action == "run-all":
            return self._start(run, target, "")
        if target.stage is None:
            raise NotReadyError("no stage is selected", hint="press 1 and choose one")
        made: dict[str, Callable[[RunPaths, Target, StageStatus], Deed]] = {
            "run": lambda run, target, stage: self._start(run, target, stage.stage),
            "stop": self._stop,
            "kill": self._kill,
            "decide": self._decide,
            "invalidate": self._invalidate,
        }
        return made[action](run, target, target.stage)

    def _quarantine(self, target: Target) -> Deed:
        if not target.episode:
            raise NotReadyError("no episode is under the cursor", hint="press D and choose one")
        path, episode = self.workspace.root / "quarantine.jsonl", target.episode
        run_id = target.run_id

        def perform(typed: str, dry_run: bool) -> Act:
            if not dry_run:
                # By name: the console must not reach what reads episodes, and this module lies beside it.
                module = importlib.import_module("pipeline.data.qa.quarantine")
                module.record_act(path, episode, "out", reason=typed, who=operator())
            told = f"{episode} is taken out; the next discover skips it"
            return Act(verb="quarantine", run_id=run_id, dry_run=dry_run, message=told)

        facts = (
            f"takes out: {episode}, from the next run of discover on",
            "keeps: its files, and what earlier stages made of it",
        )
        return Deed(
            f"Take out {episode}?", facts, _twin("quarantine", target), "Take out", perform, asks="the reason"
        )

    def _start(self, run: RunPaths, target: Target, until: str) -> Deed:
        def perform(_: str, dry_run: bool) -> Act:
            return start(run, self.registry, until=until, dry_run=dry_run)

        name = "run" if until else "run-all"
        title = f"Run up to {until}?" if until else "Run everything that is left?"
        return Deed(title, (), _twin(name, target), "Start", perform)

    def _stop(self, run: RunPaths, target: Target, stage: StageStatus) -> Deed:
        if not stage.state.active:
            raise NotReadyError(f"{stage.stage} is {stage.state}, it does not run")
        grace = self.registry.stage(stage.stage).grace_s
        facts = (
            f"stops: {stage.stage}, {_held(stage)}",
            f"keeps: what it saves within {spoken_seconds(grace)}; a resume goes on from there",
            "loses: nothing that it has saved",
        )

        def perform(_: str, dry_run: bool) -> Act:
            return cancel(run, self.registry, stage.stage, dry_run=dry_run)

        return Deed(f"Stop {stage.stage}?", facts, _twin("stop", target), "Stop", perform)

    def _kill(self, run: RunPaths, target: Target, stage: StageStatus) -> Deed:
        if not stage.state.active:
            raise NotReadyError(f"{stage.stage} is {stage.state}, there is nothing to kill")
        orphaned = stage.state is StageState.ORPHANED
        who = f"{len(stage.pids)} processes left by a dead attempt" if orphaned else _held(stage)
        facts = (
            f"kills: {stage.stage}, {who}",
            "loses: its work since it last saved",
            "keeps: outputs already published, saved work and the history",
        )

        def perform(_: str, dry_run: bool) -> Act:
            if orphaned:
                return reap(run, self.registry, stage.stage, dry_run=dry_run)
            return cancel(run, self.registry, stage.stage, force=True, dry_run=dry_run)

        asks = f"type the run's name, {run.run_id}"
        return Deed(
            f"Kill {stage.stage}?",
            facts,
            _twin("kill", target),
            "Kill",
            perform,
            asks=asks,
            expects=run.run_id,
        )

    def _decide(self, run: RunPaths, target: Target, stage: StageStatus) -> Deed:
        gates = [part.gate for part in stage.shards or (stage,) if part.gate is not None]
        if not gates or stage.verdict is None:
            raise NotReadyError(f"{stage.stage} has no gate record")
        if stage.verdict.open:
            raise NotReadyError(f"the gate of {stage.stage} is already open ({stage.verdict})")
        facts = tuple(_said(check) for gate in gates for check in gate.checks if check.ok is not True)
        if stage.verdict is Verdict.UNSIGNED:
            digest = gates[0].digest if len(gates) == 1 else ""
            decide = partial(sign, run, self.registry, stage.stage, evidence=digest)
            title, button, asks = f"Sign the gate of {stage.stage}?", "Sign", "what was looked at and found"
        else:
            decide = partial(waive, run, self.registry, stage.stage)
            title, button, asks = (
                f"Waive the gate of {stage.stage}?",
                "Waive",
                "why it may go on all the same",
            )

        def perform(typed: str, dry_run: bool) -> Act:
            return decide(why=typed or ("..." if dry_run else ""), dry_run=dry_run)

        held = "keeps: checks and every earlier decision; this one holds for exactly this evidence"
        return Deed(title, (*facts, held), _twin("decide", target), button, perform, asks=asks)

    def _invalidate(self, run: RunPaths, target: Target, stage: StageStatus) -> Deed:
        facts = (
            f"moves aside: outputs, gate and saved work of {stage.stage}",
            "stale: every stage that used these outputs",
            "keeps: everything; nothing is deleted",
        )

        def perform(_: str, dry_run: bool) -> Act:
            return invalidate(run, self.registry, stage.stage, dry_run=dry_run)

        title = f"Do {stage.stage} again?"
        return Deed(title, facts, _twin("invalidate", target), "Move aside", perform)


def _twin(action: str, target: Target) -> Argv:
    twin = BY_NAME[action].twin
    return twin(target) if twin else ()


def _held(stage: StageStatus) -> str:
    return f"held by {stage.holder}" if stage.holder else f"{stage.state}"


def _said(check: Check) -> str:
    return f"{'wants a signature' if check.ok is None else 'failed'}: {check.name}: {check.detail}"
