"""Where a proposal paints for itself: dots in the midst of what a look without strokes takes for blood."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ichhpinet.itk import simpleitk

SEEN = 0.2  # no voxel more likely than this: nothing is seen. Heads without blood stay below 0.03
SURE = 0.5  # a dot lies where blood is so likely, or half as likely as it is anywhere
DOT_VOXELS = 12  # of the working grid: a stroke of about 4 mm
FEWEST_VOXELS = 4  # what is smaller gets no dot
MOST_DOTS = 20


def dots(probability: Tensor) -> Tensor:
    """A dot on the likeliest voxels of each place where blood is seen, on the slice that shows most of it.

    Told of a stroke, the network knows what density to look for (`preprocessing.stroke_maps`); without one it is timid,
    and sees the core of a bleed alone. Larger dots, and a look at the result without them, were no better.

    probability: (d, h, w) of a round without strokes. Returns: (d, h, w) bool; empty where nothing is seen.
    """
    likely = probability.numpy()
    painted = np.zeros(likely.shape, bool)
    most = float(likely.max())
    if most < SEEN:
        return torch.from_numpy(painted)
    sitk = simpleitk()
    places = sitk.ConnectedComponent(sitk.GetImageFromArray((likely >= min(SURE, most / 2)).astype(np.uint8)), True)
    labels = sitk.GetArrayFromImage(sitk.RelabelComponent(places, FEWEST_VOXELS))  # the largest first
    for place in range(1, min(int(labels.max()), MOST_DOTS) + 1):
        inside = np.where(labels == place, likely, 0)
        index = int(inside.sum((1, 2)).argmax())
        fewest = np.sort(inside[index].ravel())[-DOT_VOXELS:].min()
        painted[index] |= inside[index] >= max(float(fewest), SEEN / 4)
    return torch.from_numpy(painted)
