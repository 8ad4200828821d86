"""The adapter: what training adds to a thinker, how it is saved, and how it is loaded again.

Saved in the key layout of the published checkpoint (`base_model.model.model.layers...`), which every
transformers 5 loads and which vLLM maps. The sensor bridge lies beside it in a file of its own, so that the
adapter's file holds matrices only.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from pipeline.engine.errors import DamagedFileError, NotFoundError
from pipeline.engine.files import read_json
from pipeline.qwen.sensors import SensorBridge, Stream
from pipeline.qwen.settings import LORA_TARGETS, TrainSettings

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
BRIDGE, BRIDGE_CONFIG = "sensor_bridge.safetensors", "sensor_bridge.json"

#: Towers and bridge stay out of LoRA's reach.
_EXCLUDED = r".*(audio_tower|visual|sensor_bridge).*"
_OURS, _THEIRS = "base_model.model.model.language_model.", "base_model.model.model."
_BRIDGE_KEY = "sensor_bridge."


def add_lora(model: Any, settings: TrainSettings) -> Any:
    """`model` with a fresh adapter; only the adapter and the sensor bridge learn, in float32."""
    from peft import LoraConfig, get_peft_model

    experts = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"] if settings.lora_experts else None
    torch.manual_seed(settings.seed)
    wrapped = get_peft_model(
        model,
        LoraConfig(
            r=settings.lora_r,
            lora_alpha=settings.lora_alpha,
            lora_dropout=0.0 if experts else settings.lora_dropout,
            target_modules=list(LORA_TARGETS),
            exclude_modules=_EXCLUDED,
            target_parameters=experts,
        ),
    )
    _learn_bridge(model)
    return wrapped


def prepare_full(model: Any) -> Any:
    """`model` with every text parameter learning and both towers frozen."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not (".visual." in f".{name}" or ".audio_tower." in f".{name}"))
    return model


def _learn_bridge(model: Any) -> None:
    if model.sensor_bridge is not None:
        model.sensor_bridge.float().requires_grad_(requires_grad=True)


def save_adapter(model: Any, folder: Path, state: Mapping[str, torch.Tensor] | None = None) -> None:
    """Write adapter and bridge into `folder`.

    Args:
        model: what `add_lora` returned.
        folder: made if missing.
        state: all trained tensors, gathered, where the model's own are spread over processes.
    """
    model.save_pretrained(folder, state_dict=dict(state) if state is not None else None)
    weights = load_file(folder / WEIGHTS)
    save_file({_published(key): value for key, value in weights.items()}, folder / WEIGHTS)
    config = json.loads((folder / CONFIG).read_text("utf-8"))
    config["base_model_name_or_path"] = Path(config.get("base_model_name_or_path") or "").name
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")
    (folder / "README.md").unlink(missing_ok=True)
    save_bridge(base_of(model), folder, state)


def save_bridge(model: Any, folder: Path, state: Mapping[str, torch.Tensor] | None = None) -> None:
    """Write the sensor bridge of a thinker, if it has one."""
    bridge: SensorBridge | None = model.sensor_bridge
    if bridge is None:
        return
    own = {key: value.detach().cpu() for key, value in bridge.state_dict().items() if not _spread(value)}
    gathered = {
        key.partition(_BRIDGE_KEY)[2]: value.detach().cpu()
        for key, value in (state or {}).items()
        if _BRIDGE_KEY in key
    }
    save_file({key: value.contiguous() for key, value in (own | gathered).items()}, folder / BRIDGE)
    facts = {
        "streams": [[s.name, s.start, s.end, s.column] for s in bridge.streams],
        "tokens": bridge.tokens,
        "width": bridge.width,
    }
    (folder / BRIDGE_CONFIG).write_text(json.dumps(facts, indent=2) + "\n", "utf-8")


def read_bridge(folder: Path) -> tuple[tuple[Stream, ...], int]:
    """Streams and tokens per stream of a saved bridge; nothing where there is none."""
    if not (folder / BRIDGE_CONFIG).is_file():
        return (), 1
    facts = read_json(folder / BRIDGE_CONFIG)
    return tuple(Stream(*stream) for stream in facts["streams"]), int(facts["tokens"])


def load_adapter(model: Any, folder: Path) -> Any:
    """A thinker with the adapter of `folder`, and its bridge's weights; nothing learns.

    Raises:
        NotFoundError: there is no adapter.
        DamagedFileError: a file of it is torn, or does not fit the model.
    """
    from peft import LoraConfig, PeftModel

    if not (folder / WEIGHTS).is_file():
        raise NotFoundError(f"{folder} holds no adapter", hint="name the out/ of a train stage")
    try:
        wrapped = PeftModel(model, LoraConfig.from_pretrained(str(folder)))
        read_weights(wrapped, folder)
        if model.sensor_bridge is not None:
            model.sensor_bridge.load_state_dict(load_file(folder / BRIDGE))
    except (SafetensorError, RuntimeError, OSError, ValueError, KeyError, TypeError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DamagedFileError(f"{folder}: no usable adapter: {first}", hint="train again") from None
    for parameter in wrapped.parameters():
        parameter.requires_grad_(False)
    return wrapped.eval()


def read_weights(wrapped: Any, folder: Path, name: str = "default") -> None:
    """Fill an adapter of a wrapped thinker from a file of any published key layout.

    peft converts names only for the classes it knows, which ours is not.

    Raises:
        DamagedFileError: the file lacks a tensor, or has one that fits nowhere.
    """
    from peft import set_peft_model_state_dict

    stored = {_own(key): value for key, value in load_file(folder / WEIGHTS).items()}
    found: Any = set_peft_model_state_dict(wrapped, stored, adapter_name=name)
    missing = [key for key in found.missing_keys if f".{name}." in key and "lora_" in key]
    if missing or found.unexpected_keys:
        raise DamagedFileError(
            f"{folder / WEIGHTS} does not fit the model: {len(missing)} tensors are missing, "
            f"{len(found.unexpected_keys)} fit nowhere",
            hint="the base model is not the one it was trained on",
        )


def adapter_hash(folder: Path) -> str:
    """sha256 over the name and content of every file that decides an answer, adapter or whole model."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in {".safetensors", ".json"}:
            digest.update(path.name.encode() + b"\0")
            with path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def base_of(model: Any) -> Any:
    """The thinker inside an adapter's wrapper, or the thinker itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _own(key: str) -> str:
    """A key of any published layout as this version of transformers names it."""
    rest = key.removeprefix("base_model.model.").removeprefix("thinker.")
    return f"base_model.model.{re.sub(r'^model[.]layers[.]', 'model.language_model.layers.', rest)}"


def _published(key: str) -> str:
    return key.replace(_OURS, _THEIRS, 1)


def _spread(value: torch.Tensor) -> bool:
    return hasattr(value, "full_tensor")
