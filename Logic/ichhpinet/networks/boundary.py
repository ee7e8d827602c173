"""BoundaryHead: the last word on the border, on full working pixels. Not in the paper, which interpolates logits."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLICES = 8  # at once: bounds the memory, and a cancel is noticed between
UNSURE = -3.0  # a logit below which no blood is expected: where all slices agree, there is no border to look at
MARGIN = 16  # pixels around what may be blood
PLANE = 16  # height and width of the box are multiples of this

REACHES = (9, 21)  # pixels: the widths of the neighbourhoods in which blood and what is beside it are averaged
TISSUE = (-1.1, 1.5)  # normalised, about -4 to 100 HU: neither bone nor air enters a mean
PRIOR = (-0.5, 0.004)  # blood's mean where there is none nearby: this far under the other, with this weight
CONTRAST_GAIN, CONTRAST_LIMIT = 3.0, 4.0  # brings differences of a few HU to the scale of the other inputs


def contrasts(image: Tensor, probability: Tensor, reach: int) -> Tensor:
    """How a pixel stands between the blood near it and the tissue near it: three differences of local means.

    image: (N, h, w) normalised. probability: (N, h, w) in [0, 1]. reach: pixels, odd.
    Returns: (N, 3, h, w): image less blood, image less tissue, blood less tissue; the local means of active contours
    (Lankton and Tannenbaum, IEEE TIP 2008), as inputs.
    """
    soft = ((image > TISSUE[0]) & (image < TISSUE[1])).to(image.dtype)
    blood, tissue = probability * soft, (1 - probability) * soft
    sums = torch.stack([blood, tissue, blood * image, tissue * image], 1)
    for window in ((1, reach), (reach, 1)):  # one after the other: the same mean in 2 n steps instead of n^2
        sums = F.avg_pool2d(sums, window, 1, (window[0] // 2, window[1] // 2), count_include_pad=False)
    blood, tissue, blood_sum, tissue_sum = sums.unbind(1)
    tissue_mean = tissue_sum / (tissue + 1e-4)
    offset, weight = PRIOR
    blood_mean = (blood_sum + weight * (tissue_mean - offset)) / (blood + weight)
    differences = torch.stack([image - blood_mean, image - tissue_mean, blood_mean - tissue_mean], 1)
    return (CONTRAST_GAIN * differences).clamp(-CONTRAST_LIMIT, CONTRAST_LIMIT)


class BoundaryHead(nn.Module):
    """What both branches say, the image, the strokes and the local contrast, at stride 1: a correction of the logits.

    Both branches decide at 2 mm; four fifths of what was still wrong after four rounds lay within 1.2 mm of the border.
    Starts as no correction at all.
    """

    def __init__(self, prompts: int, channels: int) -> None:
        super().__init__()
        c, wide = channels, 2 * channels
        self.first = _convolution(prompts + 2 + 3 * len(REACHES), c)
        self.down = _convolution(c, wide, stride=2)
        self.around = nn.Sequential(*(_convolution(wide, wide, dilation=d) for d in (1, 2, 4)))
        self.narrow = nn.Conv2d(wide, c, 1)
        self.fine = _convolution(2 * c, c)
        self.last = nn.Conv2d(c, 1, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        if self.last.bias is not None:
            nn.init.zeros_(self.last.bias)

    def forward(self, prompts: Tensor, said: Tensor, between: Callable[[], None] = lambda: None) -> Tensor:
        """prompts: (N, P, h, w), the CHANNELS. said: (N, 2, h, w), logits of slices and volume. Returns (N, h, w).

        The correction is 0 outside the box of what may be blood. `between` is called between groups of slices; what it
        raises ends the work.
        """
        correction = torch.zeros_like(said[:, 0])
        slices, (rows, columns) = _box(said.mean(1))
        for part in slices.split(SLICES) if len(slices) else ():
            between()
            told, heard = prompts[part, :, rows, columns], said[part, :, rows, columns]
            correction[part, rows, columns] = self.correct(told, heard).to(correction.dtype)
        return correction

    def correct(self, prompts: Tensor, said: Tensor) -> Tensor:
        """The correction of every pixel, as `forward` gives it within its box; h and w even."""
        image, probability = prompts[:, 0].float(), torch.sigmoid(said.float().mean(1))
        near = [contrasts(image, probability, reach) for reach in REACHES]
        fine = self.first(torch.cat([prompts, torch.tanh(said / 4), *near], 1))
        coarse = self.down(fine)
        coarse = self.narrow(coarse + self.around(coarse))
        seen = F.interpolate(coarse, fine.shape[2:], mode="bilinear")
        logits: Tensor = self.last(self.fine(torch.cat([fine, seen], 1)))
        return logits[:, 0]


def _convolution(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation),
        nn.ReLU(inplace=True),
    )


def _box(logits: Tensor) -> tuple[Tensor, tuple[slice, slice]]:
    """The slices (N') and the rows and columns that hold every voxel of (N, h, w) where there may be blood."""
    possible = logits.detach() > UNSURE
    slices = torch.nonzero(possible.flatten(1).any(1)).flatten()
    if not len(slices):
        return slices, (slice(0), slice(0))
    return slices, (_extent(possible.any(0).any(1)), _extent(possible.any(0).any(0)))


def _extent(profile: Tensor) -> slice:
    """Of a bool profile, the range that holds all that is set and a margin, a multiple of PLANE long."""
    where = torch.nonzero(profile).flatten()
    length = len(profile)
    low, high = max(0, int(where[0]) - MARGIN), min(length, int(where[-1]) + 1 + MARGIN)
    size = min(length, -(-(high - low) // PLANE) * PLANE)
    low = max(0, min(low, length - size))
    return slice(low, low + size)
