"""Holding a decoder to a schema, token by token, with llguidance.

Used directly rather than through an outer library: at 152,000 tokens of vocabulary a mask takes 0.3 ms, every
answer of an untrained model is valid, and nothing is printed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import llguidance
import llguidance.hf
import torch

from pipeline.engine.errors import UsageError


class Grammar:
    """A schema compiled for one tokenizer.

    Args:
        tokenizer: a fast tokenizer of transformers.
        rows: of the model's vocabulary matrix, which may be more than the tokenizer's tokens.
        schema: see `pipeline.evaluate.schema`.

    Raises:
        UsageError: the schema cannot be compiled.
    """

    def __init__(self, tokenizer: Any, rows: int, schema: Mapping[str, Any]) -> None:
        self.rows = rows
        self._end = int(tokenizer.eos_token_id)
        self._tokenizer = llguidance.hf.from_tokenizer(tokenizer, n_vocab=rows, eos_token=self._end)
        compiler = llguidance.JsonCompiler(
            separators=(",", ":"),  # no blanks, as the training target is written
            whitespace_flexible=False,
        )
        try:
            self._grammar = compiler.compile(json.dumps(schema))
        except ValueError as error:
            raise UsageError(f"the answer's schema cannot be compiled: {error}") from None

    def constraint(self, batch: int) -> Constraint:
        """A fresh constraint for so many answers at once."""
        matchers = [llguidance.LLMatcher(self._tokenizer, self._grammar) for _ in range(batch)]
        return Constraint(matchers, self.rows, self._end)


class Constraint:
    """Masks scores of one `generate` call; called once per step with all tokens so far."""

    def __init__(self, matchers: list[Any], rows: int, end: int) -> None:
        self._matchers, self._rows, self._end = matchers, rows, end
        self._mask = torch.zeros((len(matchers), (rows + 31) // 32), dtype=torch.int32)
        self._bits = torch.arange(32, dtype=torch.int32)
        self._started = False

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """`scores` (batch, vocabulary) with every token that would leave the schema at minus infinity."""
        if self._started:
            for matcher, token in zip(self._matchers, input_ids[:, -1].tolist(), strict=True):
                if not matcher.is_stopped():
                    matcher.consume_token(token)
        self._started = True
        for row, matcher in enumerate(self._matchers):
            if matcher.is_stopped():
                self._mask[row] = 0
                self._mask[row, self._end // 32] = _bit(self._end % 32)
            else:
                place = self._mask[row]
                matcher.unsafe_compute_mask_ptr(place.data_ptr(), place.numel() * 4)
        mask = self._mask.to(scores.device)
        allowed = ((mask.unsqueeze(-1) >> self._bits.to(scores.device)) & 1).flatten(1)[:, : scores.shape[1]]
        return scores.masked_fill(allowed == 0, float("-inf"))


def _bit(place: int) -> int:
    """A one at a place of a signed 32-bit number."""
    return 1 << place if place < 31 else -(1 << 31)
