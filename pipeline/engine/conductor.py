"""The conductor: starts stage after stage of one run, so that a chain outlives the terminal.

    python -P -m pipeline.engine.conductor RUN_DIR [--until STAGE | --only A,B]

It runs under a supervisor of its own in `<run>/conductor/`, which gives it a claim, a history and a record
of its end. It does whatever `plan` says is due, waits for what runs, and stops at the first closed gate or
failed stage; one that died and declares `retries` is first started again that often. Cancelling it leaves the
stages alone.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from pipeline.engine.errors import CancelledByOperatorError, ExitCode, GateError, StageFailedError, XopsError
from pipeline.engine.log import Emit, EventWriter
from pipeline.engine.operations import do_steps
from pipeline.engine.paths import RunPaths
from pipeline.engine.plan import Action, Step, plan
from pipeline.engine.records import ENV_REPORT
from pipeline.engine.registry import Registry, load_registry
from pipeline.engine.state import StageState, StageStatus
from pipeline.engine.status import RunStatus, read_run

#: How often it looks at the stages it waits for, in seconds.
POLL_S = 0.25


def conduct(
    run: RunPaths,
    registry: Registry,
    *,
    until: str,
    only: Collection[str],
    emit: Emit,
    stop: threading.Event,
) -> None:
    """Return when everything asked for is done.

    Raises:
        StageFailedError: a stage failed while the conductor watched.
        GateError: a gate is closed, or something else that only a person can change is in the way.
        CancelledByOperatorError: `stop` was set.
    """
    begun: set[str] = set()
    again: Counter[str] = Counter()
    while True:
        status = read_run(run, registry)
        steps = plan(status.stages, registry.stages, until=until, only=only)
        due = [step for step in steps if step.due]
        for step in due:
            if step.action is Action.RESUME and step.stage in begun:
                again[step.stage] += 1
                left = registry.stage(step.stage).retries - again[step.stage]
                if left < 0 or not _died(status.stage(step.stage)):
                    raise StageFailedError(
                        f"{step.stage}: {step.reason}", hint=f"xops run resume {run.run_id}"
                    )
                emit("conductor_retry", stages=[step.stage], retry=again[step.stage], reason=step.reason)
        waiting = [step.stage for step in steps if step.action is Action.WAIT]
        begun.update(waiting)
        if due:
            emit("conductor_start", stages=[step.stage for step in due])
            do_steps(run, registry, status, due)
            begun.update(step.stage for step in due)
        elif not waiting:
            _finish(run, status, steps)
            return
        elif stop.wait(POLL_S):
            raise CancelledByOperatorError(f"{', '.join(waiting)} goes on; nothing is started after it")


def _died(stage: StageStatus) -> bool:
    """Whether it, or every part of it that is not done, failed or was lost; nobody asked it to stop."""
    ended = (StageState.FAILED, StageState.LOST, StageState.SUCCEEDED)
    return all(part.state in ended for part in stage.shards or (stage,))


def _finish(run: RunPaths, status: RunStatus, steps: list[Step]) -> None:
    """Nothing runs and nothing is due: raise unless that is because everything is done."""
    for step in steps:
        if step.action is Action.BLOCKED:
            raise GateError(f"{step.stage} is blocked: {step.reason}", hint=f"xops run show {run.run_id}")
    last = status.stage(steps[-1].stage)
    if not last.done:
        raise GateError(f"the gate of {last.stage} says {last.verdict}", hint=f"xops gate show {run.run_id}")


def main(arguments: list[str]) -> int:
    """Run as a process; see the module's docstring."""
    folder, *target = arguments
    run = RunPaths(Path(folder))
    stop = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    until = target[1] if target[:1] == ["--until"] else ""
    only = target[1].split(",") if target[:1] == ["--only"] else []
    with EventWriter(run.conductor.progress, run_id=run.run_id, stage="conductor") as emit:
        try:
            conduct(run, load_registry(), until=until, only=only, emit=emit, stop=stop)
        except XopsError as error:
            emit("conductor_end", message=str(error), hint=error.hint)
            _report(error)
            return int(error.exit_code)
        emit("conductor_end", message="everything asked for is done")
    return int(ExitCode.OK)


def _report(error: XopsError) -> None:
    record = {"message": str(error)[:1500], "hint": error.hint[:400], "kind": type(error).__name__}
    os.write(int(os.environ[ENV_REPORT]), json.dumps(record).encode())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
