"""Loading the processor of a checkpoint folder, with or without torchvision on this host."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from pipeline.engine.errors import NotFoundError
from pipeline.qwen.tokens import SENSOR_TOKEN

_VIDEO_FILES = ("processor_config.json", "video_preprocessor_config.json", "preprocessor_config.json")
_VIDEO_KEYS = ("size", "patch_size", "temporal_patch_size", "merge_size", "image_mean", "image_std")


def load_processor(folder: Path) -> Any:
    """A `Qwen3OmniMoeProcessor` from a local folder; nothing is downloaded. It knows the sensor placeholder.

    Where torchvision imports, it is the stock one. Elsewhere the same class is put together from the same
    files with `TorchVideoProcessor` in the place of the video processor.

    Raises:
        NotFoundError: there is no such folder, or it has no tokenizer.
    """
    if not (folder / "tokenizer_config.json").is_file():
        raise NotFoundError(
            f"{folder} holds no tokenizer of a Qwen3-Omni checkpoint",
            hint="download the model once, then give its folder: --set train.model_dir=FOLDER",
        )
    if has_torchvision():
        from transformers import Qwen3OmniMoeProcessor

        processor = Qwen3OmniMoeProcessor.from_pretrained(folder, local_files_only=True)
    else:
        processor = _from_parts(folder)
    processor.tokenizer.add_special_tokens(
        {"additional_special_tokens": [SENSOR_TOKEN]}, replace_extra_special_tokens=False
    )
    return processor


def has_torchvision() -> bool:
    """Whether a torchvision that works with this torch is installed."""
    if importlib.util.find_spec("torchvision") is None:
        return False
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError, OSError):  # built for another torch: its operators are not there
        return False
    return True


def processor_class() -> type[Any]:
    """The stock class, made to accept a video processor that transformers cannot name without torchvision."""
    from transformers import Qwen3OmniMoeProcessor

    class Processor(Qwen3OmniMoeProcessor):  # type: ignore[misc]
        def check_argument_for_proper_class(self, name: str, argument: Any) -> Any:
            if name == "video_processor":
                return type(argument)
            return super().check_argument_for_proper_class(name, argument)

    Processor.__name__ = Processor.__qualname__ = "Qwen3OmniMoeProcessor"
    return Processor


def _from_parts(folder: Path) -> Any:
    from transformers import AutoTokenizer, WhisperFeatureExtractor
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    from pipeline.qwen.video_processor import TorchVideoProcessor

    template = folder / "chat_template.jinja"
    return processor_class()(
        image_processor=Qwen2VLImageProcessorPil.from_pretrained(folder, local_files_only=True),
        video_processor=TorchVideoProcessor(**_video_settings(folder)),
        feature_extractor=WhisperFeatureExtractor.from_pretrained(folder, local_files_only=True),
        tokenizer=AutoTokenizer.from_pretrained(folder, local_files_only=True),
        chat_template=template.read_text("utf-8") if template.is_file() else None,
    )


def _video_settings(folder: Path) -> dict[str, Any]:
    for name in _VIDEO_FILES:
        path = folder / name
        if path.is_file():
            content = json.loads(path.read_text("utf-8"))
            settings = content.get("video_processor", content)
            if "patch_size" in settings:
                return {key: settings[key] for key in _VIDEO_KEYS if key in settings}
    return {}
