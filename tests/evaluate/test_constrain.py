"""An answer held to its schema is always whole, always ends, and can always be the right one."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.data.export.rows import MOST_OBJECTS, Answer, Evidence, training_target
from pipeline.data.windows import UNKNOWN
from pipeline.evaluate.constrain import Grammar
from pipeline.evaluate.schema import LARGEST_FRAME, LONGEST_LABEL, Vocabulary, answer_schema, longest_answer
from pipeline.metrics.answers import FIELDS

WORDS = Vocabulary(
    actions=("Fill kettle", 'Say "no"', "Wipe \\ dry", "Käse reiben 🧀", "a"),
    subtasks=("Tea", "Line\nbreak"),
    objects=("kettle", "Löffel", "tool/wall"),
)
FREE = Vocabulary()

#: More rows than tokens, as checkpoints have.
SPARE_ROWS = 37


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """All bytes and some merges: what a byte-level vocabulary is like, only smaller."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|im_end|>", "<|pad|>"],
    )
    texts = [
        json.dumps(answer_schema(WORDS)),
        '{"action":"',
        '","contact":"yes","evidence_window":{"end_frame":',
    ]
    inner.train_from_iterator(texts * 5, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|im_end|>", pad_token="<|pad|>")


def decode(tokenizer: Any, grammar: Grammar, seeds: list[int], most: int, taste: torch.Tensor) -> list[str]:
    """What models of random scores say, one seed each, `taste` added to the scores of every step."""
    ids = torch.zeros((len(seeds), 3), dtype=torch.long)
    constraint = grammar.constraint(len(seeds))
    dice = [torch.Generator().manual_seed(seed) for seed in seeds]
    said: list[list[int]] = [[] for _ in seeds]
    ended = [False] * len(seeds)
    for _ in range(most):
        scores = torch.stack([torch.randn(grammar.rows, generator=one) for one in dice]) + taste
        held = constraint(ids, scores)
        assert torch.isfinite(held).any(dim=1).all(), "there is always something to say"
        chosen = held.argmax(dim=1)
        assert int(chosen.max()) < len(tokenizer)
        for row, token in enumerate(chosen.tolist()):
            if ended[row]:
                assert token == tokenizer.eos_token_id, "nothing is said after the end"
            elif token == tokenizer.eos_token_id:
                ended[row] = True
            else:
                said[row].append(token)
        ids = torch.cat([ids, chosen[:, None]], dim=1)
        if all(ended):
            return [tokenizer.decode(one, clean_up_tokenization_spaces=False) for one in said]
    pytest.fail(f"not at its end after {most} tokens")


def grammar_of(tokenizer: Any, words: Vocabulary) -> Grammar:
    return Grammar(tokenizer, len(tokenizer) + SPARE_ROWS, answer_schema(words))


def is_within(text: str, words: Vocabulary) -> None:
    """Whether a text is an answer of the schema, told without the library that made it."""
    found = json.loads(text)
    assert tuple(sorted(found)) == tuple(sorted(FIELDS))
    assert (
        text == json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=False) or "\\u" in text
    )
    for field, known in (
        ("action", words.actions),
        ("next_action", words.actions),
        ("subtask", words.subtasks),
    ):
        assert found[field] in {*known, UNKNOWN} if known else len(found[field]) <= LONGEST_LABEL
    assert len(found["objects"]) <= MOST_OBJECTS
    assert not words.objects or set(found["objects"]) <= set(words.objects)
    assert {found["contact"], found["transition"]} <= {"yes", "no", UNKNOWN}
    window = found["evidence_window"]
    assert sorted(window) == ["end_frame", "start_frame"]
    assert all(type(frame) is int and 0 <= frame <= LARGEST_FRAME for frame in window.values())


@pytest.mark.parametrize("words", [WORDS, FREE], ids=["train", "free"])
def test_a_model_that_knows_nothing_answers_validly_every_time(tokenizer: Any, words: Vocabulary) -> None:
    grammar = grammar_of(tokenizer, words)
    seeds = list(range(16))
    for text in decode(tokenizer, grammar, seeds, longest_answer(words), torch.zeros(grammar.rows)):
        is_within(text, words)


