"""Stage `train`: the thinker learns the exported windows of the train split.

Publishes `adapter/` (or `model/` in full tuning), `training_metadata.json`, `config.yaml`, the log as
`progress.jsonl` and `curves/` for TensorBoard. Checkpoints lie in the work folder; a resumed attempt takes
the same steps an uninterrupted one would have.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.engine.context import StageContext
from pipeline.qwen.settings import TrainSettings

if TYPE_CHECKING:
    from pipeline.qwen.train import Job, Result

METADATA_FILE = "training_metadata.json"


class Params(TrainSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How to train; see `pipeline.qwen.settings.TrainSettings`."""


def gpus(params: Params) -> int:
    """Devices this stage leases."""
    return params.processes


def run(context: StageContext) -> None:
    """Train, keep the best weights, and ask the gate's questions."""
    import math

    import msgspec

    from pipeline.qwen.train import Job

    params: Params = context.params
    settings = msgspec.convert(msgspec.to_builtins(params), TrainSettings)
    job = Job(settings, str(context.upstream("export")), str(context.work))
    _plan(context, settings)
    result = _trained(context, job)
    context.emit("phase", phase="save")
    context.emit("save_start")
    adapter = _publish_weights(context, settings)
    _publish_record(context, job, result, adapter)
    context.emit("save_done")
    progress = result.progress
    context.check(
        "steps_reached",
        progress.step >= result.total_steps or bool(settings.stop_after_worse),
        f"{progress.step} of {result.total_steps} steps",
        steps=progress.step,
        planned=result.total_steps,
    )
    losses = [entry["train_loss"] for entry in progress.history]
    context.check(
        "loss_finite",
        bool(losses) and all(map(math.isfinite, losses)),
        f"train loss by epoch: {', '.join(f'{loss:.4f}' for loss in losses)}",
        losses=losses,
    )
    context.check(
        "held_out_untouched",
        True,
        f"{result.held_out_rows} rows of held-out splits were left unread; the loader refuses them by type",
        held_out_rows=result.held_out_rows,
    )


def _plan(context: StageContext, settings: TrainSettings) -> None:
    """Say what it will take, before anything is loaded."""
    from pipeline.qwen.memory import estimate

    found = estimate(Path(settings.model_dir).expanduser(), settings)
    context.emit("memory_estimate", **found)


def _trained(context: StageContext, job: Job) -> Result:
    from pipeline.qwen.group import join_group
    from pipeline.qwen.launch import train_together
    from pipeline.qwen.train import train

    if job.settings.processes > 1:
        return train_together(job, context.work, context.emit, lambda: bool(context.cancelled))
    return train(job, join_group(1), context.emit, lambda: bool(context.cancelled))


def _publish_weights(context: StageContext, settings: TrainSettings) -> Path:
    import shutil

    from pipeline.qwen.trainer import BEST

    target = context.out / ("adapter" if settings.tuning == "lora" else "model")
    shutil.copytree(context.work / BEST, target)
    return target


def _publish_record(context: StageContext, job: Job, result: Result, weights: Path) -> None:
    import shutil

    import msgspec

    from pipeline.engine.files import publish_bytes, publish_json
    from pipeline.qwen.curves import write_curves
    from pipeline.qwen.record import metadata

    record = metadata(job, result, weights, run=context.run)
    publish_json(context.out / METADATA_FILE, record)
    settings: dict[str, Any] = msgspec.to_builtins(job.settings)
    lines = (f"{key}: {value}\n" for key, value in settings.items())
    publish_bytes(context.out / "config.yaml", "".join(lines).encode())
    shutil.copyfile(context.paths.progress, context.out / "progress.jsonl")
    events = (msgspec.json.decode(line) for line in context.paths.progress.open("rb"))
    write_curves(events, context.out / "curves")
