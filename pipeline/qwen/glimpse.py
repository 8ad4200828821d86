"""A look at what the model says during training: a few val rows, answered without any constraint.

Loss alone hid for weeks that the original's model had learned a label list; this shows answers, beside
what the most frequent label alone would score.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from pipeline.metrics.answers import is_valid, parse_answer
from pipeline.qwen.adapter import base_of
from pipeline.qwen.collate import Collator
from pipeline.qwen.prompt import target_text
from pipeline.qwen.reply import generate
from pipeline.qwen.rows import TrainingRow
from pipeline.qwen.samples import Samples

#: Rows of one batch, and tokens of an answer.
_BATCH, _MAX_TOKENS = 8, 256


def glimpse(
    model: Any,
    tokenizer: Any,
    collate: Collator,
    samples: Samples,
    rows: Sequence[TrainingRow],
) -> dict[str, Any]:
    """The fields of a `generated_eval` event.

    Args:
        model: in evaluation mode.
        tokenizer: of the checkpoint.
        collate: as in training.
        samples: as in training.
        rows: of the val split.
    """
    device, dtype = base_of(model).device, base_of(model).dtype
    texts: list[str] = []
    for at in range(0, len(rows), _BATCH):
        asked = [samples.make(row.content, answered=False) for row in rows[at : at + _BATCH]]
        batch = collate(asked).to(device, dtype)
        texts += [one.text for one in generate(model, tokenizer, batch, max_tokens=_MAX_TOKENS)]
    answers = [parse_answer(text) for text in texts]
    actions = [row.content["answer_json"]["action"] for row in rows]
    right = sum(answer.get("action") == action for answer, action in zip(answers, actions, strict=True))
    exact = sum(text == target_text(row.content) for text, row in zip(texts, rows, strict=True))
    most = max(Counter(actions).values(), default=0)
    return {
        "rows": len(rows),
        "json_validity_rate": sum(map(is_valid, answers)) / len(rows),
        "action_accuracy": right / len(rows),
        "exact_rate": exact / len(rows),
        "baseline_action_accuracy": most / len(rows),
    }
