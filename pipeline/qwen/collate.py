"""Samples to the thinker's inputs, and which of their tokens are the answer.

Rows are padded on the left, so an answer is always the tail of its row, after the processor has replaced
media by as many tokens as they take. The original measured the prompt before that, and kept thousands of
prompt tokens in its loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from msgspec import Struct
from numpy.typing import NDArray

from pipeline.engine.errors import StageFailedError, UsageError
from pipeline.qwen.media import Media
from pipeline.qwen.prompt import SENSORS, PromptText
from pipeline.qwen.tokens import SENSOR_TOKEN

#: Closes the assistant's turn in the published chat template.
END = "<|im_end|>\n"

#: Labels that no loss looks at.
IGNORED = -100


class Sample(Struct, frozen=True):
    """One question with its media, and the answer where it is known.

    Attributes:
        id: of the row.
        prompt: system and user text.
        media: clip and sound.
        features: the sensor vector (numbers,) and its validities (blocks,); None where there is none.
        target: the answer's text; empty when it is asked for.
    """

    id: str
    prompt: PromptText
    media: Media
    features: tuple[NDArray[np.float32], NDArray[np.float32]] | None
    target: str = ""


class Limits(Struct, frozen=True):
    """What one sample may cost.

    Attributes:
        min_pixels, max_pixels: per picture of a clip; 0 leaves the processor's own.
        max_prompt_tokens: longest prompt, media included.
    """

    min_pixels: int = 0
    max_pixels: int = 0
    max_prompt_tokens: int = 8192


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs of several samples.

    Attributes:
        ids: of the samples.
        inputs: keyword arguments of the thinker.
        labels: (samples, tail) of the last positions, `IGNORED` where no answer is; None without answers.
        prompt_tokens, answer_tokens, media_tokens: of each sample; media are part of the prompt.
        frames: pictures of each sample that the model gets.
    """

    ids: tuple[str, ...]
    inputs: dict[str, Any]
    labels: torch.Tensor | None
    prompt_tokens: tuple[int, ...]
    answer_tokens: tuple[int, ...]
    media_tokens: tuple[int, ...]
    frames: tuple[int, ...]

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Batch:
        """The same on a device; pictures and sound in the model's own precision."""
        moved = {
            key: value.to(device, dtype) if _is_media(key, value) else value.to(device)
            for key, value in self.inputs.items()
        }
        labels = None if self.labels is None else self.labels.to(device)
        return Batch(
            self.ids,
            moved,
            labels,
            self.prompt_tokens,
            self.answer_tokens,
            self.media_tokens,
            self.frames,
        )


def _is_media(key: str, value: torch.Tensor) -> bool:
    return value.is_floating_point() and not key.startswith(("sensor_", "video_second"))


