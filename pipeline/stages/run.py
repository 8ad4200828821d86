"""The process that runs one stage: `python -P -m pipeline.stages.run STAGE_DIR [--shard k/n]`.

Started by a supervisor, never by hand. It reads the run's frozen request, builds the `StageContext`, calls
the stage's `run(context)`, and publishes in this order: gate.json, `out/` by rename, outputs.json last. An
error reaches the operator as one message and a hint, through a pipe to the supervisor that needs no disk;
the traceback stays in stdout.log.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import importlib
import json
import os
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

import msgspec

from pipeline.engine import records
from pipeline.engine.context import CancelFlag, StageContext
from pipeline.engine.errors import (
    CancelledByOperatorError,
    DiskFullError,
    ExitCode,
    GateError,
    NotReadyError,
    StageFailedError,
    UsageError,
    XopsError,
)
from pipeline.engine.files import FULL
from pipeline.engine.fingerprint import publish_inputs, read_inputs, scan
from pipeline.engine.gates import Check, GateRecord, publish_gate, read_gate
from pipeline.engine.lease import acquire
from pipeline.engine.log import EventWriter
from pipeline.engine.outputs import publish_outputs, set_aside
from pipeline.engine.paths import StageAddress, StagePaths, WorkspacePaths
from pipeline.engine.registry import Registry, StageSpec, load_registry
from pipeline.engine.runs import load_request
from pipeline.engine.status import question_of, read_run

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Run as a process; returns its exit status."""
    cancelled = CancelFlag()
    signal.signal(signal.SIGTERM, lambda *_: cancelled.set())
    signal.signal(signal.SIGINT, lambda *_: cancelled.set())
    try:
        _die_with_supervisor()
        paths, shard = _parse(arguments)
        run_stage(paths, shard, cancelled)
    except CancelledByOperatorError as error:
        _report(error)
        return int(ExitCode.TERMINATED)
    except BaseException as error:  # noqa: BLE001 - the process boundary: whatever happened is reported
        explained = explain(error)
        _report(explained)
        with contextlib.suppress(OSError):  # the disk may be what failed
            traceback.print_exc()
        return int(explained.exit_code)
    return 0


def run_stage(paths: StagePaths, shard: tuple[int, int] | None, cancelled: CancelFlag) -> None:
    """Carry out one attempt of the stage at `paths`.

    Raises:
        CancelledByOperatorError: it stopped because it was asked to.
        XopsError: it failed; everything else it raises is a defect or the system's.
    """
    address = StageAddress.of(paths.root)
    attempt = int(os.environ[records.ENV_ATTEMPT])
    base = {"run_id": address.run.run_id, "stage": address.stage, "attempt": attempt}
    if shard is not None:
        base["shard"] = shard[0]
    with EventWriter(paths.progress, **base) as emit:
        emit("start", pid=os.getpid())
        try:
            spec, context = _prepare(
                address, paths=paths, attempt=attempt, shard=shard, cancelled=cancelled, emit=emit
            )
            module = importlib.import_module(spec.module)
            gpus = module.gpus(context.params) if hasattr(module, "gpus") else spec.gpus
            lease = acquire(gpus, what=str(address), emit=emit, cancelled=cancelled)
            os.environ.update(lease.environment)
            module.run(context)
            _publish(spec, context)
        except CancelledByOperatorError as error:
            emit("cancelled", message=str(error))
            raise
        except DiskFullError:
            raise  # there is no room for an event about it either
        except BaseException as error:
            explained = explain(error)
            emit("failed", error=type(error).__name__, message=str(explained), hint=explained.hint)
            raise
        emit("complete", seconds=round(time.time() - _started(paths, attempt), 3))


def _prepare(
    address: StageAddress,
    *,
    paths: StagePaths,
    attempt: int,
    shard: tuple[int, int] | None,
    cancelled: CancelFlag,
    emit: EventWriter,
) -> tuple[StageSpec, StageContext]:
    if paths.outputs.exists():
        hint = f"xops run invalidate {address.run.run_id} --stage {address.stage}"
        raise UsageError(f"{address} already has outputs", hint=hint)
    registry = load_registry()
    spec = registry.stage(address.stage)
    request = load_request(address.run)
    context = StageContext(
        params=request.stage_params(spec),
        emit=emit,
        out=paths.out_tmp(attempt),
        work=paths.work,
        workspace=WorkspacePaths(address.run.root.parent.parent),
        run=address.run,
        paths=paths,
        attempt=attempt,
        shard=shard,
        config=request.config,
        cancelled=cancelled,
    )
    context.upstreams = _record_inputs(spec, registry, context)
    for stale in paths.root.glob("out.[0-9]*.tmp"):
        shutil.rmtree(stale)
    context.out.mkdir()
    context.work.mkdir(exist_ok=True)
    return spec, context


