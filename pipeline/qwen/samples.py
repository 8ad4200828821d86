"""Rows to samples: media decoded once, brought to the size the model sees, and kept while memory allows."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pipeline.qwen.collate import Limits, Sample
from pipeline.qwen.media import Media, read_media
from pipeline.qwen.prompt import prompt_text, target_text
from pipeline.qwen.sensors import FeatureFiles


class Samples:
    """Makes samples of one dataset.

    Args:
        root: folder the rows' paths are relative to.
        processor: of the checkpoint; its rule for sizes is applied here, before a picture is kept.
        sensors: whether to read feature vectors.
        limits: pixels per picture.
        cache_bytes: of kept samples; the least recently used goes first.
    """

    def __init__(
        self,
        root: Path,
        processor: Any,
        *,
        sensors: bool = True,
        limits: Limits | None = None,
        cache_bytes: int = 0,
    ) -> None:
        self.features = FeatureFiles(root)
        self._root, self._sensors, self._cache_bytes = root, sensors, cache_bytes
        self._video = processor.video_processor
        limits = limits or Limits()
        self._pixels = (
            limits.min_pixels or self._video.size["shortest_edge"],
            limits.max_pixels or self._video.size["longest_edge"],
        )
        self._kept: OrderedDict[str, Media] = OrderedDict()
        self._kept_bytes = 0
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="media")
        self._coming: dict[str, Future[Media]] = {}

    def expect(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Begin to read the media of rows that will be asked for next."""
        for row in rows:
            name = str(row["id"])
            if name not in self._kept and name not in self._coming:
                self._coming[name] = self._pool.submit(self._read, row)

    def make(self, row: Mapping[str, Any], *, answered: bool) -> Sample:
        """The sample of a row; with its answer when it is to be learned.

        Raises:
            StageFailedError: media that the row names cannot be read.
            UsageError: the row has no window or no usable answer.
        """
        return Sample(
            id=str(row["id"]),
            prompt=prompt_text(row),
            media=self._media(row),
            features=self.features.read(row) if self._sensors else None,
            target=target_text(row) if answered else "",
        )

    def close(self) -> None:
        """Let the readers end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _media(self, row: Mapping[str, Any]) -> Media:
        name = str(row["id"])
        if name in self._kept:
            self._kept.move_to_end(name)
            return self._kept[name]
        coming = self._coming.pop(name, None)
        media = coming.result() if coming is not None else self._read(row)
        size = _bytes(media)
        if size <= self._cache_bytes:
            self._kept[name] = media
            self._kept_bytes += size
            while self._kept_bytes > self._cache_bytes:
                self._kept_bytes -= _bytes(self._kept.popitem(last=False)[1])
        return media

    def _read(self, row: Mapping[str, Any]) -> Media:
        media = read_media(row, self._root)
        if media.frames is None:
            return media
        return Media(self._fitted(media.frames), media.frames_per_s, media.sound)

    def _fitted(self, frames: Any) -> Any:
        """Pictures at the size the processor would bring them to; it then leaves them as they are."""
        from torch.nn.functional import interpolate
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

        least, most = self._pixels
        size = smart_resize(
            *frames.shape[-2:],
            factor=self._video.patch_size * self._video.merge_size,
            min_pixels=least,
            max_pixels=most,
        )
        if tuple(size) == tuple(frames.shape[-2:]):
            return frames
        return interpolate(frames, size=tuple(size), mode="bicubic", antialias=True)


def _bytes(media: Media) -> int:
    frames = 0 if media.frames is None else media.frames.numel()
    return frames + (0 if media.sound is None else media.sound.nbytes)
