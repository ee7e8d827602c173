"""SliceContext: what the boundary head knows beyond a pixel's own neighbourhood and slice. Not in the paper."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

USUAL_MM = 4.0  # a slice spacing at which the gates start half open


def _stacks(counts: Sequence[int]) -> Tensor:
    """Of each slice the stack that it is of: (sum of counts,) int64."""
    return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))


def neighbours(counts: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Of each slice the one above and the one below, as flat indices; at the ends of a stack the slice itself.

    counts: slices of each stack, which lie one after the other. Returns: two (sum of counts,) int64.
    """
    stack = _stacks(counts)
    index = torch.arange(len(stack))
    above, below = (index - 1).clamp(min=0), (index + 1).clamp(max=len(stack) - 1)
    return torch.where(stack[above] == stack, above, index), torch.where(stack[below] == stack, below, index)


class SliceMix(nn.Module):
    """Adds what the slices above and below show, each channel as far as the spacing lets it. Starts as nothing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pair = nn.Conv2d(2 * channels, channels, 1)
        self.gate = nn.Linear(1, channels)
        self.out = _zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor, beside: tuple[Tensor, Tensor], log_spacing: Tensor) -> Tensor:
        """x: (n, C, h, w). beside: see `neighbours`. log_spacing: (n, 1)."""
        above, below = beside
        pair = F.relu(self.pair(torch.cat([x[above], x[below]], 1)), inplace=True)
        mixed: Tensor = x + self.out(pair * torch.sigmoid(self.gate(log_spacing))[:, :, None, None])
        return mixed


class Residual(nn.Module):
    """Two 3x3 convolutions added to their input, without norm; starts as nothing added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = _zeroed(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(F.relu(self.first(x), inplace=True)), inplace=True)


class WholeBleed(nn.Module):
    """Tells every pixel what the bleed is like as a whole: what is seen where it is likely, and where it is unsure.

    Sums are weighed by the probability, so that it is the same however much is seen around it. Starts as nothing.
    """

    HIDDEN = 64

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Linear(2 * channels + 2, self.HIDDEN)
        self.second = nn.Linear(self.HIDDEN, channels)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, x: Tensor, probability: Tensor, counts: Sequence[int]) -> Tensor:
        """x: (n, C, h, w) >= 0, stacks of `counts` slices. probability: (n, 1, h, w). Returns as x."""
        unsure = probability * (1 - probability)
        told = []
        for seen, *shares in zip(*(part.float().split(list(counts)) for part in (x, probability, unsure)), strict=True):
            blood, border = (share.sum() for share in shares)
            means = [(seen * share).sum((0, 2, 3)) / (share.sum() + 1) for share in shares]
            told.append(torch.cat([*means, torch.stack([torch.log1p(blood) / 8, border / (blood + 1)])]))
        said = self.second(F.relu(self.first(torch.stack(told)), inplace=True))
        return F.relu(x + said[_stacks(counts).to(said.device)][:, :, None, None])


class SliceContext(nn.Module):
    """What the bleed is like as a whole, and a U-Net of two further levels that mixes neighbouring slices at each.

    The levels are at 1/2 and 1/4 of the input's pixels. Starts as no change, so that a head without goes on as it was.
    """

    def __init__(self, channels: int, middle: int, coarse: int) -> None:
        super().__init__()
        self.whole = WholeBleed(channels)
        self.mix = nn.ModuleList(SliceMix(width) for width in (channels, middle, coarse))
        self.to_middle = _halved(channels, middle)
        self.middle = Residual(middle)
        self.to_coarse = _halved(middle, coarse)
        self.coarse = nn.Sequential(Residual(coarse), Residual(coarse))
        self.from_coarse = nn.Conv2d(coarse, middle, 1)
        self.joined = Residual(middle)
        self.from_middle = nn.Conv2d(middle, channels, 1)
        self.fuse = nn.Sequential(nn.Conv2d(2 * channels, channels, 3, padding=1), nn.ReLU(inplace=True))
        self.out = _zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor, probability: Tensor, spacing_mm: Tensor, counts: Sequence[int]) -> Tensor:
        """x: (n, C, h, w) >= 0, stacks of `counts` slices one after the other. probability: (n, 1, h, w) of blood.

        spacing_mm: (n,), along z. Returns as x.
        """
        above, below = (index.to(x.device) for index in neighbours(counts))
        told = (above, below), torch.log(spacing_mm / USUAL_MM)[:, None]
        known = self.whole(x, probability, counts)
        near = self.mix[0](known, *told)
        middle = self.mix[1](self.middle(self.to_middle(near)), *told)
        coarse = self.mix[2](self.coarse(self.to_coarse(middle)), *told)
        wide = F.interpolate(self.from_coarse(coarse), middle.shape[2:], mode="bilinear")
        wide = F.interpolate(self.from_middle(self.joined(middle + wide)), near.shape[2:], mode="bilinear")
        seen: Tensor = known + self.out(self.fuse(torch.cat([near, wide], 1)))
        return seen


def _halved(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1), nn.ReLU(inplace=True))


def _zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