@pytest.mark.parametrize("words", [WORDS, FREE], ids=["train", "free"])
def test_a_model_that_never_wants_to_end_does(tokenizer: Any, words: Vocabulary) -> None:
    """One byte a token, no quote while anything else is allowed, escapes wherever they are."""
    grammar = grammar_of(tokenizer, words)
    taste = torch.zeros(grammar.rows)
    for token in range(len(tokenizer)):
        text = tokenizer.decode([token])
        taste[token] -= 50.0 * len(text)
        if '"' in text or "]" in text or token == tokenizer.eos_token_id:
            taste[token] -= 1000.0
        if text in {"\\", "u", ","}:
            taste[token] += 100.0
    (text,) = decode(tokenizer, grammar, [1], longest_answer(words), taste)
    is_within(text, words)


#: Delete is the one character that the grammar wants escaped and the training target does not escape.
LABEL = st.text(st.characters(exclude_characters="\x7f", codec="utf-8"), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_training_target_is_within_its_vocabularys_schema(tokenizer: Any, data: st.DataObject) -> None:
    labels = data.draw(st.lists(LABEL, min_size=1, max_size=6, unique=True))
    words = Vocabulary(tuple(labels), tuple(labels), tuple(labels))
    pick = st.sampled_from([*labels, UNKNOWN])
    answer = Answer(
        action=data.draw(pick),
        subtask=data.draw(pick),
        objects=tuple(data.draw(st.lists(st.sampled_from(labels), max_size=12))),
        contact=data.draw(st.sampled_from(["yes", "no", UNKNOWN])),
        transition="no",
        next_action=data.draw(pick),
        evidence_window=Evidence(data.draw(st.integers(0, LARGEST_FRAME)), 7),
    )
    target = training_target(answer)
    assert says(tokenizer, words, target)
    assert len(target.encode()) < longest_answer(words)


def says(tokenizer: Any, words: Vocabulary, target: str) -> bool:
    """Whether the grammar lets a model write `target` and end there."""
    grammar = grammar_of(tokenizer, words)
    constraint = grammar.constraint(1)
    ids = torch.zeros((1, 1), dtype=torch.long)
    for token in [*tokenizer(target, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]:
        held = constraint(ids, torch.zeros((1, grammar.rows)))
        if not torch.isfinite(held[0, token]):
            return False
        ids = torch.cat([ids, torch.tensor([[token]])], dim=1)
    return True


def test_labels_that_need_escapes_are_within_the_bound(tokenizer: Any) -> None:
    label = "\n\x01" * 40
    words = Vocabulary((label,), (label,), (label,))
    grammar = grammar_of(tokenizer, words)
    taste = torch.zeros(grammar.rows)
    for token in range(len(tokenizer)):
        text = tokenizer.decode([token])
        taste[token] -= 50.0 * len(text) + 200.0 * (text in {"]", "n"}) + 100.0 * ("unk" in text)
    (text,) = decode(tokenizer, grammar, [3], longest_answer(words), taste)
    is_within(text, words)
    assert "\\u0001" in text


@pytest.mark.parametrize(
    ("change", "within"),
    [
        ({}, True),
        ({"action": "Fly"}, False),
        ({"next_action": UNKNOWN}, True),
        ({"contact": "maybe"}, False),
        ({"objects": ["kettle"] * (MOST_OBJECTS + 1)}, False),
        ({"objects": ["spoon"]}, False),
        ({"evidence_window": {"end_frame": 1.5, "start_frame": 0}}, False),
        ({"evidence_window": {"end_frame": -1, "start_frame": 0}}, False),
        ({"more": 1}, False),
    ],
)
def test_what_is_within_and_what_is_not(tokenizer: Any, change: dict[str, Any], within: bool) -> None:
    answer = {
        "action": "Fill kettle",
        "contact": "yes",
        "evidence_window": {"end_frame": 19, "start_frame": 0},
        "next_action": 'Say "no"',
        "objects": ["Löffel"],
        "subtask": "Line\nbreak",
        "transition": "no",
    } | change
    assert says(tokenizer, WORDS, msgspec.json.encode(answer, order="sorted").decode()) is within


def test_blanks_that_no_training_target_has_are_not_allowed(tokenizer: Any) -> None:
    assert not says(tokenizer, WORDS, '{ "action":"Fill kettle"')
    assert not says(tokenizer, WORDS, '{"action": "Fill kettle"')
