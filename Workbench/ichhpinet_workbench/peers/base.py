"""PeerNetwork: any 3D segmenter behind the door of HPINet, so that one loop trains them and one session plays them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ichhpinet.networks import Memory, RoundInputs, RoundOutputs

from ..regions import Bool
from .config import PeerConfig

OVERLAP = 0.25  # of neighbouring windows, as MONAI's default


class PeerNetwork(nn.Module):
    """Subclasses say `segment`; the rest is shared. multiple: what d, h and w are padded to."""

    def __init__(self, config: PeerConfig, multiple: tuple[int, int, int] = (1, 16, 16)) -> None:
        super().__init__()
        self.config, self.multiple = config, multiple

    def encode(self, image: Tensor) -> None:
        """Nothing depends on the image alone."""

    def segment(self, x: Tensor) -> Tensor:
        """x: (B, C, d, h, w) of `multiple`. Returns logits (B, 1, d, h, w)."""
        raise NotImplementedError

    def forward(
        self, inputs: RoundInputs, features: Any, memory: Memory, tick: Callable[[float], None] = lambda fraction: None
    ) -> RoundOutputs:
        """One round, as HPINet's: there is no memory but the previous mask and the strokes so far."""
        logits = self.windowed(self.channels(inputs))[:, 0]
        tick(1.0)
        nothing = inputs.image.new_zeros((0, *inputs.image.shape[2:]))
        return RoundOutputs(logits, None, nothing, [], memory)

    def channels(self, inputs: RoundInputs) -> Tensor:
        """(B, C, d, h, w): the image, and with prompts the round before and the strokes so far."""
        image = inputs.image[:, None]
        if not self.config.prompts:
            return image
        return torch.cat([image, inputs.previous[:, None].to(image), inputs.painted.to(image)], 1)

    def windowed(self, x: Tensor) -> Tensor:
        """Logits of (B, C, d, h, w) of any size; in evaluation windows of the trained size where it is larger."""
        roi = self.config.roi
        if self.training or all(size <= limit for size, limit in zip(x.shape[2:], roi, strict=True)):
            return self.padded(x)
        from monai.inferers import sliding_window_inference

        return sliding_window_inference(x, roi, 1, self.padded, overlap=OVERLAP, mode="gaussian")

    def padded(self, x: Tensor) -> Tensor:
        """Logits of a window: padded by repeating the edge, cut again."""
        size = x.shape[2:]
        short = [-n % m for n, m in zip(size, self.window_multiple(x), strict=True)]
        if any(short):
            x = F.pad(x, (0, short[2], 0, short[1], 0, short[0]), mode="replicate")
        return self.segment(x)[:, :, : size[0], : size[1], : size[2]]

    def window_multiple(self, x: Tensor) -> tuple[int, int, int]:
        """What this window is padded to a multiple of."""
        return self.multiple

    def polished(self, mask: Bool, spacing_mm: tuple[float, float, float]) -> Bool:
        """What a method does to its mask at the end; strokes are obeyed after it. mask: (D, H, W) bool."""
        return mask
