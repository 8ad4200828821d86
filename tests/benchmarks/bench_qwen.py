"""What the Qwen branch costs beside a plain loop, one answer at a time, and no grammar.

    python tests/benchmarks/bench_qwen.py [--rounds N]

A tiny checkpoint of the real classes on this CPU. Aims: a train step >= 0.95 x the speed of transformers
and peft alone on the same batch; batched answers >= 2 x one at a time; a grammar <= 5 % of a decoding step at
the real vocabulary size. The last is beside the published model's output head alone, about a tenth of a step.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "qwen"))

from small import ACTIONS, LAYOUT, make_dataset, rows_of, settings

from pipeline.evaluate.constrain import Grammar
from pipeline.evaluate.schema import Vocabulary, answer_schema
from pipeline.qwen.adapter import add_lora
from pipeline.qwen.collate import Batch, Collator
from pipeline.qwen.model import load_thinker
from pipeline.qwen.objective import answer_loss
from pipeline.qwen.processor import load_processor
from pipeline.qwen.reply import generate
from pipeline.qwen.samples import Samples
from pipeline.qwen.sensors import streams_of
from pipeline.standin.qwen import write_tiny_checkpoint

#: Tokens of the published vocabulary.
REAL_VOCABULARY = 151_936


def median(work: Callable[[], object], rounds: int) -> float:
    """Median seconds of `work`, after two rounds to warm up."""
    times = []
    for number in range(rounds + 2):
        began = time.perf_counter()
        work()
        if number >= 2:
            times.append(time.perf_counter() - began)
    return statistics.median(times)


def train_steps(model: Any, batch: Batch, rounds: int) -> tuple[float, float]:
    """Seconds of our step, and of the plain one: the whole sequence through the head, labels masked."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4)
    assert batch.labels is not None
    labels = torch.full_like(batch.inputs["input_ids"], -100)
    labels[:, -batch.labels.shape[1] :] = batch.labels

    def update(loss: torch.Tensor) -> None:
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    model.train()
    ours = median(lambda: update(answer_loss(model, batch) / sum(batch.answer_tokens)), rounds)
    plain = median(lambda: update(model(**batch.inputs, labels=labels, use_cache=False).loss), rounds)
    return ours, plain


def answers(
    model: Any, processor: Any, collate: Collator, samples: Samples, rows: list[Any]
) -> tuple[float, float]:
    """Seconds for all rows in one batch, and one after the other."""
    model.eval()
    asked = [samples.make(row, answered=False) for row in rows]

    def ask(group: list[Any]) -> None:
        generate(model, processor.tokenizer, collate(group), max_tokens=48)

    together = median(lambda: ask(asked), 3)
    alone = median(lambda: [ask([one]) for one in asked], 3)
    return together, alone


def large_tokenizer(tokenizer: Any) -> Any:
    """The tokenizer with as many tokens as the published one: pairs of tokens, merged at random."""
    import json

    from tokenizers import Tokenizer

    pick = random.Random(0)
    record = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary, merges = record["model"]["vocab"], record["model"]["merges"]
    known = [token for token in vocabulary if not token.startswith("<|")]
    free = max(*vocabulary.values(), *(t["id"] for t in record["added_tokens"])) + 1
    while free < REAL_VOCABULARY:
        one, other = pick.choice(known), pick.choice(known)
        if len(one + other) < 12 and one + other not in vocabulary:
            vocabulary[one + other] = free
            merges.append([one, other])
            known.append(one + other)
            free += 1
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(record)), eos_token=tokenizer.eos_token
    )


def grammar_step(tokenizer: Any, batch: int) -> float:
    """Seconds of one constrained step over the whole batch, consuming, masking and filling scores."""
    vocabulary = Vocabulary(tuple(f"Action number {n}" for n in range(900)))
    grammar = Grammar(tokenizer, REAL_VOCABULARY, answer_schema(vocabulary))
    constraint = grammar.constraint(batch)
    ids = torch.zeros((batch, 1), dtype=torch.long)
    times = []
    for _ in range(60):
        scores = torch.randn(batch, REAL_VOCABULARY)
        began = time.perf_counter()
        allowed = constraint(ids, scores)
        times.append(time.perf_counter() - began)
        ids = torch.cat([ids, allowed.argmax(dim=1, keepdim=True)], dim=1)
    return statistics.median(times[5:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        dataset = make_dataset(folder / "data", train=8, val=0, test=0)
        write_tiny_checkpoint(folder / "model", texts=ACTIONS)
        processor = load_processor(folder / "model")
        streams = streams_of(LAYOUT.published())
        thinker = load_thinker(folder / "model", processor, streams=streams)
        model = add_lora(thinker, settings(folder / "model"))
        samples = Samples(dataset, processor, cache_bytes=1 << 30)
        collate = Collator(
            processor, sensor_tokens=len(streams), sensor_shape=(LAYOUT.dim, len(LAYOUT.blocks))
        )
        rows = rows_of(dataset)
        batch = collate([samples.make(row, answered=True) for row in rows[:4]])
        ours, plain = train_steps(model, batch, options.rounds)
        print(f"train step: {ours * 1e3:.0f} ms, plain {plain * 1e3:.0f} ms: {plain / ours:.2f} x")
        together, alone = answers(model, processor, collate, samples, rows)
        print(f"8 answers: {together:.2f} s in a batch, {alone:.2f} s one by one: {alone / together:.2f} x")
        tokenizer = large_tokenizer(processor.tokenizer)
        step = grammar_step(tokenizer, 8)
        head = torch.randn(2048, REAL_VOCABULARY)
        hidden = torch.randn(8, 2048)
        decode = median(lambda: hidden @ head, 10)
        print(
            f"grammar, 8 rows, {REAL_VOCABULARY:,} tokens, 900 labels: {step * 1e3:.1f} ms a step; "
            f"the head of the published width alone {decode * 1e3:.1f} ms: {step / decode:.2f} of it"
        )
        samples.close()


if __name__ == "__main__":
    main()
