"""Convolution blocks that the modules share. Batch norm: fixed statistics in evaluation, so rounds repeat exactly."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor


class ResidualBlock3d(nn.Module):
    """`convolutions` 3D convolutions with a residual from the first's output to the last's.

    planar: the first kernel is (1, 3, 3), for levels where slices are far thicker than pixels.
    """

    def __init__(self, channels_in: int, channels_out: int, convolutions: int, planar: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index in range(convolutions):
            kernel, padding = ((1, 3, 3), (0, 1, 1)) if planar and index == 0 else ((3, 3, 3), (1, 1, 1))
            inputs = channels_in if index == 0 else channels_out
            layers.append(
                nn.Sequential(
                    nn.Conv3d(inputs, channels_out, kernel, padding=padding, bias=False),
                    nn.BatchNorm3d(channels_out),
                )
            )
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        residual = x = F.relu(self.layers[0](x), inplace=True)
        for layer in self.layers[1:-1]:
            x = F.relu(layer(x), inplace=True)
        return F.relu(self.layers[-1](x) + residual, inplace=True)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a residual (He et al., CVPR 2016)."""

    expansion = 1

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.first = convolution(channels_in, channels_out, 3, stride, dilation)
        self.second = convolution(channels_out, channels_out, 3, 1, dilation)
        same = stride == 1 and channels_in == channels_out
        self.shortcut = nn.Identity() if same else convolution(channels_in, channels_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(x), inplace=True)) + self.shortcut(x), inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 with a residual (ResNet-50's block)."""

    expansion = 4

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        inner = channels_out // self.expansion
        self.reduce = convolution(channels_in, inner, 1)
        self.conv = convolution(inner, inner, 3, stride, dilation)
        self.expand = convolution(inner, channels_out, 1)
        same = stride == 1 and channels_in == channels_out
        self.shortcut = nn.Identity() if same else convolution(channels_in, channels_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.conv(F.relu(self.reduce(x), inplace=True)), inplace=True)
        return F.relu(self.expand(y) + self.shortcut(x), inplace=True)


def convolution(channels_in: int, channels_out: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """A 2D convolution that keeps the size (over `stride`), and its batch norm."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, padding, dilation, bias=False),
        nn.BatchNorm2d(channels_out),
    )


class SliceEncoder(nn.Module):
    """A 2D residual encoder; returns the map of every stage, fine to coarse.

    stem: stride before the first stage, 4 (ResNet's 7x7 and max pool) or 2. Each later stage halves, until
    `output_stride` is reached; from there on stages dilate instead.
    """

    def __init__(
        self,
        channels_in: int,
        widths: tuple[int, ...],
        depths: tuple[int, ...],
        block: str,
        stem: int,
        output_stride: int = 1 << 30,
    ) -> None:
        super().__init__()
        kinds: dict[str, type[BasicBlock] | type[Bottleneck]] = {"basic": BasicBlock, "bottleneck": Bottleneck}
        kind = kinds[block]
        width = widths[0] // kind.expansion
        self.stem = convolution(channels_in, width, 7 if stem == 4 else 3, 2)
        self.pool = nn.MaxPool2d(3, 2, 1) if stem == 4 else nn.Identity()
        stages, stride, dilation = [], stem, 1
        for index, (channels, depth) in enumerate(zip(widths, depths)):
            step = 1 if index == 0 else 2
            if stride * step > output_stride:
                step, dilation = 1, dilation * 2
            stride *= step
            blocks = [kind(width, channels, step, dilation)]
            blocks += [kind(channels, channels, 1, dilation) for _ in range(depth - 1)]
            stages.append(nn.Sequential(*blocks))
            width = channels
        self.stages = nn.ModuleList(stages)
        self.stride = stride

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.pool(F.relu(self.stem(x), inplace=True))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class ChannelSpatialAttention(nn.Module):
    """CBAM (Woo et al., ECCV 2018): what, then where."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(4, channels // reduction)
        self.channel = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, channels))
        self.spatial = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.channel(x.mean((2, 3))) + self.channel(x.amax((2, 3))))
        x = x * gate[:, :, None, None]
        where = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return x * torch.sigmoid(self.spatial(where))
