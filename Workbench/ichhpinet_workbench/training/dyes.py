"""Crops whose blood is made fainter, denser or patchier: other bleeds in the same heads, at hardly any cost."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..regions import components

DYED = 0.5  # share of crops
FACTOR = (0.35, 1.6)  # of the contrast over the brain beside it
LEAST_HU = 4.0  # of contrast: fainter blood stays as it is, and none is made fainter than this, in no place
PATCHES, PATCH_HU = (3, 6, 6), (0.0, 4.0)  # slow changes over the crop, and their sd
BRAIN_HU, BRAIN_VOXELS = (15.0, 50.0), 500  # what counts as brain, and how much of it must be there
WHOLE, WHOLE_VOXELS = 0.9, 10  # share of blood from which a voxel's HU are the blood's, and how many are needed


def dyed(hu: Tensor, share: Tensor, rng: np.random.Generator) -> Tensor:
    """The crop with the density of each of its bleeds changed, or as it is.

    What is added is in proportion to the share of blood, so that borders stay as soft and noise as coarse as they are.

    hu: (d, h, w) float32. share: (d, h, w) float32 in [0, 1], of the voxel that is blood. Returns HU like hu.
    """
    if rng.random() >= DYED:
        return hu
    brain = hu[(hu > BRAIN_HU[0]) & (hu < BRAIN_HU[1]) & (share == 0)]
    if len(brain) < BRAIN_VOXELS:
        return hu
    tissue = float(brain.median())
    slow = torch.from_numpy(rng.standard_normal((1, 1, *PATCHES), dtype=np.float32))
    patches = F.interpolate(slow, hu.shape, mode="trilinear")[0, 0] * float(rng.uniform(*PATCH_HU))
    labels, sizes = components((share > 0).numpy())
    added, least = torch.zeros(len(sizes) + 1), torch.zeros(len(sizes) + 1)
    for label in range(1, len(sizes) + 1):
        inside = hu[torch.from_numpy(labels == label) & (share > WHOLE)]
        factor = float(rng.uniform(*FACTOR))
        contrast = float(inside.mean()) - tissue if len(inside) >= WHOLE_VOXELS else 0.0
        if contrast > LEAST_HU:
            added[label], least[label] = (factor - 1) * contrast, LEAST_HU - contrast
    places = torch.from_numpy(labels).long()
    changed = (added[places] + patches).maximum(least[places])
    return hu + share * torch.where(least[places] < 0, changed, 0.0)
