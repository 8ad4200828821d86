"""The best validation once more with weights read from disk: what was saved is what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import torch

from pipeline.engine.files import read_json
from pipeline.qwen.answerer import load_trained
from pipeline.qwen.objective import answer_loss
from pipeline.qwen.rows import read_training_rows
from pipeline.qwen.settings import TrainSettings
from pipeline.qwen.train import chosen_rows

#: Most rows that are tried, and the part of the loss that rounding may change.
_ROWS, _TOLERANCE = 512, 0.02


def probe_loss(train: Path, dataset: Path) -> dict[str, Any]:
    """Loss of the published weights on the val rows the best validation used.

    Returns:
        `val_loss`, `recorded` (what training measured), `tolerance` and `rows`. Where training used more
        rows than are tried here, or had none, the tolerance allows for that and says so by its size.
    """
    record = read_json(train / "training_metadata.json")
    settings = msgspec.convert(record["settings"], TrainSettings)
    rows = chosen_rows(read_training_rows(dataset / "dataset.jsonl"), settings)
    tried = (rows.val or rows.train)[:_ROWS]
    loaded = load_trained(train, dataset)
    loss, tokens = 0.0, 0
    with torch.no_grad():
        for row in tried:
            batch = loaded.collate([loaded.samples.make(row.content, answered=True)])
            batch = batch.to(loaded.model.device, loaded.model.dtype)
            loss += float(answer_loss(loaded.model, batch))
            tokens += sum(batch.answer_tokens)
    loaded.samples.close()
    recorded = record["best"]["val_loss"]
    if recorded is None:
        recorded = record["history"][-1]["train_loss"]
    same = bool(rows.val) and len(tried) == len(rows.val)
    return {
        "val_loss": loss / tokens,
        "recorded": recorded,
        "tolerance": max(_TOLERANCE * recorded, 1e-3) if same else max(recorded, 0.1),
        "rows": len(tried),
    }
