"""One training process, from folder to trained adapter. The stage calls it; torchrun calls it for many.

torchrun --nproc-per-node N -m pipeline.qwen.train JOB_FILE EVENTS_PIPE STOP_FILE
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from msgspec import Struct

from pipeline.engine.errors import NotFoundError, XopsError
from pipeline.engine.files import publish_json, read_json
from pipeline.engine.log import Emit
from pipeline.qwen.adapter import add_lora, base_of, prepare_full
from pipeline.qwen.checkpoint import Progress
from pipeline.qwen.collate import Collator, Limits
from pipeline.qwen.devices import Pulse
from pipeline.qwen.glimpse import glimpse
from pipeline.qwen.group import Group, join_group
from pipeline.qwen.model import base_facts, load_thinker
from pipeline.qwen.processor import load_processor
from pipeline.qwen.prompt import prompt_hash
from pipeline.qwen.rows import TrainingRow, TrainingRows, read_training_rows
from pipeline.qwen.samples import Samples
from pipeline.qwen.sensors import Stream, statistics, streams_of
from pipeline.qwen.settings import TrainSettings
from pipeline.qwen.trainer import Trainer, settings_digest

RESULT = "result.json"


class Job(Struct, frozen=True):
    """What a process is to train.

    Attributes:
        settings: how.
        dataset: folder of an exported dataset.
        work: folder that survives attempts; `best` and `result.json` appear there.
        loss_mode: as reports call the loss.
    """

    settings: TrainSettings
    dataset: str
    work: str
    loss_mode: str = "answer_tokens_only"


class Result(Struct, frozen=True):
    """What came of it.

    Attributes:
        progress: at the end.
        dataset_sha256, base, prompt_hash: what it was trained on.
        train_rows, val_rows, held_out_rows: rows used, and rows of other splits left unread.
        total_steps: planned.
        trainable_parameters: numbers that learn.
        seconds: of this attempt.
    """

    progress: Progress
    dataset_sha256: str
    base: dict[str, str]
    prompt_hash: str
    train_rows: int
    val_rows: int
    held_out_rows: int
    total_steps: int
    trainable_parameters: int
    seconds: float


def train(job: Job, group: Group, emit: Emit, stop: Callable[[], bool]) -> Result:
    """Train as one process of `group`; returns when the last step is done.

    Raises:
        XopsError: see `Trainer.run`; also when rows, model or features cannot be read.
    """
    began, settings = time.monotonic(), job.settings
    if settings.threads:
        torch.set_num_threads(settings.threads)
    root, work = Path(job.dataset), Path(job.work)
    base = base_facts(_model_dir(settings))
    rows = read_training_rows(root / "dataset.jsonl")
    chosen = chosen_rows(rows, settings)
    total = settings.steps(len(chosen.train))
    emit("setup_done", **_setup(job, chosen, group, total))
    with Pulse(emit, group.rank, group.device):
        emit("phase", phase="model_load")
        emit(
            "model_load_start", model_id=settings.model_id, dtype=settings.precision, device=str(group.device)
        )
        limits = Limits(settings.min_pixels, settings.max_pixels, settings.max_prompt_tokens)
        processor = load_processor(_model_dir(settings))
        samples = Samples(
            root,
            processor,
            sensors=settings.sensors,
            limits=limits,
            cache_bytes=int(settings.cache_gib * (1 << 30) / group.processes),
        )
        streams, shape = _streams(root, settings)
        model = _prepared(settings, processor, streams, group)
        _standardise(model, chosen.train, samples, shape)
        collate = Collator(processor, sensor_tokens=_sensor_tokens(model), sensor_shape=shape, limits=limits)
        emit("model_load_done")
        emit("phase", phase="prepare")
        emit("accelerator_prepare_start", parallel=settings.sharing)
        trainer = Trainer(
            model,
            settings,
            group=group,
            collator=collate,
            samples=samples,
            train=chosen.train,
            val=chosen.val,
            work=work,
            digest=settings_digest(settings, {"dataset": rows.sha256, "base": base["config_sha256"]}),
            emit=emit,
            stop=stop,
            generate=_generator(settings, processor, collate, samples),
        )
        emit("accelerator_prepare_done")
        emit("phase", phase="train")
        emit("train_loop_start", **_setup(job, chosen, group, total), epochs=settings.epochs)
        try:
            progress = trainer.run()
        finally:
            samples.close()
    return Result(
        progress=progress,
        dataset_sha256=rows.sha256,
        base=base,
        prompt_hash=prompt_hash(),
        train_rows=len(chosen.train),
        val_rows=len(chosen.val),
        held_out_rows=rows.held_out,
        total_steps=total,
        trainable_parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        seconds=round(time.monotonic() - began, 3),
    )


def _model_dir(settings: TrainSettings) -> Path:
    if not settings.model_dir:
        raise NotFoundError("no base model is named", hint="--set train.model_dir=FOLDER")
    return Path(settings.model_dir).expanduser()


def chosen_rows(rows: TrainingRows, settings: TrainSettings) -> TrainingRows:
    """Rows within the limits, spread evenly over the splits."""
    return msgspec.structs.replace(
        rows,
        train=_spread(rows.train, settings.max_train_rows),
        val=_spread(rows.val, settings.max_val_rows),
    )


def _spread(rows: Sequence[TrainingRow], most: int) -> tuple[TrainingRow, ...]:
    if not most or len(rows) <= most:
        return tuple(rows)
    return tuple(rows[index * len(rows) // most] for index in range(most))


def _setup(job: Job, rows: TrainingRows, group: Group, total: int) -> dict[str, Any]:
    return {
        "model_id": job.settings.model_id,
        "dataset_jsonl": str(Path(job.dataset) / "dataset.jsonl"),
        "num_processes": group.processes,
        "num_train_samples": len(rows.train),
        "num_val_samples": len(rows.val),
        "rank0_samples_per_epoch": -(-len(rows.train) // group.processes),
        "backbone_id": "qwen3_omni_lora",
        "dataset_contract": "xperience10m_episode_json_qa_v1",
        "training_objective": "structured_episode_understanding_json_qa",
        "loss_mode": job.loss_mode,
        "loss_logit_tail_only": True,
        "tuning_mode": job.settings.tuning,
        "max_train_steps": job.settings.max_steps,
        "total_steps": total,
    }


def _streams(root: Path, settings: TrainSettings) -> tuple[tuple[Stream, ...], tuple[int, int]]:
    """The sensor streams of a dataset, and numbers and blocks of its vectors."""
    if not settings.sensors:
        return (), (0, 0)
    manifest = read_json(root / "dataset_manifest.json")
    blocks = manifest.get("feature_manifest") or []
    if not blocks:
        return (), (0, 0)
    return streams_of(blocks), (int(blocks[-1]["end"]), len(blocks))


def _prepared(settings: TrainSettings, processor: Any, streams: Sequence[Stream], group: Group) -> Any:
    model = load_thinker(
        _model_dir(settings),
        processor,
        streams=streams,
        sensor_tokens=settings.sensor_tokens,
        dtype=getattr(torch, settings.precision),
        device=str(group.device),
        seed=settings.seed,
    )
    if settings.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return add_lora(model, settings) if settings.tuning == "lora" else prepare_full(model)


def _standardise(model: Any, train: Sequence[TrainingRow], samples: Samples, shape: tuple[int, int]) -> None:
    bridge = base_of(model).sensor_bridge
    if bridge is not None:
        bridge.standardise_with(*statistics((row.content for row in train), samples.features, shape[0]))


def _sensor_tokens(model: Any) -> int:
    bridge = base_of(model).sensor_bridge
    return 0 if bridge is None else int(bridge.total_tokens)


def _generator(
    settings: TrainSettings, processor: Any, collate: Collator, samples: Samples
) -> Callable[[Any, Sequence[TrainingRow]], dict[str, Any]] | None:
    if not settings.generate_every:
        return None

    def generate(model: Any, val: Sequence[TrainingRow]) -> dict[str, Any]:
        rows = _spread(val, settings.generate_rows)
        return glimpse(model, processor.tokenizer, collate, samples, rows)

    return generate


def main(arguments: list[str]) -> int:
    """Train as one of torchrun's processes; the first one writes the result and tells what happens."""
    job_file, pipe, stop_file = map(Path, arguments)
    job = msgspec.convert(read_json(job_file), Job)
    group = join_group(job.settings.processes)
    emit = _to_pipe(pipe) if group.first else _silent
    try:
        result = train(job, group, emit, stop_file.exists)
    except XopsError as error:
        emit("worker_error", kind=type(error).__name__, message=str(error), hint=error.hint)
        return int(error.exit_code)
    if group.first:
        publish_json(Path(job.work) / RESULT, msgspec.to_builtins(result))
    group.wait()  # whoever leaves first takes the connection of the others along
    group.leave()
    return 0


def _to_pipe(path: Path) -> Emit:
    pipe = os.open(path, os.O_WRONLY)

    def emit(event: str, **fields: Any) -> None:
        os.write(pipe, json.dumps({"event": event} | fields, default=str).encode() + b"\n")

    return emit


def _silent(event: str, **fields: Any) -> None:
    """Events of processes other than the first."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