def _record_inputs(spec: StageSpec, registry: Registry, context: StageContext) -> dict[str, tuple[Path, ...]]:
    """Write inputs.json and return where the upstream outputs are.

    Work that an earlier attempt left is kept only if it was done for the same question.

    Raises:
        NotReadyError, GateError: something this stage needs is not done or its gate is closed.
    """
    request = load_request(context.run)
    status = read_run(context.run, registry, request=request)
    upstream = {need: status.stage(need) for need in status.stage(spec.name).needs}
    for need, found in upstream.items():
        if not found.outputs:
            raise NotReadyError(
                f"{spec.name} needs {need}, which is {found.state}", hint=f"start {need} first"
            )
        if found.verdict is not None and not found.verdict.open:
            raise GateError(
                f"the gate of {need} says {found.verdict}", hint=f"xops gate show {context.run.run_id}"
            )
    question = question_of(spec, request, upstream, context.shard)
    declared = getattr(importlib.import_module(spec.module), "inputs", None)
    if declared is not None:
        external = tuple(scan(role, path, level) for role, path, level in declared(context.params))
        question = msgspec.structs.replace(question, external=external)
    before = read_inputs(context.paths.inputs)
    if before and before.fingerprint != question.digest and context.work.exists():
        aside = set_aside(context.paths, before.attempt, ("work",))
        context.emit("work_set_aside", reason="its inputs or parameters changed", path=str(aside))
    publish_inputs(context.paths.inputs, question, context.attempt)
    return {need: tuple(map(Path, found.out)) for need, found in upstream.items()}


def _publish(spec: StageSpec, context: StageContext) -> None:
    """Evaluate the gate, then publish the artefacts; their manifest is the last file written."""
    checks = list(context.checks)
    if spec.gate and not checks:
        checks = [Check(name="checks_made", ok=False, detail="the stage declares a gate and checked nothing")]
    if checks:
        earlier = read_gate(context.paths.gate)
        record = GateRecord(
            stage=spec.name,
            attempt=context.attempt,
            evaluated=time.time(),
            checks=tuple(checks),
            decisions=earlier.decisions if earlier else (),
            waivable=spec.waivable,
        )
        publish_gate(context.paths.gate, record)
        failed = [check.name for check in checks if not check.ok]
        context.emit("gate_verdict", verdict=record.verdict.value, checks=len(checks), failed=failed)
    publish_outputs(context.paths, context.attempt, context.artefacts)


def explain(error: BaseException) -> XopsError:
    """`error` as something an operator can act on."""
    if isinstance(error, XopsError):
        return error
    if isinstance(error, OSError):
        return _explain_os(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        what = "the GPU" if "CUDA" in str(error) else "this machine"
        return StageFailedError(f"{what} ran out of memory: {error}", hint="smaller batches or fewer workers")
    if isinstance(error, ModuleNotFoundError):
        return StageFailedError(f"the library {error.name} is missing", hint="pip install 'xops[ml]'")
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        return StageFailedError(f"the stage ended itself ({type(error).__name__} {error})")
    return StageFailedError(
        f"a defect in the stage: {type(error).__name__}: {error}", hint="the traceback is in stdout.log"
    )


def _explain_os(error: OSError) -> XopsError:
    where = error.filename or "a file"
    if error.errno in FULL:
        return DiskFullError(f"no room left to write {where}", hint="free space there, then resume the stage")
    if error.errno in (errno.EACCES, errno.EPERM):
        return StageFailedError(f"no permission for {where}", hint="check who owns that path")
    return StageFailedError(f"{error.strerror or error}: {where}", hint="the traceback is in stdout.log")


def _report(error: XopsError) -> None:
    """Tell the supervisor, which writes exit.json."""
    record = {"message": str(error)[:1500], "hint": error.hint[:400], "kind": type(error).__name__}
    try:
        os.write(int(os.environ[records.ENV_REPORT]), json.dumps(record).encode())
    except (KeyError, OSError):
        sys.stdout.write(f"{record}\n")


def _die_with_supervisor() -> None:
    """Ask the kernel for SIGTERM when the supervisor dies, and look whether it has already."""
    try:
        supervisor = int(os.environ[records.ENV_SUPERVISOR])
    except (KeyError, ValueError):
        raise UsageError("a stage is started by its supervisor", hint="xops run start") from None
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != supervisor:
        raise CancelledByOperatorError("the supervisor died before the stage began")


def _parse(arguments: list[str]) -> tuple[StagePaths, tuple[int, int] | None]:
    match arguments:
        case [folder]:
            return StagePaths(Path(folder)), None
        case [folder, "--shard", text]:
            index, _, count = text.partition("/")
            return StagePaths(Path(folder)), (int(index), int(count))
        case _:
            raise UsageError("usage: python -P -m pipeline.stages.run STAGE_DIR [--shard k/n]")


def _started(paths: StagePaths, attempt: int) -> float:
    process = records.read_process(paths.attempt(attempt))
    return process.started if process else time.time()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
