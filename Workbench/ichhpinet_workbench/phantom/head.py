"""A random head: the packed template warped hard onto a world grid. Distances and tissue maps, no HU yet."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .fields import Dice, Grid, ramp, smooth_noise

CHANNELS = ("cavity", "head", "bone", "air", "ventricle", "white", "csf")
DISTANCE_STEP_MM = 0.5
TEMPLATE_MM = 2.0
TEMPLATE_CENTRE = (38, 62, 53)  # voxel of the template that is the head's centre: z, y, x


@dataclass(frozen=True)
class Shape:
    """How wildly a family warps the template."""

    scale: float = 0.08  # sigma of the common and of each axis' size
    rotation_deg: tuple[float, float, float] = (9.0, 5.0, 5.0)  # sigma of tilt, roll and yaw
    shear: float = 0.05
    waves: tuple[tuple[float, float], ...] = ((70.0, 5.0), (35.0, 2.2), (17.0, 0.8))  # knots mm, sigma mm
    folds_mm: tuple[float, float] = (5.5, 10.0)  # knots of the sulci


@dataclass
class Head:
    """Fields of one head on the world grid. Distances in mm, positive inside."""

    grid: Grid
    place: Tensor  # (3, D, H, W) template mm: z, y, x
    cavity: Tensor
    head: Tensor
    bone: Tensor
    air: Tensor
    ventricle: Tensor
    white: Tensor  # [0, 1]
    csf: Tensor  # level, mm, positive in CSF outside the sulci
    sulcus: Tensor  # signed mm from the middle of a sulcus
    sulcus_width: Tensor  # half width mm; negative where there is none

    @property
    def below_tent(self) -> Tensor:
        """mm under the tentorium, positive in the posterior fossa."""
        z, y, x = self.place
        return tentorium_height(y, x) - z


def tentorium_height(y: Tensor, x: Tensor) -> Tensor:
    """Height of the tentorium in template mm: a tent, apex in front, falling backwards and to the sides."""
    return 3.0 - 0.7 * (y - 32.0).clamp(min=0.0) - 0.42 * x.abs() - 1.2 * (20.0 - y).clamp(min=0.0)


@functools.cache
def template(device: torch.device) -> Tensor:
    """(1, 7, D, H, W) float32: the channels of anatomy.npz, distances in mm, tissues in [0, 1]."""
    with np.load(Path(__file__).with_name("anatomy.npz")) as maps:
        stack = np.stack([maps[name].astype(np.float32) for name in CHANNELS])
    stack[:5] = (stack[:5] - 128.0) * DISTANCE_STEP_MM
    stack[5:7] /= 255.0
    return torch.from_numpy(stack)[None].to(device)


def rotation(tilt: float, roll: float, yaw: float) -> Tensor:
    """(3, 3) over (z, y, x): tilt turns z-y, roll z-x, yaw y-x. Radians."""
    result = torch.eye(3)
    for (a, b), angle in (((0, 1), tilt), ((0, 2), roll), ((1, 2), yaw)):
        turn = torch.eye(3)
        turn[a, a] = turn[b, b] = math.cos(angle)
        turn[a, b], turn[b, a] = -math.sin(angle), math.sin(angle)
        result = result @ turn
    return result


def pose(dice: Dice, shape: Shape) -> Tensor:
    """(3, 3) world mm -> template mm: size, aspect, shear, position of the head, gantry tilt, mirror."""
    size = 1.0 + dice.normal(0.0, shape.scale * 0.6)
    if dice.chance(0.06):
        size *= dice.uniform(1.1, 1.35)  # a child's head
    scale = torch.tensor([size * (1.0 + dice.normal(0.0, shape.scale * 0.6)) for _ in range(3)]).clamp(0.82, 1.5)
    tilt, roll, yaw = (math.radians(dice.normal(0.0, sigma)) for sigma in shape.rotation_deg)
    tilt += math.radians(dice.uniform(-5.0, 25.0)) if dice.chance(0.6) else 0.0
    shear = torch.eye(3) + torch.tensor([dice.vector(*(shear,) * 3) for shear in (shape.shear,) * 3])
    mirror = torch.diag(torch.tensor([1.0, 1.0, dice.sign()]))
    return mirror @ torch.diag(scale) @ shear @ rotation(min(tilt, 0.6), roll, yaw)


def warp(dice: Dice, grid: Grid, shape: Shape) -> Tensor:
    """(3, D, H, W) template mm (z, y, x) of each world voxel."""
    matrix = pose(dice, shape).to(grid.z.device)
    points = grid.points()
    place = torch.matmul(matrix, points.reshape(3, -1)).reshape(points.shape)
    for knots_mm, sigma_mm in shape.waves:
        place = place + smooth_noise(dice, grid, knots_mm, 3) * (sigma_mm * dice.uniform(0.4, 1.4))
    return place


def lookup(volume: Tensor, place: Tensor, step_mm: float, centre: tuple[float, ...]) -> Tensor:
    """(C, D, H, W): volume (1, C, d, h, w) with voxels of step_mm sampled at place (3, D, H, W) mm."""
    sizes = volume.shape[2:]
    axes = [
        ((place[i] / step_mm + centre[i]) * (2.0 / (sizes[i] - 1)) - 1.0) for i in (2, 1, 0)
    ]  # grid_sample wants x, y, z
    flow = torch.stack(axes, dim=-1)[None]
    return functional.grid_sample(volume, flow, mode="bilinear", padding_mode="border", align_corners=True)[0]


def gyri(dice: Dice, place: Tensor, knots_mm: float) -> Tensor:
    """(D, H, W) signed mm from the middle of the nearest sulcus: sheets that run inwards from the surface."""
    device = place.device
    axis = torch.arange(-100.0, 100.5, 2.5, device=device)
    noise = smooth_noise(dice, Grid(axis, axis, axis, (2.5,) * 3), knots_mm)
    radius = place.square().sum(dim=0, keepdim=True).sqrt().clamp(min=12.0)
    along = dice.uniform(0.25, 0.5)
    folded = place * (along + (1.0 - along) * 62.0 / radius)
    value = lookup(noise[None], folded, 2.5, ((len(axis) - 1) / 2.0,) * 3)[0]
    return value * (knots_mm * 0.55)


def make_head(dice: Dice, grid: Grid, shape: Shape) -> Head:
    """A head nobody has seen, on the world grid."""
    place = warp(dice, grid, shape)
    cavity, head, bone, air, ventricle, white, csf = lookup(
        template(grid.z.device), place, TEMPLATE_MM, TEMPLATE_CENTRE
    )
    age = dice.uniform(0.0, 1.0)  # 0 young, 1 old: wider sulci, ventricles and subarachnoid space
    fine = smooth_noise(dice, grid, 12.0)[0]
    broad = smooth_noise(dice, grid, 35.0)[0]
    ventricle = ventricle + ventricle_growth(dice, age) + 0.7 * fine + 0.8 * broad
    gap = (0.2 + 2.6 * age**2 * dice.uniform(0.3, 1.4)) * (1.0 + 0.5 * broad)
    cistern = (csf - dice.uniform(0.34, 0.6) + 0.12 * age) * 6.0 + 0.4 * fine
    depth = (cavity - gap).clamp(min=0.0)
    half_width = dice.uniform(0.4, 1.1) + 1.2 * age**1.5 * dice.uniform(0.4, 1.2)
    reach_mm = dice.uniform(10.0, 24.0)
    tent = tentorium_height(place[1], place[2]) - place[0]
    width = half_width * (1.0 + 0.6 * broad) * (1.0 - depth / reach_mm) - 0.1
    width = width - ramp(tent, -2.0, 4.0) * half_width * 0.75
    bone = bone + dice.uniform(-1.8, 0.5) + 0.7 * broad
    thickness = dice.uniform(3.5, 7.5) * (1.0 + 0.15 * broad)
    vault = (thickness + cavity) - 4.0 * ramp(place[0], -58.0, -66.0) * 10.0
    return Head(
        grid=grid,
        place=place,
        cavity=cavity,
        head=torch.maximum(head, vault + 3.0),
        bone=torch.maximum(bone, vault),
        air=air + 1.5 * fine,
        ventricle=torch.minimum(ventricle, cavity - 6.0),
        white=white,
        csf=torch.maximum(gap - cavity, torch.maximum(cistern, ventricle)),
        sulcus=gyri(dice, place, dice.uniform(*shape.folds_mm)),
        sulcus_width=width,
    )


def ventricle_growth(dice: Dice, age: float) -> float:
    """mm that the ventricles' walls move outwards: slit, ordinary or hydrocephalic."""
    if dice.chance(0.08):
        return dice.uniform(3.0, 8.0)
    return dice.uniform(-2.2, 0.6) + 2.2 * age * dice.uniform(0.0, 1.0)
