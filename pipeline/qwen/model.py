"""Loading the thinker from a local folder, with room for sensor tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pipeline.engine.errors import NotFoundError, UsageError
from pipeline.qwen.sensors import SensorBridge, Stream, ThinkerWithSensors, with_sensors
from pipeline.qwen.tokens import SENSOR_TOKEN


def load_thinker(
    folder: Path,
    processor: Any,
    *,
    streams: Sequence[Stream] = (),
    sensor_tokens: int = 1,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    seed: int = 0,
) -> ThinkerWithSensors:
    """The thinker of a checkpoint folder, published umbrella layout or its own.

    Args:
        folder: weights and configuration; nothing is downloaded.
        processor: its processor, see `load_processor`.
        streams: what the bridge reads; none for no bridge. The bridge begins with random weights.
        sensor_tokens: tokens per stream.
        dtype: of the weights.
        device: where they go.
        seed: of the bridge's first weights.

    Raises:
        NotFoundError: there is no configuration in `folder`.
        UsageError: the vocabulary has no spare row for the placeholder.
    """
    from transformers import Qwen3OmniMoeThinkerForConditionalGeneration

    base_facts(folder)
    stock = Qwen3OmniMoeThinkerForConditionalGeneration.from_pretrained(
        folder, dtype=dtype, local_files_only=True
    ).to(device)
    text = stock.config.text_config
    torch.manual_seed(seed)
    bridge = SensorBridge(streams, text.hidden_size, sensor_tokens).to(device) if streams else None
    model = with_sensors(stock, bridge, _placeholder(processor.tokenizer, text.vocab_size))
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    return model


def base_facts(folder: Path) -> dict[str, str]:
    """What names a base model without reading its weights: its folder and the hash of its configuration.

    Raises:
        NotFoundError: there is no configuration in `folder`.
    """
    config = folder / "config.json"
    if not config.is_file():
        raise NotFoundError(
            f"{folder} holds no model", hint="give a folder with config.json: --set train.model_dir=FOLDER"
        )
    return {"path": str(folder), "config_sha256": hashlib.sha256(config.read_bytes()).hexdigest()}


def _placeholder(tokenizer: Any, rows: int) -> int:
    """The sensor placeholder, on a row of the vocabulary matrix that nothing else uses."""
    number = int(tokenizer.convert_tokens_to_ids(SENSOR_TOKEN))
    if number >= rows:
        raise UsageError(f"the model has {rows} token rows, the tokenizer needs {number + 1}")
    return number
