"""CorrectionHead: what the strokes of a round contradict, looked at about them. Not in the paper."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .boundary import TISSUE

FULL_MM, NONE_MM = 20.0, 35.0  # as far from a contradicting stroke the correction is whole, and there it has faded
DECAYS_MM = (4.0, 15.0)  # of the distance's maps
SURE, LIMIT = 4.0, 2.0  # logits beyond SURE look alike; differences of density are cut at LIMIT
CONTRAST_GAIN = 1.5  # brings differences of a few HU to the scale of the other inputs
THICK_MM = 5.0
MAPS = 13
DILATIONS = (1, 2, 4, 1)
HALO = len(DILATIONS)  # slices on either side that have a say


class CorrectionHead(nn.Module):
    """The image, what the round says, the round before and the strokes that contradict it: a correction of the logits.

    A stroke says that something about it is wrong, and seldom how far. The rest of the network sees no difference
    between a stroke that is new and one that has been there for rounds, nor between one that contradicts the mask and
    one that agrees; this head sees nothing else. Starts as no correction at all.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        c, wide = channels, 2 * channels
        self.first = nn.Conv2d(MAPS, c, 3, padding=1)
        self.down = nn.Conv2d(c, wide, 3, 2, 1)
        self.around = nn.ModuleList(_Block(wide, dilation) for dilation in DILATIONS)
        self.narrow = nn.Conv2d(wide, c, 1)
        self.fine = nn.Conv2d(2 * c, c, 3, padding=1)
        self.last = nn.Conv2d(c, 1, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        if self.last.bias is not None:
            nn.init.zeros_(self.last.bias)

    def forward(self, maps: Tensor, between: Callable[[], None] = lambda: None) -> Tensor:
        """maps: (B, MAPS, d, h, w) as from `correction_maps`, h and w even. Returns: (B, d, h, w) logits to add.

        between: called between layers; what it raises ends the work.
        """
        samples, _, depth, height, width = maps.shape
        flat = maps.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        fine = F.relu(self.first(flat))
        between()
        coarse = F.relu(self.down(fine))
        for block in self.around:
            between()
            coarse = block(coarse, depth)
        between()
        seen = F.interpolate(self.narrow(coarse), (height, width), mode="bilinear")
        logits: Tensor = self.last(F.relu(self.fine(torch.cat([fine, seen], 1))))
        return logits[:, 0].view(samples, depth, height, width)


class _Block(nn.Module):
    """Residual: within the slice, then with the slices above and below."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.plane = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.across = nn.Conv2d(3 * channels, channels, 1)

    def forward(self, x: Tensor, depth: int) -> Tensor:
        """x: (B * depth, C, h, w)."""
        here = F.relu(self.plane(x)).unflatten(0, (-1, depth))
        end = torch.zeros_like(here[:, :1])
        below, above = torch.cat([end, here[:, :-1]], 1), torch.cat([here[:, 1:], end], 1)
        return F.relu(x + self.across(torch.cat([below, here, above], 2).flatten(0, 1)))


def correction_maps(
    image: Tensor,
    logits: Tensor,
    previous: Tensor,
    painted: Tensor,
    wrong: Tensor,
    distance_mm: Tensor,
    slice_mm: Tensor,
) -> Tensor:
    """The inputs of CorrectionHead.

    image: (B, d, h, w) normalised. logits: of this round, so far. previous: probability of the round before. painted:
    (B, 2, d, h, w) bool, all strokes, foreground and background. wrong: the same, those of this round that contradict
    the round before. distance_mm: (B, 2, d, h, w) from those of each kind; large where there are none. slice_mm: (B,).
    Returns: (B, MAPS, d, h, w) float32.
    """
    near = [torch.exp(-distance_mm[:, kind] / decay) for kind in (0, 1) for decay in DECAYS_MM]
    soft = (image > TISSUE[0]) & (image < TISSUE[1])
    unlike = []
    for kind in (0, 1):
        under = wrong[:, kind] & soft
        count = under.flatten(1).sum(1).view(-1, 1, 1, 1)
        mean = (image * under).flatten(1).sum(1).view(-1, 1, 1, 1) / count.clamp(min=1)
        unlike.append((CONTRAST_GAIN * (image - mean)).clamp(-LIMIT, LIMIT) * (count > 0))
    thickness = (slice_mm / THICK_MM).view(-1, 1, 1, 1).expand_as(image)
    told = [image.clamp(-LIMIT, LIMIT), torch.tanh(logits / SURE), previous]
    marks = [painted[:, 0], painted[:, 1]]
    changed = torch.sigmoid(logits) - previous
    return torch.stack([map.float() for map in (*told, *near, *marks, *unlike, thickness, changed)], 1)


def faded(distance_mm: Tensor) -> Tensor:
    """How much of the head counts, (B, d, h, w) in [0, 1], at (B, 2, d, h, w) mm from the contradicting strokes."""
    return ((NONE_MM - distance_mm.amin(1)) / (NONE_MM - FULL_MM)).clamp(0, 1)
