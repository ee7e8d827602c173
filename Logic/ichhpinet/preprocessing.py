"""HU -> what the networks see: head box, working grid, image, stroke maps. Version it: weights depend on it."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from .grid import Orientation, WorkingGrid
from .scribbles import Scribbles
from .volume import CTVolume

# Raise when anything below changes what a network sees; a checkpoint carries the version it was trained with.
PREPROCESSING_VERSION = 1

# Channels of every prompt-taking branch, in order. The only place that defines it.
CHANNELS = ("image", "previous", "foreground", "background")

AIR_HU = -200.0  # resampling clips here first, so that air and bone do not bleed into the brain beside them
BONE_HU = 300.0
WINDOW_HU = (-30.0, 130.0)  # what the networks can tell apart: CSF, brain, blood, calcification; all else saturates
CENTRE_HU, SCALE_HU = 40.0, 40.0

HEAD_MARGIN_MM = 8.0  # beyond the skull: a swollen brain after craniectomy still lies inside the box
BOX_BONE_HU = 200.0  # bone, at the coarse sampling with which the box is found
MIN_BONE_FRACTION = 0.002  # fewer bone voxels than this: no skull in the image, so everything above air is the head

GEODESIC_SWEEPS = 3
GEODESIC_EDGE_MM = 15.0  # a step of EDGE_HU costs as much as this many mm
GEODESIC_EDGE_HU = 10.0
GEODESIC_DECAY_MM = 20.0
REACH = 0.8  # the most that a stroke says about a voxel that it does not touch; 1 is kept for the stroke itself


def normalise(hu: torch.Tensor) -> torch.Tensor:
    """HU -> network units: [-1.75, 2.25], 0 at 40 HU."""
    return (hu.clamp(*WINDOW_HU) - CENTRE_HU) / SCALE_HU


def _extent(profile: np.ndarray, margin: int) -> tuple[int, int]:
    """(first, last + 1) index where a row holds a fair share of what is there, widened by `margin`."""
    rows = np.flatnonzero(profile > 0.02 * profile.max()) if profile.max() > 0 else np.arange(len(profile))
    return max(0, int(rows[0]) - margin), min(len(profile), int(rows[-1]) + 1 + margin)


def head_box(hu: np.ndarray, spacing_mm: tuple[float, float, float]) -> tuple[tuple[int, int], tuple[int, int]]:
    """((y0, y1), (x0, x1)): the skull's bounding box over all slices, with a margin; the whole plane if none is seen.

    hu: (D, H, W) in working order. spacing_mm: (z, y, x).
    """
    step = max(1, hu.shape[0] // 48), 2, 2
    coarse = hu[:: step[0], :: step[1], :: step[2]]
    head = coarse > BOX_BONE_HU
    if head.mean() < MIN_BONE_FRACTION:
        head = coarse > AIR_HU
    box = []
    for axis in (1, 2):
        other = (0, 2) if axis == 1 else (0, 1)
        margin = int(np.ceil(HEAD_MARGIN_MM / spacing_mm[axis] / step[axis]))
        low, high = _extent(head.sum(axis=other), margin)
        box.append((low * step[axis], min(high * step[axis], hu.shape[axis])))
    return box[0], box[1]


def working_grid(volume: CTVolume, pixel_mm: float, min_slice_mm: float) -> WorkingGrid:
    """The working grid of a CT: `pixel_mm` in plane, thin slices merged until they are about `min_slice_mm` thick."""
    orientation = Orientation.from_direction(volume.direction)
    spacing = tuple(volume.spacing_mm[axis] for axis in orientation.order)
    box = head_box(orientation.apply(volume.hu), spacing)  # type: ignore[arg-type]
    most = max(1, volume.shape[orientation.slice_axis] // 2)  # at least two working slices are left
    merge = min(most, max(1, round(min_slice_mm / spacing[0]))) if min_slice_mm > 0 else 1
    return WorkingGrid(volume.shape, volume.spacing_mm, orientation, box, pixel_mm, merge)


def working_image(volume: CTVolume, grid: WorkingGrid) -> torch.Tensor:
    """The normalised image on the working grid: (d, h, w) float32 in [-1.75, 2.25]."""
    clipped = np.clip(volume.hu, AIR_HU, BONE_HU)
    return normalise(grid.to_working(clipped, outside=AIR_HU))


def working_strokes(strokes: Scribbles, grid: WorkingGrid) -> torch.Tensor:
    """Strokes on the working grid: (2, d, h, w) bool, foreground then background, never both in one voxel.

    A working voxel that a stroke touches at all counts as painted; the larger coverage wins.
    """
    foreground = grid.to_working(strokes.foreground)
    background = grid.to_working(strokes.background)
    painted = torch.stack([foreground >= background, background > foreground])
    return painted & (torch.stack([foreground, background]) > 1e-4)


def geodesic_mm(image: torch.Tensor, seeds: torch.Tensor, spacing_mm: torch.Tensor) -> torch.Tensor:
    """Distance from the seeds along paths that avoid edges, in mm (Criminisi et al., GeoS, ECCV 2008), by line sweeps.

    image: (B, d, h, w) float32, normalised. seeds: (B, C, d, h, w) bool. spacing_mm: (B, 3) float32, (z, y, x).
    A step costs its length plus EDGE_MM * (HU step / EDGE_HU)^2. Along a line the exact minimum is a running minimum
    of distance less cumulated cost, so a few sweeps over the six directions replace a front.
    Returns: (B, C, d, h, w) float32, 1e4 where nothing is painted.
    """
    hu = image[:, None] * SCALE_HU
    distance = torch.where(seeds, 0.0, 1e4)
    costs = []
    for axis in (2, 3, 4):
        step = (hu.diff(dim=axis) / GEODESIC_EDGE_HU).square() * GEODESIC_EDGE_MM
        step = step + spacing_mm[:, axis - 2].view(-1, 1, 1, 1, 1)
        costs.append(F.pad(step.cumsum(axis).movedim(axis, -1), (1, 0)).movedim(-1, axis))
    for _ in range(GEODESIC_SWEEPS):
        for axis, cost in zip((4, 3, 2), reversed(costs)):
            ahead = (distance - cost).cummin(axis).values + cost
            back = (distance + cost).flip(axis).cummin(axis).values.flip(axis) - cost
            distance = torch.minimum(ahead, back)
    return distance


def stroke_maps(image: torch.Tensor, painted: torch.Tensor, spacing_mm: torch.Tensor) -> torch.Tensor:
    """What the branches are told of the strokes: 1 under a stroke, then falling with geodesic distance from it.

    image: (B, d, h, w) normalised. painted: (B, 2, d, h, w) bool. spacing_mm: (B, 3).
    Returns: (B, 2, d, h, w) float32 in [0, 1]. No stroke: all 0. A stroke of one kind silences the other under it.
    """
    distance = geodesic_mm(image, painted, spacing_mm)
    maps = REACH * torch.exp(-distance / GEODESIC_DECAY_MM)
    return torch.where(painted, 1.0, torch.where(painted.flip(1), 0.0, maps))


def compose(
    image: torch.Tensor, previous: torch.Tensor, foreground: torch.Tensor, background: torch.Tensor
) -> torch.Tensor:
    """Stack the CHANNELS of a prompt-taking branch, in their order. Each: (B, ...); returns (B, 4, ...)."""
    return torch.stack([image, previous, foreground, background], dim=1)
