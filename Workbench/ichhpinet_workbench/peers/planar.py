"""2D U-Net with the thesis's preparation and finish: skull removal, intensities by patient, morphology at the end.

After a bachelor's thesis on INSTANCE 2022 (readme of Segmentation-Method-for-Intracerebral-Hemorrhage) and what it says
should be done next: intensities by the mean of each patient's brain, morphology and components at the end.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from ichhpinet.networks import RoundInputs
from ichhpinet.preprocessing import CENTRE_HU, SCALE_HU

from ..brain import brain_alone, brain_of
from ..regions import Bool
from .base import PeerNetwork
from .config import TINY, PeerConfig

SMALLEST_MM3 = 30.0  # a component below is taken off
OPENING_MM = 0.6  # half the width of what the opening takes off


class PlanarUNet(PeerNetwork):
    """Each slice by itself. The brain alone is seen, its mean 0 and its spread 1, patient by patient."""

    def __init__(self, config: PeerConfig) -> None:
        super().__init__(config)
        from monai.networks.nets import BasicUNet

        features = (4, 4, 8, 8, 8, 4) if config.size == TINY else (32, 32, 64, 128, 256, 32)
        self.network = BasicUNet(2, config.channels, 1, features=features)

    def channels(self, inputs: RoundInputs) -> Tensor:
        """As the others', with the image stripped and normalised by its own brain.

        In training what comes are crops, stripped already: a crop does not tell what its patient's brain is like.
        """
        return super().channels(inputs if self.training else inputs._replace(image=stripped(inputs.image)))

    def windowed(self, x: Tensor) -> Tensor:
        """Slices are small: whole ones, always."""
        return self.padded(x)

    def segment(self, x: Tensor) -> Tensor:
        slices = x.transpose(1, 2).flatten(0, 1)
        logits = torch.cat([self.network(part) for part in slices.split(16)])
        return logits.view(x.shape[0], x.shape[2], 1, *x.shape[3:]).transpose(1, 2)

    def polished(self, mask: Bool, spacing_mm: tuple[float, float, float]) -> Bool:
        return finished(mask, spacing_mm)


def stripped(image: Tensor) -> Tensor:
    """Skull and air removed: 0 outside the brain, inside less its mean and over its spread.

    image: (B, d, h, w) normalised as the network's, whole heads.
    """
    hu = image * SCALE_HU + CENTRE_HU
    return torch.stack([brain_alone(part, brain_of(part)) for part in hu]).to(image.dtype)


def finished(mask: Bool, spacing_mm: tuple[float, float, float]) -> Bool:
    """Opened in the slice, holes filled, small components taken off. (D, H, W) bool."""
    radius = [max(1, round(OPENING_MM / step)) for step in spacing_mm[1:]]
    rows, columns = np.ogrid[-radius[0] : radius[0] + 1, -radius[1] : radius[1] + 1]
    disc = ((rows / radius[0]) ** 2 + (columns / radius[1]) ** 2 <= 1)[None]
    opened = ndimage.binary_opening(mask, disc)
    filled = np.stack([ndimage.binary_fill_holes(plane) for plane in opened])
    labels, count = ndimage.label(filled, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1) * float(np.prod(spacing_mm))
    sizes[0] = 0
    return sizes[labels] >= SMALLEST_MM3
