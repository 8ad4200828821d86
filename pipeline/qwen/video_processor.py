"""Qwen's video preprocessing in torch alone, for hosts where torchvision does not import.

Bit-identical to transformers' `Qwen2VLVideoProcessor` (tested against it where torchvision is there):
torchvision's bicubic resize of uint8 frames is `interpolate(..., antialias=True)`, and its fused
rescale-and-normalise is `(x - 255 mean) / (255 std)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import interpolate
from transformers.feature_extraction_utils import BatchFeature
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize
from transformers.video_processing_utils import VideoProcessorMixin

_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)
_SIZE = {"shortest_edge": 128 * 32 * 32, "longest_edge": 768 * 32 * 32}


class TorchVideoProcessor(VideoProcessorMixin):  # type: ignore[misc]
    """Frames to patches.

    Attributes:
        size: least and most pixels per frame; decides how many tokens a video costs.
        patch_size, temporal_patch_size, merge_size: pixels, frames and patches per token side.
        image_mean, image_std: of RGB in 0..1.
    """

    model_input_names = ("pixel_values_videos", "video_grid_thw")

    def __init__(
        self,
        size: dict[str, int] | None = None,
        patch_size: int = 16,
        temporal_patch_size: int = 2,
        merge_size: int = 2,
        image_mean: Sequence[float] = _MEAN,
        image_std: Sequence[float] = _STD,
        **_unused: Any,
    ) -> None:
        self.size = dict(size or _SIZE)
        self.patch_size = patch_size
        self.temporal_patch_size = temporal_patch_size
        self.merge_size = merge_size
        self.image_mean = list(image_mean)
        self.image_std = list(image_std)

    def to_dict(self) -> dict[str, Any]:
        """What is saved: a host with torchvision reloads it as the stock class."""
        return dict(vars(self)) | {"video_processor_type": "Qwen2VLVideoProcessor"}

    @torch.no_grad()
    def preprocess(
        self, videos: Any, size: dict[str, int] | None = None, return_tensors: str = "pt", **_unused: Any
    ) -> BatchFeature:
        """Patches of videos.

        Args:
            videos: uint8 tensors or arrays (frames, 3, height, width), one or several, flat or per sample.
            size: overrides `size`.
            return_tensors: framework of the result.

        Returns:
            `pixel_values_videos` (sum of t*h*w, 3 * temporal * patch * patch), float32, and `video_grid_thw`
            (videos, 3), int64.
        """
        limits = size or self.size
        patches, grid = zip(*(self._patches(video, limits) for video in _flat(videos)), strict=True)
        return BatchFeature(
            {"pixel_values_videos": torch.cat(patches), "video_grid_thw": torch.tensor(grid)},
            tensor_type=return_tensors,
        )

    def _patches(self, video: torch.Tensor, limits: dict[str, int]) -> tuple[torch.Tensor, list[int]]:
        patch, merge, frames = self.patch_size, self.merge_size, self.temporal_patch_size
        height, width = smart_resize(
            video.shape[-2],
            video.shape[-1],
            factor=patch * merge,
            min_pixels=limits["shortest_edge"],
            max_pixels=limits["longest_edge"],
        )
        if (height, width) != tuple(video.shape[-2:]):
            video = interpolate(video.contiguous(), size=(height, width), mode="bicubic", antialias=True)
        mean = torch.tensor(self.image_mean).mul(255).view(1, 3, 1, 1)
        std = torch.tensor(self.image_std).mul(255).view(1, 3, 1, 1)
        video = video.float().sub_(mean).div_(std)
        if missing := -video.shape[0] % frames:
            video = torch.cat((video, video[-1:].expand(missing, -1, -1, -1)))
        steps, rows, columns = video.shape[0] // frames, height // patch, width // patch
        video = video.view(steps, frames, 3, rows // merge, merge, patch, columns // merge, merge, patch)
        video = video.permute(0, 3, 6, 4, 7, 2, 1, 5, 8)
        return video.reshape(steps * rows * columns, 3 * frames * patch * patch), [steps, rows, columns]


def _flat(videos: Any) -> list[torch.Tensor]:
    """Videos of all samples; the processor passes them nested."""
    if not isinstance(videos, (list, tuple)):
        videos = [videos]
    if isinstance(videos[0], (list, tuple)):
        videos = [video for sample in videos for video in sample]
    tensors = [torch.as_tensor(video) for video in videos]
    return [t.permute(0, 3, 1, 2) if t.shape[-1] == 3 and t.shape[1] != 3 else t for t in tensors]
