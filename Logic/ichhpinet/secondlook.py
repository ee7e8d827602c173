"""Where a proposal paints for itself: dots in the midst of what a look takes for blood.

Told of a stroke, the network knows what density to look for (`preprocessing.stroke_maps`); without one it is timid, and
sees the core of a bleed alone, or nothing of a faint one until the contrast is raised. In a round with strokes such
dots made false places whole as well, and were left out.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ichhpinet.itk import simpleitk
from ichhpinet.preprocessing import WINDOW_HU, normalise

SEEN = 0.2  # blood as likely as this is seen,
LEAST_ML = 0.15  # where there is so much of it: calcification and streaks can look like a little less,
LEAST_RAISED_ML = 0.5  # and like more where the contrast is raised
LIKELY, LIKELY_ML = 0.5, 0.5  # after a look with dots, which shows what is about them all too gladly
SURE, LARGE_ML = 0.7, 2.0  # what a mimic shows has a lower mean probability and is smaller: no place is below both
GROWN = 1.5  # where the look with dots shows so many times what the first one did, another one shows the rest
RAISE = 1.4
BRAIN_HU, TISSUE_HU = (0.0, 64.0), (-4.0, 100.0)  # what the middle is taken of, and what is raised
DOT_VOXELS = 12  # of the working grid: a stroke of about 4 mm
MOST_DOTS = 20


def raised(image: Tensor) -> Tensor:
    """The image with the contrast of soft tissue raised about the brain's median; bone and air stay as they are.

    image: normalised, any shape. Returns: the same.
    """
    (dark, bright), tissue, limits = (normalise(torch.tensor(hu)).tolist() for hu in (BRAIN_HU, TISSUE_HU, WINDOW_HU))
    brain = image[(image > dark) & (image < bright)]
    if not len(brain):
        return image
    middle = brain.median()
    soft = (image > tissue[0]) & (image < tissue[1])
    return torch.where(soft, middle + RAISE * (image - middle), image).clamp(*limits)


def dots(
    probability: Tensor, spacing_mm: tuple[float, float, float], least_ml: float = LEAST_ML, seen: float = SEEN
) -> Tensor:
    """A dot on the likeliest voxels of each place where blood is seen, on the slice that shows most of it.

    Each place that is SURE or large has one. Larger dots were no better. probability: (d, h, w) float32 in [0, 1].
    spacing_mm: (z, y, x). least_ml: what is smaller is no place. seen: what is less likely is none.
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
        if int(here.sum()) < large and float(likely[here].mean()) < SURE:
            continue
        inside = np.where(here, likely, 0)
        index = int(inside.sum((1, 2)).argmax())
        least = max(seen, float(np.sort(inside[index].ravel())[-DOT_VOXELS:].min()))
        found[index] |= inside[index] >= least
        painted += 1
    return torch.from_numpy(found)


def has_grown(probability: Tensor, before: Tensor) -> bool:
    """Whether the mask of a look is more than GROWN times that of one before. Both (d, h, w) in [0, 1]."""
    return int((probability >= 0.5).sum()) > GROWN * int((before >= 0.5).sum())
