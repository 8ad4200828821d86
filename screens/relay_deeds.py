"""What an operator can do to a relay from its screens: hold a side, change limits, send again, verify."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline.engine.acts import Act
from pipeline.engine.errors import NotReadyError, UsageError
from pipeline.engine.paths import RunPaths, WorkspacePaths
from pipeline.transfer.control import change_control, read_control
from screens.actions import BY_NAME, Target
from screens.deeds import Deed

#: Stages that follow a control file.
STEERED = ("relay", "transfer")


def relay_deed(workspace: WorkspacePaths, action: str, target: Target) -> Deed:
    """The deed behind one of `RELAY_ACTIONS`.

    Raises:
        NotReadyError: it makes no sense for what the cursor is on.
    """
    if target.snapshot is None:
        raise NotReadyError("no run is selected", hint="press 9 and choose one")
    run = workspace.run(target.snapshot.run_id)
    stage = next((row.stage for row in target.snapshot.rows if row.stage in STEERED), "")
    if not stage:
        raise NotReadyError("this run has no stage relay or transfer", hint="xops run new relay")
    made: dict[str, Callable[[RunPaths, str, Target], Deed]] = {
        "pause-download": lambda run, stage, _: _pause(run, stage, "download"),
        "pause-transfer": lambda run, stage, _: _pause(run, stage, "transfer"),
        "limits": _limits,
        "retry": _retry,
        "verify": lambda run, _, target: _verify(run, target, repair=False),
        "repair": lambda run, _, target: _verify(run, target, repair=True),
    }
    return made[action](run, stage, target)


def _pause(run: RunPaths, stage: str, side: str) -> Deed:
    paused = getattr(read_control(run.stage(stage)), f"{side}_paused")
    verb = "Let" if paused else "Hold"
    facts = (
        (f"goes on: the {side}",)
        if paused
        else (
            f"stands still: the {side}, until somebody lets it go on",
            "loses: nothing; what is on the way arrives",
        )
    )
    option = "--continue" if paused else "--pause"

    def perform(_: str, dry_run: bool) -> Act:
        changes: dict[str, Any] = {f"{side}_paused": not paused}
        change_control(run, stage, dry_run=dry_run, **changes)
        return _act(run, "limit", f"the {side} {'goes on' if paused else 'is held'}", dry_run)

    argv = ("xops", "relay", "limit", run.run_id, "--stage", stage, option, side)
    return Deed(f"{verb} the {side}{' go on' if paused else ''}?", facts, argv, verb, perform)


def _limits(run: RunPaths, stage: str, _: Target) -> Deed:
    now = read_control(run.stage(stage))
    cap = now.bandwidth_mib_per_s
    facts = (
        f"now: {now.lanes or 'as asked'} connections, cap {'as asked' if cap is None else f'{cap:g} MiB/s'}",
        "type connections and cap in MiB/s (0: no cap), for example: 6 50",
    )

    def perform(typed: str, dry_run: bool) -> Act:
        changes = _typed_limits(typed) if typed.strip() else {}
        change_control(run, stage, dry_run=dry_run, **changes)
        return _act(run, "limit", f"limits: {changes or 'unchanged'}", dry_run)

    argv = ("xops", "relay", "limit", run.run_id, "--stage", stage, "--lanes", "N", "--bandwidth-mib", "X")
    return Deed("Change the limits?", facts, argv, "Change", perform, asks="connections and cap")


def _typed_limits(text: str) -> dict[str, Any]:
    words = text.split()
    try:
        changes: dict[str, Any] = {"lanes": int(words[0])}
        if len(words) > 1:
            changes["bandwidth_mib_per_s"] = float(words[1])
    except (ValueError, IndexError):
        raise UsageError(f"{text!r} is no limit", hint="two numbers, for example: 6 50") from None
    return changes


def _retry(run: RunPaths, stage: str, target: Target) -> Deed:
    if not target.file:
        raise NotReadyError("no file is under the cursor", hint="press 3 and choose a chunk or a file")
    what = target.file if target.chunk is None else f"{target.file}:{target.chunk}"
    facts = (f"sends again: {what}", "loses: nothing; the file keeps its name until it is proved anew")

    def perform(_: str, dry_run: bool) -> Act:
        change_control(run, stage, retry=(target.file, target.chunk), dry_run=dry_run)
        return _act(run, "limit", f"asked to send {what} again", dry_run)

    argv = ("xops", "relay", "limit", run.run_id, "--stage", stage, "--retry", what)
    return Deed("Send this again?", facts, argv, "Send", perform)


def _verify(run: RunPaths, target: Target, *, repair: bool) -> Deed:
    facts = ["reads back: every file of the selection from the training host's disk"]
    if repair:
        facts.append("overwrites: the chunks that differ, after fetching the files again")

    def perform(_: str, dry_run: bool) -> Act:
        if dry_run:
            return _act(run, "repair" if repair else "verify", "would read everything back", dry_run)
        found = _checked(run, repair=repair)
        wrong = len(found.differences)
        told = f"{found.files} files read back: {wrong} differ" if wrong else f"{found.files} files are right"
        if wrong:
            told += f" (first: {found.differences[0].path}, {found.differences[0].kind})"
        if found.repaired:
            told += f"; repaired {len(found.repaired)}"
        return _act(run, "repair" if repair else "verify", told, dry_run)

    argv = BY_NAME["repair" if repair else "verify"].twin
    title = "Read back and repair?" if repair else "Read everything back?"
    word = "repair" if repair else ""
    return Deed(
        title,
        tuple(facts),
        argv(target) if argv else (),
        "Repair" if repair else "Verify",
        perform,
        asks=f"type {word}" if repair else "",
        expects=word,
    )


def _checked(run: RunPaths, *, repair: bool) -> Any:
    """Runs in the dialog's worker thread; the SSH library is loaded only now."""
    import asyncio
    import threading

    from pipeline.transfer.relay.check import check, open_relay_run

    def quiet(event: str, **fields: Any) -> None:
        """The dialog shows the result alone."""

    return asyncio.run(check(open_relay_run(run), repair=repair, emit=quiet, cancel=threading.Event()))


def _act(run: RunPaths, verb: str, message: str, dry_run: bool) -> Act:
    return Act(verb=verb, run_id=run.run_id, dry_run=dry_run, message=message)
