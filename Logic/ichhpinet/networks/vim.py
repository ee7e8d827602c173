"""VIM, the volume interaction module: a residual 3D U-Net on image, previous probability and strokes."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from .blocks import ResidualBlock3d


class VolumeInteractionModule(nn.Module):
    """Encoder E_1..E_n, decoder D_n..D_1, joined by concatenation (paper, 'Volume interaction module').

    Input (B, 5, d, h, w) on the volume grid; any d, h and w multiples of 8 (paper: 16).
    Output: VM logits (B, 1, d, h, w) and the feature maps D_1, D_2, D_3 at volume strides 1, 2, 4, each brought back to
    the input's d slices, so that slice k of every map is slice k of the volume.
    The slice thickness is told to every encoder level, as the logarithm of z spacing over pixel size.
    """

    def __init__(
        self, channels_in: int, widths: tuple[int, ...], pools: tuple[tuple[int, int, int], ...], convolutions: int
    ) -> None:
        super().__init__()
        self.pools = pools
        thick = [all(pool[0] == 1 for pool in pools[: level + 1]) for level in range(len(pools))] + [False]
        inputs = (channels_in, *widths[:-1])
        self.encoder = nn.ModuleList(
            ResidualBlock3d(inputs[level], width, convolutions, planar=thick[level] and level == 0)
            for level, width in enumerate(widths)
        )
        self.thickness = nn.ModuleList(nn.Linear(1, width) for width in widths)
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(widths[level + 1], widths[level], pool, stride=pool) for level, pool in enumerate(pools)
        )
        self.decoder = nn.ModuleList(ResidualBlock3d(2 * width, width, convolutions) for width in widths[:-1])
        self.head = nn.Conv3d(widths[0], 1, 1)

    @property
    def depth_multiple(self) -> int:
        """Slices are padded to a multiple of this, by repeating the last, and cut again."""
        multiple = 1
        for pool in self.pools:
            multiple *= pool[0]
        return multiple

    def forward(
        self, x: Tensor, log_thickness: Tensor, tick: Callable[[], None] = lambda: None
    ) -> tuple[Tensor, list[Tensor]]:
        """x: (B, 5, d, h, w). log_thickness: (B, 1). tick is called between blocks, for cancel."""
        depth = x.shape[2]
        short = -depth % self.depth_multiple
        if short:
            x = torch.cat([x, x[:, :, -1:].expand(-1, -1, short, -1, -1)], 2)
        skips: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            x = F.max_pool3d(x, self.pools[level - 1]) if level else x
            x = block(x) + self.thickness[level](log_thickness)[:, :, None, None, None]
            skips.append(x)
            tick()
        maps: list[Tensor] = []
        for level in range(len(self.pools) - 1, -1, -1):
            x = self.decoder[level](torch.cat([self.up[level](x), skips[level]], 1))
            skips[level] = x
            maps.insert(0, x)
            tick()
        logits = self.head(x)[:, :, :depth]
        return logits, [self._every_slice(level_map, level, depth) for level, level_map in enumerate(maps[:3])]

    def _every_slice(self, level_map: Tensor, level: int, depth: int) -> Tensor:
        """Undo the pooling along z only: (B, C, d / s, h, w) -> (B, C, d, h, w)."""
        stride = 1
        for pool in self.pools[:level]:
            stride *= pool[0]
        return level_map.repeat_interleave(stride, 2)[:, :, :depth] if stride > 1 else level_map[:, :, :depth]
