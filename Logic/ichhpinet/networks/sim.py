"""SIM, the slice interaction module: DeepLabV3 on one slice with its strokes."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from .blocks import SliceEncoder, convolution


class AtrousPyramid(nn.Module):
    """Atrous spatial pyramid pooling with image pooling (Chen et al., 2017)."""

    def __init__(self, channels_in: int, width: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        branches = [convolution(channels_in, width, 1)]
        branches += [convolution(channels_in, width, 3, 1, rate) for rate in rates]
        self.branches = nn.ModuleList(branches)
        self.pooled = nn.Conv2d(channels_in, width, 1)
        self.project = convolution(width * (len(branches) + 1), width, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.relu(self.pooled(x.mean((2, 3), keepdim=True))).expand(-1, -1, *x.shape[2:])
        maps = [F.relu(branch(x), inplace=True) for branch in self.branches]
        return F.relu(self.project(torch.cat([*maps, pooled], 1)), inplace=True)


class SliceInteractionModule(nn.Module):
    """{VD_r, H_r, PM_r} -> M_r (paper, 'Slice interaction module').

    Input (N, 5, h, w), h and w multiples of 16; output logits (N, 1, h, w). `low_level` > 0 adds the skip of
    DeepLabV3+ (Chen et al., ECCV 2018), without which a lesion under the output stride is lost.
    """

    def __init__(
        self,
        channels_in: int,
        widths: tuple[int, ...],
        depths: tuple[int, ...],
        block: str,
        stem: int,
        aspp: tuple[int, tuple[int, ...]],
        low_level: int,
    ) -> None:
        super().__init__()
        width, rates = aspp
        self.encoder = SliceEncoder(channels_in, widths, depths, block, stem, output_stride=4 * stem)
        self.pyramid = AtrousPyramid(widths[-1], width, rates)
        self.low_level = convolution(widths[0], low_level, 1) if low_level else None
        self.fine = convolution(channels_in, low_level, 3) if low_level else None
        self.fuse = convolution(width + low_level, width, 3)
        self.reduce = nn.Conv2d(width, low_level, 1) if low_level else None
        self.head = nn.Conv2d(low_level or width, 1, 3 if low_level else 1, padding=1 if low_level else 0)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.encoder(x)
        y = self.pyramid(maps[-1])
        if self.low_level is None or self.fine is None or self.reduce is None:
            return F.interpolate(self.head(F.relu(self.fuse(y))), x.shape[2:], mode="bilinear")
        y = F.interpolate(y, maps[0].shape[2:], mode="bilinear")
        y = F.relu(self.fuse(torch.cat([y, F.relu(self.low_level(maps[0]))], 1)), inplace=True)
        y = F.interpolate(self.reduce(y), x.shape[2:], mode="bilinear")
        logits: Tensor = self.head(F.relu(y + self.fine(x), inplace=True))
        return logits