class Collator:
    """Makes batches.

    Args:
        processor: of the checkpoint, see `load_processor`; it knows the sensor placeholder.
        sensor_tokens: placeholders of a sample; 0 without a bridge.
        sensor_shape: numbers and blocks of a feature vector, for samples that have none.
        limits: what a sample may cost.
    """

    def __init__(
        self,
        processor: Any,
        *,
        sensor_tokens: int = 0,
        sensor_shape: tuple[int, int] = (0, 0),
        limits: Limits | None = None,
    ) -> None:
        self._processor = processor
        self._tokens = sensor_tokens
        self._shape = sensor_shape
        self._limits = limits or Limits()
        tokenizer = processor.tokenizer
        names = (processor.video_token, processor.audio_token, SENSOR_TOKEN)
        self._media_ids = torch.tensor([tokenizer.convert_tokens_to_ids(name) for name in names])

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """One batch.

        Raises:
            StageFailedError: an answer is not where it should be, which would train the wrong tokens.
            UsageError: a prompt is longer than `max_prompt_tokens`, or samples with and without answers mix.
        """
        answers = [self._answer(sample) for sample in samples]
        if len({bool(answer) for answer in answers}) > 1:
            raise UsageError("a batch has answers for all of its samples, or for none")
        inputs = dict(self._processed(samples))
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        lengths = [int(n) for n in mask.sum(dim=1)]
        prompts = tuple(length - len(a) for length, a in zip(lengths, answers, strict=True))
        self._check_length(samples, prompts)
        if self._tokens:
            inputs |= self._sensors(samples)
        media = torch.isin(ids, self._media_ids).sum(dim=1)
        return Batch(
            ids=tuple(sample.id for sample in samples),
            inputs=inputs,
            labels=self._labels(samples, ids, answers) if any(answers) else None,
            prompt_tokens=prompts,
            answer_tokens=tuple(map(len, answers)),
            media_tokens=tuple(int(n) for n in media),
            frames=tuple(0 if s.media.frames is None else len(s.media.frames) for s in samples),
        )

    def text(self, sample: Sample) -> str:
        """The whole text of a sample, in the checkpoint's chat template, media as single placeholders."""
        parts: list[dict[str, str]] = []
        if sample.media.frames is not None:
            parts.append({"type": "video"})
        if sample.media.sound is not None:
            parts.append({"type": "audio"})
        sensors = f"{SENSORS}{SENSOR_TOKEN * self._tokens}\n" if self._tokens else ""
        parts.append({"type": "text", "text": sensors + sample.prompt.user})
        turns = [
            {"role": "system", "content": [{"type": "text", "text": sample.prompt.system}]},
            {"role": "user", "content": parts},
        ]
        text: str = self._processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return text + (sample.target + END if sample.target else "")

    def _answer(self, sample: Sample) -> list[int]:
        if not sample.target:
            return []
        ids: list[int] = self._processor.tokenizer(sample.target + END, add_special_tokens=False)["input_ids"]
        return ids

    def _processed(self, samples: Sequence[Sample]) -> Any:
        videos = [s.media.frames for s in samples if s.media.frames is not None]
        sounds = [s.media.sound for s in samples if s.media.sound is not None]
        rates = {s.media.frames_per_s for s in samples if s.media.frames is not None}
        return self._processor(
            text=[self.text(sample) for sample in samples],
            videos=videos or None,
            audio=sounds or None,
            return_tensors="pt",
            padding=True,
            padding_side="left",
            videos_kwargs=self._video_options(next(iter(rates), 1.0)),
        ) | self._grid_seconds(samples)

    def _video_options(self, rate: float) -> dict[str, Any]:
        options: dict[str, Any] = {"fps": rate, "do_sample_frames": False}
        own = dict(self._processor.video_processor.size)
        least, most = self._limits.min_pixels, self._limits.max_pixels
        options["size"] = {
            "shortest_edge": least or own["shortest_edge"],
            "longest_edge": most or own["longest_edge"],
        }
        return options

    def _grid_seconds(self, samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
        """Seconds per step of each clip's grid: clips of one batch may have been sampled at other rates."""
        patch = self._processor.video_processor.temporal_patch_size
        rates = [s.media.frames_per_s for s in samples if s.media.frames is not None]
        return {"video_second_per_grid": torch.tensor([patch / rate for rate in rates])} if rates else {}

    def _sensors(self, samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
        numbers, blocks = self._shape
        nothing = np.zeros(numbers, np.float32), np.zeros(blocks, np.float32)
        found = [sample.features or nothing for sample in samples]
        return {
            "sensor_features": torch.from_numpy(np.stack([values for values, _ in found])),
            "sensor_valid": torch.from_numpy(np.stack([valid for _, valid in found])),
        }

    def _labels(
        self, samples: Sequence[Sample], ids: torch.Tensor, answers: Sequence[list[int]]
    ) -> torch.Tensor:
        tail = max(map(len, answers))
        labels = torch.full((len(samples), tail), IGNORED)
        for index, (sample, answer) in enumerate(zip(samples, answers, strict=True)):
            found = ids[index, -len(answer) :]
            if found.tolist() != answer:
                raise StageFailedError(
                    f"{sample.id}: the answer is not the end of its row of {ids.shape[1]} tokens",
                    hint="this checkpoint's chat template or tokenizer is not one xops knows",
                )
            labels[index, -len(answer) :] = found
        return labels

    def _check_length(self, samples: Sequence[Sample], prompts: Sequence[int]) -> None:
        for sample, tokens in zip(samples, prompts, strict=True):
            if tokens > self._limits.max_prompt_tokens:
                raise UsageError(
                    f"{sample.id}: the prompt has {tokens} tokens, {self._limits.max_prompt_tokens} may be",
                    hint="lower max_pixels, or raise max_prompt_tokens",
                )
