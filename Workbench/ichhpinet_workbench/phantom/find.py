"""Finds skull, brain and ventricles of a given head CT by HU and simple morphology, as the fields bleeds grow in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .fields import Grid
from .head import Head
from .morphology import dilate, enclosed, erode, gaussian, masked_mean, reconstruct, signed_distance

WORLD_PIXEL_MM = 1.8
BONE_HU = 160.0
BRAIN_HU = (-15.0, 110.0)  # brain, CSF and blood
# Where the template's cavity ends, in its mm: top, front, back, side. A given head is laid over it by these.
TEMPLATE_TOP, TEMPLATE_FRONT, TEMPLATE_BACK, TEMPLATE_SIDE = 72.0, -86.0, 84.0, 68.0


@dataclass
class Found:
    """The fields of a given head and its brain's density. planes: world planes to a slice."""

    head: Head
    brain_hu: float
    planes: int


def shrink(ct: Tensor, spacing: tuple[float, float, float]) -> tuple[Tensor, tuple[float, float, float]]:
    """(D, h, w) area mean of the CT at about WORLD_PIXEL_MM, and its spacing."""
    _, height, width = ct.shape
    rows = max(8, round(height * spacing[1] / max(spacing[1], WORLD_PIXEL_MM)))
    columns = max(8, round(width * spacing[2] / max(spacing[2], WORLD_PIXEL_MM)))
    small = functional.interpolate(ct[:, None].clamp(-1024.0, 2000.0), size=(rows, columns), mode="area")[:, 0]
    return small, (spacing[0], height * spacing[1] / rows, width * spacing[2] / columns)


def find_cavity(small: Tensor, spacing: tuple[float, float, float]) -> Tensor:
    """(D, h, w) bool: inside of the skull. Raises ValueError where there is none."""
    reach = max(1, round(5.0 / spacing[2]))
    wall = small > BONE_HU
    soft = (small > BRAIN_HU[0]) & (small < BRAIN_HU[1]) & enclosed(wall)
    core = erode(soft | erode(dilate(soft, (0, 2, 2)), (0, 2, 2)), (0, reach, reach))
    areas = core.sum(dim=(1, 2))
    if int(areas.max()) * spacing[1] * spacing[2] < 2000.0:
        raise ValueError("no brain inside a skull was found; hu must be a head CT in HU")
    seed = torch.zeros_like(core)
    seed[int(areas.argmax())] = core[int(areas.argmax())]
    core = reconstruct(seed, core)
    cavity = dilate(core, (0, reach + 1, reach + 1)) & (small > BRAIN_HU[0]) & (small < BONE_HU)
    cavity = erode(dilate(cavity, (0, 2, 2)), (0, 2, 2)) & (small > BRAIN_HU[0]) & (small < 600.0)
    areas = cavity.sum(dim=(1, 2))
    cavity &= (areas > 0.22 * areas.max())[:, None, None]
    return cavity & ~orbits(lay_over_template(cavity, spacing))


def orbits(place: Tensor) -> Tensor:
    """Where eyes and face may be taken for brain: in front, below the frontal lobes."""
    z, y, _ = place
    return (y < -38.0) & (z < -16.0)


def lay_over_template(cavity: Tensor, spacing: tuple[float, float, float]) -> Tensor:
    """(3, D, h, w) template mm (z, y, x) of each voxel, by the cavity's extent."""
    depth, rows, columns = cavity.shape
    device = cavity.device
    used = torch.nonzero(cavity.any(dim=2).any(dim=1))[:, 0]
    z = (torch.arange(depth, device=device) - float(used.max())) * spacing[0] + TEMPLATE_TOP
    front, back = extent(cavity.any(dim=2).any(dim=0), spacing[1])
    left, right = extent(cavity.any(dim=1).any(dim=0), spacing[2])
    y = torch.arange(rows, device=device) * spacing[1] - front
    y = TEMPLATE_FRONT + y * (TEMPLATE_BACK - TEMPLATE_FRONT) / max(back - front, 1.0)
    x = torch.arange(columns, device=device) * spacing[2] - (left + right) / 2.0
    x = x * (2.0 * TEMPLATE_SIDE) / max(right - left, 1.0)
    return torch.stack(torch.meshgrid(z, y, x, indexing="ij"))


def extent(line: Tensor, step: float) -> tuple[float, float]:
    """First and last True of a line in mm."""
    at = torch.nonzero(line)[:, 0]
    return float(at.min()) * step, float(at.max()) * step


def find_head(ct: Tensor, spacing: tuple[float, float, float]) -> Found:
    """The fields of a given head CT (D, H, W), several world planes to a thick slice."""
    small, step = shrink(ct, spacing)
    cavity = find_cavity(small, step)
    place = lay_over_template(cavity, step)
    inner = cavity & (small > 15.0) & (small < 60.0)
    brain_hu = float(small[inner].median())
    quiet = masked_mean(small.clamp(-20.0, 100.0), cavity, 1.0)
    fluid = cavity & (quiet < brain_hu - 10.0)
    to_bone = signed_distance(cavity, step)
    z, y, x = place
    central = (to_bone > 20.0) & (x.abs() < 31.0) & (z > -12.0) & (z < 48.0) & (y < 38.0)
    ventricle = signed_distance(dilate(erode(fluid & central, (0, 1, 1)), (0, 1, 1)) & fluid, step)
    csf = torch.where(cavity, (brain_hu - 10.0 - quiet) / 6.0, torch.full_like(quiet, -5.0)).clamp(-5.0, 5.0)
    planes = min(4, max(1, math.ceil(spacing[0] / 2.6)))
    fields = torch.cat([torch.stack([to_bone, ventricle, csf]), place])
    size = (small.shape[0] * planes, *small.shape[1:])
    fields = functional.interpolate(fields[None], size=size, mode="trilinear", align_corners=False)[0]
    return Found(as_head(fields, (step[0] / planes, step[1], step[2])), brain_hu, planes)


def as_head(fields: Tensor, step: tuple[float, float, float]) -> Head:
    """A Head of the found fields (6, D, h, w): no own sulci, they are in the CSF level."""
    cavity, ventricle, csf = gaussian(fields[0], 0.5), fields[1], fields[2]
    axes = [
        (torch.arange(n, dtype=torch.float32, device=fields.device) - (n - 1) / 2.0) * mm
        for n, mm in zip(cavity.shape, step, strict=True)
    ]
    none = torch.full_like(cavity, -5.0)
    return Head(
        grid=Grid(axes[0], axes[1], axes[2], step),
        place=fields[3:6],
        cavity=cavity,
        head=cavity,
        bone=-cavity,
        air=none,
        ventricle=ventricle,
        white=torch.zeros_like(cavity),
        csf=csf,
        sulcus=torch.zeros_like(cavity),
        sulcus_width=none,
    )
