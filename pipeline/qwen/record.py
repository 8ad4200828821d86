"""`training_metadata.json`: the published keys (formats 2.7), and what ties a claim to its evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from pipeline.backbones.contract import read_catalogue
from pipeline.engine.paths import RunPaths
from pipeline.engine.runs import load_request
from pipeline.qwen.adapter import adapter_hash
from pipeline.qwen.settings import LORA_TARGETS
from pipeline.qwen.train import Job, Result

BACKBONE = "qwen3_omni_lora"


def metadata(job: Job, result: Result, weights: Path, *, run: RunPaths) -> dict[str, Any]:
    """The record of one training.

    Args:
        job: what was asked for.
        result: what came of it.
        weights: folder of the published adapter or model.
        run: whose stage it was.
    """
    settings, progress = job.settings, result.progress
    contract = read_catalogue().contract(BACKBONE)
    best = progress.best
    return {
        "run_id": run.run_id,
        "run_kind": load_request(run).kind,
        "model_id": settings.model_id,
        "backbone": {
            "id": contract.id,
            "display_name": contract.display_name,
            "status": contract.status,
            "model_family": contract.model_family,
            "dataset_contract": contract.dataset_contract,
            "training_objective": contract.training_objective,
            "split_policy": msgspec.to_builtins(contract.split_policy),
            "modalities": msgspec.to_builtins(contract.modalities),
            "primary_metrics": list(contract.primary_metrics),
            "config_path": f"pipeline/backbones/contracts/{BACKBONE}.json",
        },
        "dataset_jsonl": str(Path(job.dataset) / "dataset.jsonl"),
        "dataset_sha256": result.dataset_sha256,
        "checkpoint_dir": job.work,
        "num_processes": settings.processes,
        "num_train_samples": result.train_rows,
        "num_val_samples": result.val_rows,
        "num_held_out_samples_unread": result.held_out_rows,
        "history": progress.history,
        "validations": msgspec.to_builtins(progress.validations),
        "best": {"step": best.step, "val_loss": best.loss}
        if best
        else {"step": progress.step, "val_loss": None},
        "global_step": progress.step,
        "lora": {
            "r": settings.lora_r,
            "alpha": settings.lora_alpha,
            "dropout": settings.lora_dropout,
            "target_modules": list(LORA_TARGETS),
        }
        if settings.tuning == "lora"
        else None,
        "use_audio_in_video": False,
        "loss_mode": job.loss_mode,
        "loss_logit_tail_only": True,
        "tuning_mode": settings.tuning,
        "save_mode": "best_by_validation" if best else "last",
        "max_train_steps": settings.max_steps,
        "trainable_params": result.trainable_parameters,
        "prompt_hash": result.prompt_hash,
        "base_model": result.base,
        "adapter_sha256": adapter_hash(weights),
        "settings": msgspec.to_builtins(settings),
    }
