"""A tiny Qwen3-Omni checkpoint folder: the real classes with random weights, made offline in a second.

A few million parameters. The demo and the tests train and evaluate it through the same code that loads the
published 30-billion-parameter folder.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|audio_start|>",
    "<|audio_end|>",
    "<|audio_pad|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<tts_pad>",
    "<tts_text_bos>",
    "<tts_text_eod>",
)
_ROLES = {
    "image_token": "<|image_pad|>",
    "audio_token": "<|audio_pad|>",
    "video_token": "<|video_pad|>",
    "vision_bos_token": "<|vision_start|>",
    "vision_eos_token": "<|vision_end|>",
    "audio_bos_token": "<|audio_start|>",
    "audio_eos_token": "<|audio_end|>",
}
#: Turns and media as the published template writes them.
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif c['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif c['type'] == 'audio' %}<|audio_start|><|audio_pad|><|audio_end|>"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_CORPUS = (
    '{"action":"a","contact":"yes","evidence_window":{"end_frame":19,"start_frame":0},"next_action":"a",'
    '"objects":["cup"],"subtask":"b","transition":"no"}',
    "system user assistant Answer with one JSON object about the window.",
)
_PIXELS = {"shortest_edge": 32 * 32, "longest_edge": 128 * 128}


def write_tiny_checkpoint(
    folder: Path, *, texts: Iterable[str] = (), seed: int = 0, vocabulary: int = 1024
) -> None:
    """Write model, tokenizer and processor into `folder`, as a published checkpoint has them.

    Args:
        folder: made if missing.
        texts: what the tokenizer is trained on besides the answer's own keys; labels of the dataset.
        seed: of the weights.
        vocabulary: most tokens, specials included.
    """
    tokenizer = _tokenizer((*_CORPUS, *texts), vocabulary)
    _processor(tokenizer).save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE, "utf-8")
    _model(tokenizer, seed).save_pretrained(folder)


def _tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import Qwen2Tokenizer
    from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator([text for text in texts for _ in range(4)], trainer)
    parts = json.loads(bpe.to_str())["model"]
    merges = [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in parts["merges"]]
    tokenizer = Qwen2Tokenizer(
        vocab=parts["vocab"],
        merges=merges,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token=None,
        extra_special_tokens=_ROLES,
    )
    tokenizer.add_special_tokens(
        {"additional_special_tokens": list(SPECIAL)}, replace_extra_special_tokens=False
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def _processor(tokenizer: Any) -> Any:
    from transformers import WhisperFeatureExtractor
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    from pipeline.qwen.processor import processor_class
    from pipeline.qwen.video_processor import TorchVideoProcessor

    vision = {"size": _PIXELS, "patch_size": 16, "temporal_patch_size": 2, "merge_size": 2}
    return processor_class()(
        image_processor=Qwen2VLImageProcessorPil(**vision),
        video_processor=TorchVideoProcessor(**vision),  # type: ignore[arg-type]
        feature_extractor=WhisperFeatureExtractor(
            feature_size=128, sampling_rate=16000, hop_length=160, n_fft=400, chunk_length=30
        ),
        tokenizer=tokenizer,
        chat_template=TEMPLATE,
    )


def _model(tokenizer: Any, seed: int) -> Any:
    import torch
    from transformers import Qwen3OmniMoeThinkerForConditionalGeneration

    torch.manual_seed(seed)
    model = Qwen3OmniMoeThinkerForConditionalGeneration(_config(tokenizer))
    with torch.no_grad():
        # Weights of deviation 0.02 cannot express confident logits; an adapter alone then stalls early.
        model.lm_head.weight.mul_(10)
        model.get_input_embeddings().weight.mul_(10)
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids("<|im_end|>")
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def _config(tokenizer: Any) -> Any:
    from transformers import Qwen3OmniMoeThinkerConfig

    number = tokenizer.convert_tokens_to_ids
    width, head = 128, 32
    text = {
        "vocab_size": (len(tokenizer) // 64 + 1) * 64,  # spare rows, as the published matrix has them
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": head,
        "moe_intermediate_size": 32,
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "max_position_embeddings": 4096,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e6,
            "mrope_section": [head // 4, head // 8, head // 8],
            "mrope_interleaved": True,
            "interleaved": True,
        },
        "pad_token_id": number("<|endoftext|>"),
        "eos_token_id": number("<|im_end|>"),
    }
    vision = {
        "depth": 4,
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_heads": 4,
        "out_hidden_size": width,
        "patch_size": 16,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "num_position_embeddings": 48 * 48,
        "deepstack_visual_indexes": [0, 1],
    }
    audio = {
        "d_model": width,
        "encoder_layers": 2,
        "encoder_attention_heads": 4,
        "encoder_ffn_dim": 2 * width,
        "output_dim": width,
        "num_mel_bins": 128,
        "downsample_hidden_size": 16,
        "n_window": 50,
        "n_window_infer": 800,
    }
    return Qwen3OmniMoeThinkerConfig(
        text_config=text,
        vision_config=vision,
        audio_config=audio,
        position_id_per_seconds=13,
        audio_token_id=number("<|audio_pad|>"),
        image_token_id=number("<|image_pad|>"),
        video_token_id=number("<|video_pad|>"),
        audio_start_token_id=number("<|audio_start|>"),
        vision_start_token_id=number("<|vision_start|>"),  # read by the model, declared by nobody
        user_token_id=tokenizer.encode("user")[0],
        pad_token_id=number("<|endoftext|>"),
    )


def vocabulary_texts() -> list[str]:
    """What generated episodes say, so that a label is a few tokens and not thirty letters."""
    from pipeline.data.synth.vocabulary import DEFAULT

    return [*DEFAULT.actions, *DEFAULT.subtasks, *DEFAULT.objects]


def main(argv: list[str] | None = None) -> int:
    """Write a tiny checkpoint; tells what is missing on stderr and by the exit status."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.standin.qwen", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="directory to write")
    options = parser.parse_args(argv)
    try:
        write_tiny_checkpoint(options.folder, texts=vocabulary_texts())
    except ModuleNotFoundError as error:
        sys.stderr.write(f"a checkpoint needs the library {error.name}: pip install 'xops[ml]'\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
