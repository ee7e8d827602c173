"""2D U-Net with the thesis's preparation and finish: skull removal, intensities by patient, morphology at the end.

After a bachelor's thesis on INSTANCE 2022 (readme of Segmentation-Method-for-Intracerebral-Hemorrhage) and what it says
should be done next: intensities by the mean of each patient's brain, morphology and components at the end.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from ichhpinet.networks import RoundInputs
from ichhpinet.preprocessing import CENTRE_HU, SCALE_HU

from ..regions import Bool
from .base import PeerNetwork
from .config import TINY, PeerConfig

SKULL_HU, AIR_HU = 95.0, -15.0  # of a working voxel; between them: brain, fluid, blood, scalp
RIM_PIXELS = 1  # of soft tissue beside the skull that is half bone
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
        """As the others', with the image stripped and normalised by its own brain."""
        return super().channels(inputs._replace(image=stripped(inputs.image)))

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

    image: (B, d, h, w) normalised as the network's. Brain: the soft tissue that hangs together after a step of the
    rim is taken off, largest in each volume (on a crop: in each crop).
    """
    hu = image * SCALE_HU + CENTRE_HU
    soft = (hu > AIR_HU) & (hu < SKULL_HU)
    bone = F.max_pool2d((hu >= SKULL_HU).float(), 2 * RIM_PIXELS + 1, 1, RIM_PIXELS) > 0
    inside = torch.stack([_largest(part) for part in soft & ~bone])
    count = inside.flatten(1).sum(1).clamp(min=1).view(-1, 1, 1, 1)
    mean = (hu * inside).flatten(1).sum(1).view(-1, 1, 1, 1) / count
    spread = (((hu - mean) * inside).square().flatten(1).sum(1).view(-1, 1, 1, 1) / count).sqrt()
    return torch.where(inside, (hu - mean) / spread.clamp(min=1.0), torch.zeros_like(hu)).to(image.dtype)


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


def _largest(soft: Tensor) -> Tensor:
    """(d, h, w) bool: the largest connected part; nothing of nothing."""
    labels, count = ndimage.label(soft.cpu().numpy())
    if not count:
        return soft
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return torch.from_numpy(labels == sizes.argmax()).to(soft.device)
