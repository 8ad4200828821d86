"""The sensor bridge: a window's feature vector becomes tokens the thinker reads beside video, sound and text.

Features are standardised with statistics of the train split, which travel with the weights. There is no
LayerNorm on the input: it would erase the magnitudes, which carry the meaning.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from msgspec import Struct
from numpy.typing import NDArray
from torch import nn
from transformers import Qwen3OmniMoeThinkerForConditionalGeneration

from pipeline.data.export.layout import TEXT_BLOCK
from pipeline.engine.errors import StageFailedError

#: Standardised features beyond this many deviations say nothing more.
FARTHEST = 10.0


class Stream(Struct, frozen=True):
    """A stretch of the feature vector that becomes tokens of its own.

    Attributes:
        name: of its block.
        start, end: its numbers, end outside.
        column: its place in the table of validities.
    """

    name: str
    start: int
    end: int
    column: int


def streams_of(feature_manifest: Sequence[Mapping[str, Any]]) -> tuple[Stream, ...]:
    """The streams of a dataset's `feature_manifest`; never the text block, which holds the labels' words."""
    return tuple(
        Stream(str(block["name"]), int(block["start"]), int(block["end"]), column)
        for column, block in enumerate(feature_manifest)
        if block["name"] != TEXT_BLOCK
    )


class FeatureFiles:
    """Feature vectors by row, each file read once.

    Args:
        root: folder the rows' paths are relative to.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}

    def read(self, row: Mapping[str, Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """The vector (numbers,) of a row and its validities (blocks,); None where the row has none.

        Raises:
            StageFailedError: the file that the row names is gone, damaged or too short.
        """
        name = row.get("sensor_feature_path")
        if not name:
            return None
        try:
            values, valid = self._files.get(name) or self._load(name)
            index = int(row["sensor_feature_index"])
            return values[index], valid[index]
        except (OSError, ValueError, KeyError, IndexError) as error:
            raise StageFailedError(
                f"{self._root / name}: no feature vector for {row.get('id')!r}: {error}", hint="export again"
            ) from None

    def _load(self, name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        path = (self._root / name).resolve()
        if not path.is_relative_to(self._root.resolve()):
            raise ValueError("the path leaves the dataset")
        with np.load(path, allow_pickle=False) as stored:
            self._files[name] = stored["features"], stored["valid"]
        return self._files[name]


def statistics(
    rows: Iterable[Mapping[str, Any]], files: FeatureFiles, dim: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and deviation (numbers,) over rows; of the train split, whoever calls.

    A number that never varies gets a deviation of 1, so that it becomes 0.
    """
    count, mean, squares = 0, np.zeros(dim), np.zeros(dim)
    for row in rows:
        found = files.read(row)
        if found is not None:
            count += 1
            value = np.nan_to_num(found[0].astype(np.float64))
            step = value - mean
            mean += step / count
            squares += step * (value - mean)
    deviation = np.sqrt(squares / max(count, 1))
    deviation[deviation < 1e-6] = 1.0
    return mean.astype(np.float32), deviation.astype(np.float32)


class SensorBridge(nn.Module):
    """A small network per stream, from standardised features to tokens.

    Args:
        streams: what to read.
        hidden: width of the thinker's embeddings.
        tokens: tokens per stream.
        width: inside.
    """

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, streams: Sequence[Stream], hidden: int, tokens: int = 1, width: int = 128) -> None:
        super().__init__()
        self.streams = tuple(streams)
        self.tokens, self.width, self.hidden = tokens, width, hidden
        self.enter = nn.ModuleDict(
            {s.name: nn.Sequential(nn.Linear(s.end - s.start, width), nn.GELU()) for s in self.streams}
        )
        self.missing = nn.Parameter(torch.zeros(len(self.streams), width))
        self.leave = nn.ModuleDict({s.name: nn.Linear(width, tokens * hidden) for s in self.streams})
        self.scale = nn.LayerNorm(hidden)
        dim = max(stream.end for stream in self.streams)
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("deviation", torch.ones(dim))

    @property
    def total_tokens(self) -> int:
        """Placeholders one sample needs."""
        return len(self.streams) * self.tokens

    def standardise_with(self, mean: NDArray[np.float32], deviation: NDArray[np.float32]) -> None:
        """Take over statistics of the train split."""
        self.mean.copy_(torch.from_numpy(mean[: len(self.mean)]))
        self.deviation.copy_(torch.from_numpy(deviation[: len(self.deviation)]))

    def forward(self, features: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Tokens of a batch.

        Args:
            features: (batch, numbers), raw.
            valid: (batch, blocks), share of each block that was measured; 0 stands for a learned vector.

        Returns:
            (batch, total_tokens, hidden).
        """
        dim = len(self.mean)
        raw = torch.nan_to_num(features[:, :dim].float())
        values = ((raw - self.mean.float()) / self.deviation.float()).clamp(-FARTHEST, FARTHEST)
        values = values.to(self.missing.dtype)
        found = []
        for index, stream in enumerate(self.streams):
            entered = self.enter[stream.name](values[:, stream.start : stream.end])
            measured = (valid[:, stream.column] > 0).unsqueeze(-1)
            entered = torch.where(measured, entered, self.missing[index])
            found.append(self.leave[stream.name](entered).view(-1, self.tokens, self.hidden))
        scaled: torch.Tensor = self.scale(torch.cat(found, dim=1))
        return scaled


class ThinkerWithSensors(Qwen3OmniMoeThinkerForConditionalGeneration):  # type: ignore[misc]
    """The thinker, with sensor tokens where the prompt has placeholders.

    Made of a loaded stock model by `with_sensors`: transformers converts a checkpoint's names for the classes
    it knows only. The configuration's `sensor_token_id` is the placeholder's.
    """

    sensor_bridge: SensorBridge | None

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        sensor_features: torch.Tensor | None = None,
        sensor_valid: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        last_tokens: int | None = None,
        **inputs: Any,
    ) -> Any:
        """As the thinker's; features are consumed with the prompt, later decoding steps carry none.

        With `last_tokens` the result is only the logits of that many last positions, (batch, n, vocabulary):
        training needs no others, and the head over a whole prompt is what fills memory.
        """
        if sensor_features is not None and inputs_embeds is None and input_ids is not None:
            places = input_ids == self.config.sensor_token_id
            if self.sensor_bridge is not None and places.any():
                embedded = self.get_input_embeddings()(input_ids)
                tokens = self.sensor_bridge(sensor_features, sensor_valid).to(embedded.dtype)
                inputs_embeds = embedded.masked_scatter(places.unsqueeze(-1), tokens)
        if last_tokens is None:
            return super().forward(input_ids=input_ids, inputs_embeds=inputs_embeds, **inputs)
        hidden = self.model(input_ids=input_ids, inputs_embeds=inputs_embeds, **inputs)[0]
        return self.lm_head(hidden[:, -last_tokens:])


def with_sensors(model: Any, bridge: SensorBridge | None, sensor_token_id: int) -> ThinkerWithSensors:
    """Turn a loaded thinker into one that reads sensor tokens; without a bridge it stays as it is inside."""
    model.__class__ = ThinkerWithSensors
    model.config.sensor_token_id = sensor_token_id
    model.sensor_bridge = bridge
    thinker: ThinkerWithSensors = model
    return thinker


def _declare_inputs() -> None:
    """Name our inputs in `forward`'s signature: `generate` refuses what it does not find there."""
    stock = list(inspect.signature(Qwen3OmniMoeThinkerForConditionalGeneration.forward).parameters.values())
    ours = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None)
        for name in ("sensor_features", "sensor_valid")
    ]
    ThinkerWithSensors.forward.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [*stock[:-1], *ours, stock[-1]]
    )


_declare_inputs()
