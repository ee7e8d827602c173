"""HU -> what the networks see: head box, working grid, image, stroke maps. Version it: weights depend on it."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from .errors import InputError
from .grid import STEADY, Between, WorkingGrid
from .orientation import Orientation
from .scribbles import Scribbles
from .volume import CTVolume

# Raise when anything below changes what a network sees; a checkpoint carries the version it was trained with.
PREPROCESSING_VERSION = 2

# Channels of every prompt-taking branch, in order. The only place that defines it.
CHANNELS = ("image", "previous", "foreground", "background", "likeness")

AIR_HU = -200.0  # resampling clips here first, so that air and bone do not bleed into the brain beside them
BONE_HU = 300.0
WINDOW_HU = (-30.0, 130.0)  # what the networks can tell apart: CSF, brain, blood, calcification; all else saturates
CENTRE_HU, SCALE_HU = 40.0, 40.0

HEAD_MARGIN_MM = 8.0  # beyond the skull, for what swells out of a hole in it
BOX_BONE_HU = 200.0  # bone, at the coarse sampling with which the box is found
MIN_BONE_FRACTION = 0.002  # fewer bone voxels than this: no skull in the image, so everything above air is the head
LEAST_INSIDE = 0.9  # of what is as dense as brain: where the skull's box holds less, bone is missing about it

LARGEST_MM = 700.0  # in plane: no scanner's field of view is larger

GEODESIC_SWEEPS = 4
GEODESIC_BASE = 0.3  # a step through tissue just like the painted costs this share of its length
GEODESIC_UNLIKE = 10.0  # and a step through tissue quite unlike it this much more
GEODESIC_DECAY_MM = 15.0
STROKE_REACHES = ("geodesic", "distance", "painted")  # how far a stroke speaks; what ships is the first
REACH = 0.8  # the most that a stroke says about a voxel that it does not touch; 1 is kept for the stroke itself

LIKENESS_BINS = 64  # of the densities in WINDOW_HU
LIKENESS_SIGMA_HU = 2.0  # densities this near to a painted one count as painted
BRAIN_HU = (5.0, 100.0)  # what blood has to be told apart from


def normalise(hu: torch.Tensor) -> torch.Tensor:
    """HU -> network units: [-1.75, 2.25], 0 at 40 HU."""
    return (hu.clamp(*WINDOW_HU) - CENTRE_HU) / SCALE_HU


def _extent(profile: np.ndarray, margin: int) -> tuple[int, int]:
    """(first, last + 1) index where a row holds a fair share of what is there, widened by `margin`."""
    rows = np.flatnonzero(profile > 0.02 * profile.max()) if profile.max() > 0 else np.arange(len(profile))
    return max(0, int(rows[0]) - margin), min(len(profile), int(rows[-1]) + 1 + margin)


def head_box(hu: np.ndarray, spacing_mm: tuple[float, float, float]) -> tuple[tuple[int, int], tuple[int, int]]:
    """((y0, y1), (x0, x1)): the skull's bounding box over all slices, with a margin; the whole plane if none is seen.

    Where much of what is as dense as brain lies outside of it (a brain without its skull but with coils, a wide
    craniectomy), the box of both. hu: (D, H, W) in working order. spacing_mm: (z, y, x).
    """
    step = max(1, hu.shape[0] // 48), 2, 2
    coarse = hu[:: step[0], :: step[1], :: step[2]]
    margins = [int(np.ceil(STEADY * HEAD_MARGIN_MM / spacing_mm[axis] / step[axis])) for axis in (1, 2)]
    bone = coarse > BOX_BONE_HU
    if bone.mean() < MIN_BONE_FRACTION:
        found = _box(coarse > AIR_HU, margins)
    else:
        found = _box(bone, margins)
        soft = (coarse > BRAIN_HU[0]) & (coarse < BRAIN_HU[1])
        if np.count_nonzero(soft[:, slice(*found[0]), slice(*found[1])]) < LEAST_INSIDE * np.count_nonzero(soft):
            found = [(min(a, b), max(c, d)) for (a, c), (b, d) in zip(found, _box(soft, margins), strict=True)]
    rows, columns = ((low * step[k], min(high * step[k], hu.shape[k])) for k, (low, high) in enumerate(found, start=1))
    return rows, columns


def _box(voxels: np.ndarray, margins: list[int]) -> list[tuple[int, int]]:
    """Of (d, h, w) bool, its rows and columns."""
    return [_extent(voxels.sum(axis=(0, 2)), margins[0]), _extent(voxels.sum(axis=(0, 1)), margins[1])]


def working_grid(volume: CTVolume, pixel_mm: float, min_slice_mm: float) -> WorkingGrid:
    """The working grid of a CT: `pixel_mm` in plane, thin slices merged until they are about `min_slice_mm` thick.

    Raises InputError for a plane larger than any scanner's: its spacing is wrong, and the grid would fill the memory.
    """
    orientation = Orientation.from_direction(volume.direction)
    spacing = tuple(volume.spacing_mm[axis] for axis in orientation.order)
    box = head_box(orientation.apply(volume.hu), spacing)  # type: ignore[arg-type]
    height, width = ((high - low) * mm for (low, high), mm in zip(box, spacing[1:], strict=True))
    if max(height, width) > LARGEST_MM:
        raise InputError(
            f"what the volume shows is {height:.0f} x {width:.0f} mm in plane (its spacing is "
            f"{', '.join(f'{mm:g}' for mm in volume.spacing_mm)} mm); it must be a head, at most {LARGEST_MM:g} mm"
        )
    most = max(1, volume.shape[orientation.slice_axis] // 2)  # at least two working slices are left
    merge = min(most, max(1, round(STEADY * min_slice_mm / spacing[0]))) if min_slice_mm > 0 else 1
    return WorkingGrid(volume.shape, volume.spacing_mm, orientation, box, pixel_mm, merge)


def working_image(volume: CTVolume, grid: WorkingGrid, between: Between = lambda: None) -> torch.Tensor:
    """The normalised image on the working grid: (d, h, w) float32 in [-1.75, 2.25]."""
    clipped = np.clip(volume.hu, AIR_HU, BONE_HU)
    return normalise(grid.to_working(clipped, outside=AIR_HU, between=between))


def working_strokes(strokes: Scribbles, grid: WorkingGrid, between: Between = lambda: None) -> torch.Tensor:
    """Strokes on the working grid: (2, d, h, w) bool, foreground then background, never both in one voxel.

    A working voxel that a stroke touches at all counts as painted; the larger coverage wins.
    """
    foreground = grid.to_working(strokes.foreground, between=between)
    background = grid.to_working(strokes.background, between=between)
    painted = torch.stack([foreground >= background, background > foreground])
    return painted & (torch.stack([foreground, background]) > 1e-4)


def _quiet_hu(image: torch.Tensor) -> torch.Tensor:
    """HU with the noise of single pixels averaged away in plane, by a 3x3 binomial. (B, d, h, w), as is `image`."""
    kernel = image.new_tensor([0.25, 0.5, 0.25])
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate").flatten(0, 1)[:, None]
    quiet = F.conv2d(padded, (kernel[:, None] * kernel)[None, None])
    return quiet.view_as(image) * SCALE_HU + CENTRE_HU


def _histogram(bins: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """(B, LIKENESS_BINS) smoothed share of each density where `weight` is set; bins, weight: (B, voxels)."""
    counts = weight.new_zeros(len(bins), LIKENESS_BINS, dtype=torch.float32).scatter_add_(1, bins, weight.float())
    width = (WINDOW_HU[1] - WINDOW_HU[0]) / LIKENESS_BINS
    steps = torch.arange(-4, 5, device=bins.device, dtype=torch.float32) * width / LIKENESS_SIGMA_HU
    kernel = torch.exp(-0.5 * steps.square())
    smooth = F.conv1d(counts[:, None], (kernel / kernel.sum())[None, None], padding=4)[:, 0]
    return smooth / smooth.sum(1, keepdim=True).clamp(min=1e-6)


def likeness(image: torch.Tensor, painted: torch.Tensor) -> torch.Tensor:
    """How much a voxel's density speaks for what was painted as blood, against brain and what was painted as not.

    Bayes' rule on histograms, as in GeoS (Criminisi et al., ECCV 2008): of the foreground strokes, and, in equal parts,
    of the background strokes and of the brain.

    image: (B, d, h, w) normalised. painted: (B, 2, d, h, w) bool. Returns: (B, d, h, w) in [0, 1], 0 without strokes.
    """
    hu = _quiet_hu(image)
    low, high = WINDOW_HU
    bins = ((hu - low) / (high - low) * LIKENESS_BINS).clamp(0, LIKENESS_BINS - 1).long().flatten(1)
    brain = ((hu > BRAIN_HU[0]) & (hu < BRAIN_HU[1])).flatten(1)
    foreground, background = painted.flatten(2).unbind(1)
    blood = _histogram(bins, foreground)
    other = 0.5 * (_histogram(bins, background & brain) + _histogram(bins, brain))
    share = blood / (blood + other + 1e-4)
    return share.gather(1, bins).view_as(image)


def geodesic_mm(
    cost: torch.Tensor, seeds: torch.Tensor, spacing_mm: torch.Tensor, between: Between = lambda: None
) -> torch.Tensor:
    """Distance from the seeds along the cheapest paths, in mm, by line sweeps.

    cost: (B, C, d, h, w) >= 0, what a mm costs in a voxel; a step costs as much as the dearer of the two that it joins.
    seeds: (B, C, d, h, w) bool. spacing_mm: (B, 3) float32, (z, y, x).
    Along a line the exact minimum is a running minimum of distance less cumulated cost, so a few sweeps over the six
    directions replace a front.
    Returns: (B, C, d, h, w) float32, 1e4 where nothing is painted.
    """
    distance = torch.where(seeds, 0.0, 1e4).float()
    totals = []
    for axis in (2, 3, 4):
        length = cost.shape[axis]
        step = torch.maximum(cost.narrow(axis, 0, length - 1), cost.narrow(axis, 1, length - 1))
        step = step * spacing_mm[:, axis - 2].view(-1, 1, 1, 1, 1)
        totals.append(F.pad(step.cumsum(axis).movedim(axis, -1), (1, 0)).movedim(-1, axis))
    for _ in range(GEODESIC_SWEEPS):
        for axis, total in zip((4, 3, 2), reversed(totals)):
            between()
            ahead = (distance - total).cummin(axis).values + total
            back = (distance + total).flip(axis).cummin(axis).values.flip(axis) - total
            distance = torch.minimum(ahead, back)
    return distance


def stroke_maps(
    image: torch.Tensor,
    painted: torch.Tensor,
    spacing_mm: torch.Tensor,
    between: Between = lambda: None,
    reach: str = "geodesic",
) -> torch.Tensor:
    """What the branches are told of the strokes: foreground, background and likeness, the last three CHANNELS.

    A stroke's map is 1 under it, and falls with the distance along paths through tissue of the density painted: far
    over the lesion that it lies in, on every slice, and hardly beyond.

    image: (B, d, h, w) normalised. painted: (B, 2, d, h, w) bool. spacing_mm: (B, 3). reach: of STROKE_REACHES;
    'distance' asks for no density (line sweeps then give the city-block distance), 'painted' says nothing beyond the
    strokes: both for comparison.
    Returns: (B, 3, d, h, w) float32 in [0, 1]. No stroke: all 0. A stroke of one kind silences the other under it.
    """
    alike = likeness(image, painted)
    if reach == "painted":
        maps = torch.zeros_like(painted, dtype=alike.dtype)
    else:
        unlike = torch.stack([1 - alike, alike], 1)
        cost = GEODESIC_BASE + GEODESIC_UNLIKE * unlike.square() if reach == "geodesic" else torch.ones_like(unlike)
        maps = REACH * torch.exp(-geodesic_mm(cost, painted, spacing_mm, between) / GEODESIC_DECAY_MM)
    maps = torch.where(painted, 1.0, torch.where(painted.flip(1), 0.0, maps))
    return torch.cat([maps, alike[:, None]], 1)


def compose(image: torch.Tensor, previous: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """Stack the CHANNELS of a prompt-taking branch, in their order.

    image, previous: (B, ...). maps: (B, 3, ...), as from `stroke_maps`. Returns (B, 5, ...).
    """
    return torch.cat([torch.stack([image, previous], 1), maps], 1)
