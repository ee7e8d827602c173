"""How a proposal looks: again at other contrasts, and with dots of its own in the midst of what it takes for blood.

Told of a stroke, the network knows what density to look for (`preprocessing.stroke_maps`); without one it is timid, and
sees the core of a bleed alone, or nothing of a faint one until the contrast is raised. In a round with strokes such
dots made false places whole as well, and were left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ichhpinet.itk import simpleitk
from ichhpinet.preprocessing import WINDOW_HU, normalise

SEEN = 0.2  # blood as likely as this is seen,
LEAST_ML = 0.15  # where there is so much of it: calcification and streaks can look like a little less,
LEAST_RAISED_ML = 0.5  # and like more where the contrast is raised
LIKELY, LIKELY_ML = 0.5, 0.5  # after a look with dots, which shows what is about them all too gladly
SURE, LARGE_ML = 0.78, 2.0  # what a mimic shows has a lower mean probability and is smaller: no place is below both
SURE_QUIET = 0.73  # and no place is below this, or small, once noise is averaged away
FIRM = 0.9  # the least mean probability of the mask that dots in what a raised contrast shows bring forth: else a mimic
GROWN = 1.5  # where the look with dots shows so many times what the first one did, another one shows the rest
RAISE = 1.4
RAISE_QUIET = 1.8  # once noise is averaged away
BRAIN_HU, TISSUE_HU = (0.0, 64.0), (-4.0, 100.0)  # what the middle is taken of, and what is raised
UNSURE = 0.49  # the most that is said where nothing is proposed
DOT_VOXELS = 12  # of the working grid: a stroke of about 4 mm
MOST_DOTS = 20
LOOK = 0.2  # of the progress: there are five at most


class Seen(Protocol):
    """What a look gives. probability: (d, h, w) float32 in [0, 1]."""

    @property
    def probability(self) -> Tensor:
        """Of blood."""


S = TypeVar("S", bound=Seen)


def propose(
    image: Tensor, spacing_mm: tuple[float, float, float], look: Callable[[Tensor | None, Tensor | None], S]
) -> tuple[S, bool]:
    """The look to propose, and whether what it shows is; (the first one, False): nothing is.

    Where no place deserves a dot, the first look is repeated at a raised contrast, then at one raised more once the
    noise is averaged away, for what is large and sure alone. Then one with dots there; where that shows much more than
    the first, a last one has dots in that too. What was found at a raised contrast must then be firm.

    image: (1, d, h, w) normalised. spacing_mm: (z, y, x). look: sees another image, or as it is (None), from nothing,
    with dots (d, h, w) bool, or none (None).
    """
    first = look(None, None)
    own = dots(first.probability, spacing_mm)
    plain = bool(own.any())
    if not plain:
        own = dots(look(raised(image), None).probability, spacing_mm, LEAST_RAISED_ML)
    if not bool(own.any()):
        again = look(raised(quiet(image), RAISE_QUIET), None)
        own = dots(again.probability, spacing_mm, LARGE_ML, sure=SURE_QUIET)
    if not bool(own.any()):
        return first, False
    last = look(None, own)
    more = own | dots(last.probability, spacing_mm, LIKELY_ML, LIKELY)
    if has_grown(last.probability, first.probability) and not torch.equal(more, own):
        last = look(None, more)
    return (last, True) if plain or is_firm(last.probability) else (first, False)


def raised(image: Tensor, times: float = RAISE) -> Tensor:
    """The image with the contrast of soft tissue raised about the brain's median; bone and air stay as they are.

    image: normalised, any shape. Returns: the same.
    """
    dark, bright = normalise(torch.tensor(BRAIN_HU)).tolist()
    brain = image[(image > dark) & (image < bright)]
    if not len(brain):
        return image
    middle = brain.median()
    window = normalise(torch.tensor(WINDOW_HU)).tolist()
    return torch.where(_soft(image), middle + times * (image - middle), image).clamp(*window)


def quiet(image: Tensor) -> Tensor:
    """The image with the noise of soft tissue averaged away in plane, by a 9x9 binomial over soft tissue alone.

    image: (1, d, h, w) normalised. Returns: the same.
    """
    soft = _soft(image)
    row = image.new_tensor([1.0, 8.0, 28.0, 56.0, 70.0, 56.0, 28.0, 8.0, 1.0]) / 256
    kernel = (row[:, None] * row)[None, None]
    total, weight = (
        F.conv2d(part.transpose(0, 1), kernel, padding=4).transpose(0, 1) for part in (image * soft, soft.to(image))
    )
    return torch.where(soft, total / weight.clamp(min=1e-3), image)


def _soft(image: Tensor) -> Tensor:
    dark, bright = normalise(torch.tensor(TISSUE_HU)).tolist()
    soft: Tensor = (image > dark) & (image < bright)
    return soft


def dots(
    probability: Tensor,
    spacing_mm: tuple[float, float, float],
    least_ml: float = LEAST_ML,
    seen: float = SEEN,
    sure: float | None = None,
) -> Tensor:
    """A dot on the likeliest voxels of each place where blood is seen, on the slice that shows most of it.

    Each place that is SURE or large has one; sure: each that is as sure as this, however large. Larger dots were no
    better. probability: (d, h, w) float32 in [0, 1]. spacing_mm: (z, y, x). least_ml: what is smaller is no place.
    seen: what is less likely is none.
    Returns: (d, h, w) bool; empty where nothing is seen.
    """
    likely = probability.numpy()
    found = np.zeros(likely.shape, bool)
    sitk = simpleitk()
    places = sitk.ConnectedComponent(sitk.GetImageFromArray((likely >= seen).astype(np.uint8)), True)
    fewest, large = (math.ceil(ml * 1000 / math.prod(spacing_mm)) for ml in (least_ml, LARGE_ML))
    labels = sitk.GetArrayFromImage(sitk.RelabelComponent(places, fewest))  # the largest first
    painted = 0
    for place in range(1, int(labels.max()) + 1):
        if painted == MOST_DOTS:
            break
        here = labels == place
        least_sure = (SURE if int(here.sum()) < large else seen) if sure is None else sure
        if float(likely[here].mean()) < least_sure:
            continue
        inside = np.where(here, likely, 0)
        index = int(inside.sum((1, 2)).argmax())
        least = max(seen, float(np.sort(inside[index].ravel())[-DOT_VOXELS:].min()))
        found[index] |= inside[index] >= least
        painted += 1
    return torch.from_numpy(found)


def is_firm(probability: Tensor) -> bool:
    """Whether what a look with dots shows is as sure as blood, borders and all. (d, h, w) in [0, 1]."""
    inside = probability[probability >= 0.5]
    return bool(len(inside)) and float(inside.mean()) >= FIRM


def unseen(probability: Tensor) -> Tensor:
    """A look that shows nothing to propose: none of it is in the mask. (d, h, w) in [0, 1], as is returned."""
    return probability.clamp(max=UNSURE)


def has_grown(probability: Tensor, before: Tensor) -> bool:
    """Whether the mask of a look is more than GROWN times that of one before. Both (d, h, w) in [0, 1]."""
    return int((probability >= 0.5).sum()) > GROWN * int((before >= 0.5).sum())
