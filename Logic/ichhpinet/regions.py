"""Connected regions, boxes and distances in mm of what is set on the working grid."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ichhpinet.itk import simpleitk

FAR_MM = 60.0  # distances are not told apart beyond

Spacing = tuple[float, float, float]
Box = tuple[slice, slice, slice]


def connected(voxels: Tensor) -> tuple[Tensor, dict[int, Box]]:
    """The connected regions of (d, h, w) bool, diagonals included: their numbers from 1, int64, and the box of each."""
    sitk = simpleitk()
    labels = sitk.ConnectedComponent(sitk.GetImageFromArray(voxels.numpy().astype(np.uint8)), True)
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(labels)
    boxes = {}
    for label in shape.GetLabels():
        x, y, z, width, height, depth = shape.GetBoundingBox(label)
        boxes[label] = slice(z, z + depth), slice(y, y + height), slice(x, x + width)
    return torch.from_numpy(sitk.GetArrayFromImage(labels).astype(np.int64)), boxes


def box_of(voxels: Tensor) -> Box:
    """The smallest box about what is set in (d, h, w) bool; something must be."""
    found = []
    for axis in range(3):
        first, second = (other for other in range(3) if other != axis)
        where = torch.nonzero(voxels.any(second).any(first)).flatten()
        found.append(slice(int(where[0]), int(where[-1]) + 1))
    return found[0], found[1], found[2]


def wider(box: Box, margin_mm: float, spacing_mm: Spacing) -> Box:
    """The box, so much wider on all sides, where the array allows."""
    margin = [int(margin_mm / mm) for mm in spacing_mm]
    z, y, x = (slice(max(0, part.start - more), part.stop + more) for part, more in zip(box, margin, strict=True))
    return z, y, x


def sides_mm(box: Box, spacing_mm: Spacing, less: int = 0) -> list[float]:
    """How long a box is along each axis; less: so many voxels shorter."""
    return [(part.stop - part.start - less) * mm for part, mm in zip(box, spacing_mm, strict=True)]


def far_mm(voxels: Tensor, spacing_mm: Spacing) -> Tensor:
    """`distance_mm`, no further than FAR_MM; that where nothing is set."""
    if not bool(voxels.any()):
        return torch.full(voxels.shape, FAR_MM, dtype=torch.float32)
    return distance_mm(voxels, spacing_mm).clamp(max=FAR_MM)


def distance_mm(voxels: Tensor, spacing_mm: Spacing) -> Tensor:
    """(d, h, w) float32: how far the nearest voxel is that is set in (d, h, w) bool."""
    sitk = simpleitk()
    image = sitk.GetImageFromArray(voxels.numpy().astype(np.uint8))
    image.SetSpacing(spacing_mm[::-1])
    distance = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
    return torch.from_numpy(sitk.GetArrayFromImage(distance)).clamp(min=0)


def without_holes(mask: Tensor) -> Tensor:
    """(d, h, w) bool: what the mask closes in is in it."""
    sitk = simpleitk()
    filled = sitk.BinaryFillhole(sitk.GetImageFromArray(mask.numpy().astype(np.uint8)), True)
    return torch.from_numpy(sitk.GetArrayFromImage(filled).astype(bool))
