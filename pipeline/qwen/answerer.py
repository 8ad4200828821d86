"""The thinker in this process as an `Answerer` of evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from pipeline.engine.errors import NotFoundError
from pipeline.engine.files import read_json
from pipeline.engine.log import Emit
from pipeline.evaluate.answerer import Question, Reply
from pipeline.evaluate.constrain import Grammar
from pipeline.evaluate.rows import EvalRows
from pipeline.evaluate.schema import UNCONSTRAINED_TOKENS, Vocabulary, answer_schema, longest_answer
from pipeline.qwen.adapter import BRIDGE, adapter_hash, load_adapter, read_bridge
from pipeline.qwen.collate import Collator, Limits, Sample
from pipeline.qwen.model import base_facts, load_thinker
from pipeline.qwen.processor import load_processor
from pipeline.qwen.prompt import prompt_hash
from pipeline.qwen.reply import generate
from pipeline.qwen.samples import Samples


class ThinkerAnswerer:
    """Answers rows of one dataset.

    Args:
        model: with its adapter, in evaluation mode.
        processor: of the checkpoint.
        collate, samples: as in training, without answers.
        grammar: that answers are held to; None for none.
        max_tokens: of an answer.
        identity: see `Answerer`.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        *,
        collate: Collator,
        samples: Samples,
        grammar: Grammar | None,
        max_tokens: int,
        identity: Mapping[str, str],
    ) -> None:
        self.identity = identity
        self._model, self._tokenizer = model, processor.tokenizer
        self._collate, self._samples = collate, samples
        self._grammar, self._max_tokens = grammar, max_tokens

    def answer(self, questions: Sequence[Question]) -> list[Reply | Exception]:
        """One batch; a question whose media cannot be read gets that error and does not hold up the rest."""
        self._samples.expect([question.row for question in questions])
        made: list[Sample | Exception] = [self._sample(question) for question in questions]
        good = [sample for sample in made if isinstance(sample, Sample)]
        replies = iter(self._answered(good) if good else ())
        return [next(replies) if isinstance(one, Sample) else one for one in made]

    def close(self) -> None:
        """Let the readers end."""
        self._samples.close()

    def _sample(self, question: Question) -> Sample | Exception:
        try:
            return self._samples.make(question.row, answered=False)
        except Exception as error:  # noqa: BLE001 - one bad sample is a row with its reason
            return error

    def _answered(self, samples: Sequence[Sample]) -> list[Reply]:
        batch = self._collate(samples).to(self._model.device, self._model.dtype)
        constrain = self._grammar.constraint(len(samples)) if self._grammar else None
        found = generate(
            self._model, self._tokenizer, batch, max_tokens=self._max_tokens, constrain=constrain
        )
        return [
            Reply(
                name,
                one.text,
                one.prompt_tokens,
                one.completion_tokens,
                one.seconds,
                "length" if one.truncated else "stop",
            )
            for name, one in zip(batch.ids, found, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Loaded:
    """Everything one training published, ready to be asked.

    Attributes:
        record: its `training_metadata.json`.
        folder: of the adapter or model.
        model: in evaluation mode.
        processor, collate, samples: as in training.
        limits: of a sample.
        precision: of the weights.
    """

    record: Mapping[str, Any]
    folder: Path
    model: Any
    processor: Any
    collate: Collator
    samples: Samples
    limits: Limits
    precision: str


def load_trained(
    train: Path,
    dataset: Path,
    *,
    precision: str = "",
    max_pixels: int = 0,
    max_prompt_tokens: int = 0,
) -> Loaded:
    """Base, adapter and bridge as one training published them.

    Args:
        train: the published folder of a train stage.
        dataset: folder of the dataset.
        precision: other than in training; empty for the same.
        max_pixels: the same; 0 for the same.
        max_prompt_tokens: the same; 0 for the same.

    Raises:
        NotFoundError: the training's folder or its base model is not there.
        DamagedFileError: weights are torn or fit another base.
    """
    record = read_json(train / "training_metadata.json")
    settings = record["settings"]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    precision = precision or settings["precision"]
    folder = train / ("adapter" if (train / "adapter").is_dir() else "model")
    home = Path(record["base_model"]["path"])
    if not home.is_dir():
        raise NotFoundError(
            f"the base model {home} is not on this host", hint="mount it, or train again here"
        )
    processor = load_processor(home)
    streams, tokens = read_bridge(folder)
    model = load_thinker(
        home if folder.name == "adapter" else folder,
        processor,
        streams=streams,
        sensor_tokens=tokens,
        dtype=getattr(torch, precision),
        device=device,
    )
    limits = Limits(
        settings["min_pixels"],
        max_pixels or settings["max_pixels"],
        max_prompt_tokens or settings["max_prompt_tokens"],
    )
    collate = Collator(
        processor, sensor_tokens=len(streams) * tokens, sensor_shape=_shape(dataset), limits=limits
    )
    samples = Samples(dataset, processor, sensors=bool(streams), limits=limits)
    return Loaded(record, folder, _weights(model, folder), processor, collate, samples, limits, precision)


def open_answerer(params: Any, train: Path, dataset: Path, rows: EvalRows, emit: Emit) -> ThinkerAnswerer:
    """The backend `transformers`.

    Args:
        params: of the eval stage.
        train: the published folder of a train stage.
        dataset: folder of the dataset.
        rows: what will be asked.
        emit: tells of the loading.

    Raises:
        XopsError: see `load_trained`.
    """
    if params.threads:
        torch.set_num_threads(params.threads)
    emit("model_load_start", adapter=str(train))
    loaded = load_trained(
        train,
        dataset,
        precision=params.precision,
        max_pixels=params.max_pixels,
        max_prompt_tokens=params.max_prompt_tokens,
    )
    emit("model_load_done", adapter=loaded.record["adapter_sha256"])
    grammar, longest = None, UNCONSTRAINED_TOKENS
    if params.labels != "unconstrained":
        vocabulary = rows.vocabulary if params.labels == "train" else Vocabulary()
        matrix = int(loaded.model.get_output_embeddings().weight.shape[0])
        grammar = Grammar(loaded.processor.tokenizer, matrix, answer_schema(vocabulary))
        longest = longest_answer(vocabulary)
    most = params.max_tokens or longest
    return ThinkerAnswerer(
        loaded.model,
        loaded.processor,
        collate=loaded.collate,
        samples=loaded.samples,
        grammar=grammar,
        max_tokens=most,
        identity={
            "adapter": adapter_hash(loaded.folder),
            "base": base_facts(Path(loaded.record["base_model"]["path"]))["config_sha256"],
            "prompt": prompt_hash(),
            "decoding": f"greedy {params.labels} {most} tokens {loaded.precision}",
            "pixels": f"{loaded.limits.min_pixels}-{loaded.limits.max_pixels}",
        },
    )


def _weights(model: Any, folder: Path) -> Any:
    if folder.name == "adapter":
        return load_adapter(model, folder)
    if model.sensor_bridge is not None:
        model.sensor_bridge.load_state_dict(load_file(folder / BRIDGE))
    return model.eval()


def _shape(dataset: Path) -> tuple[int, int]:
    """Numbers and blocks of a feature vector."""
    blocks = read_json(dataset / "dataset_manifest.json").get("feature_manifest") or []
    return (int(blocks[-1]["end"]), len(blocks)) if blocks else (0, 0)
