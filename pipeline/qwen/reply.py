"""One batch of answers: prompts in, text out, greedily, within a grammar where one is given."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from msgspec import Struct

from pipeline.qwen.collate import Batch

#: Scores of the next token (batch, vocabulary) -> the same with what may not be said at minus infinity.
Constrain = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Answered(Struct, frozen=True):
    """One answer.

    Attributes:
        text: without special tokens.
        prompt_tokens, completion_tokens: media are part of the prompt.
        seconds: of its batch, divided by the batch's size.
        truncated: the longest allowed answer was reached before its end.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    truncated: bool


def generate(
    model: Any,
    tokenizer: Any,
    batch: Batch,
    *,
    max_tokens: int,
    constrain: Constrain | None = None,
) -> list[Answered]:
    """Answers of a batch of prompts, in its order.

    Args:
        model: in evaluation mode, on the batch's device.
        tokenizer: of the checkpoint.
        batch: without answers.
        max_tokens: of an answer.
        constrain: see `Constrain`; called once per step with all tokens so far.
    """
    began = time.perf_counter()
    with torch.inference_mode():
        tokens = model.generate(
            **batch.inputs,
            max_new_tokens=max_tokens,
            do_sample=False,
            use_cache=True,
            logits_processor=[constrain] if constrain else None,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    new = tokens[:, batch.inputs["input_ids"].shape[1] :].tolist()
    seconds = (time.perf_counter() - began) / len(new)
    return [
        _answered(tokenizer, row, prompt, seconds)
        for row, prompt in zip(new, batch.prompt_tokens, strict=True)
    ]


def _answered(tokenizer: Any, row: Sequence[int], prompt: int, seconds: float) -> Answered:
    ended = tokenizer.eos_token_id in row
    kept = list(row[: row.index(tokenizer.eos_token_id)]) if ended else list(row)
    text = tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return Answered(text, prompt, len(kept), seconds, truncated=not ended)
