"""What training needs of each GPU, from the base model's configuration alone. Light to import.

An estimate, and it says of what: weights and optimizer are counted, activations are a rule of thumb.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.engine.errors import NotFoundError
from pipeline.engine.files import read_json
from pipeline.qwen.settings import LORA_TARGETS, TrainSettings

#: Tokens of a prompt with 16 pictures and 6 s of sound at the published sizes.
_TYPICAL_TOKENS = 2048

_BYTES = {"float32": 4, "bfloat16": 2}


def estimate(model_dir: Path, settings: TrainSettings) -> dict[str, Any]:
    """Bytes per process: `weights`, `trained` (weights, gradients and moments), `activations`, `total`.

    Raises:
        NotFoundError: `model_dir` has no configuration.
    """
    if not (model_dir / "config.json").is_file():
        raise NotFoundError(
            f"{model_dir} holds no model", hint="give a folder with config.json: --set train.model_dir=FOLDER"
        )
    config = read_json(model_dir / "config.json")
    thinker = config.get("thinker_config", config)
    weights = _files(model_dir) or parameters(thinker) * 2
    text = thinker.get("text_config", {})
    learned = lora_parameters(text, settings) if settings.tuning == "lora" else weights // 2
    parts = settings.processes if settings.sharing == "fsdp" else 1
    held = weights * _BYTES[settings.precision] // 2
    tokens = min(settings.max_prompt_tokens, _TYPICAL_TOKENS) * settings.batch_size
    layers, width = int(text.get("num_hidden_layers", 0)), int(text.get("hidden_size", 0))
    per_token = width * (4 if settings.gradient_checkpointing else 40) * _BYTES[settings.precision]
    activations = tokens * layers * per_token
    trained = learned * 16
    return {
        "weights": held // parts,
        "trained": trained // parts,
        "activations": activations,
        "total": held // parts + trained // parts + activations,
        "trained_parameters": learned,
        "processes": settings.processes,
        "parallel": settings.sharing,
        "assumes": f"prompts of {_TYPICAL_TOKENS} tokens; activations are a rule of thumb",
    }


def lora_parameters(text: dict[str, Any], settings: TrainSettings) -> int:
    """Numbers of an adapter on the attention of the text model."""
    width, head = int(text.get("hidden_size", 0)), int(text.get("head_dim", 0))
    query = int(text.get("num_attention_heads", 0)) * head
    shared = int(text.get("num_key_value_heads", 0)) * head
    sizes = {"q_proj": (width, query), "k_proj": (width, shared), "v_proj": (width, shared)}
    sizes["o_proj"] = (query, width)
    per_layer = sum(sum(sizes[name]) * settings.lora_r for name in LORA_TARGETS)
    return per_layer * int(text.get("num_hidden_layers", 0))


def parameters(thinker: dict[str, Any]) -> int:
    """Parameters of the text model, which is nearly all of the thinker, from its configuration."""
    text = thinker.get("text_config", {})
    width, layers = int(text.get("hidden_size", 0)), int(text.get("num_hidden_layers", 0))
    head, experts = int(text.get("head_dim", 0)), int(text.get("num_experts", 0))
    attention = width * head * (2 * int(text.get("num_attention_heads", 0)))
    attention += width * head * (2 * int(text.get("num_key_value_heads", 0)))
    mixture = experts * 3 * width * int(text.get("moe_intermediate_size", 0))
    return layers * (attention + mixture) + 2 * int(text.get("vocab_size", 0)) * width


def _files(folder: Path) -> int:
    """Bytes of the weights on disk, published in two bytes a number; 0 where they are not here."""
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    record = read_json(folder / "config.json")
    full = str(record.get("torch_dtype") or record.get("dtype") or "bfloat16") == "float32"
    return size // 2 if full else size
