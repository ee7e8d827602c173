"""Densities: what each tissue of a head weighs in HU, on the world grid, and the image composed from it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .bleeds import Bleed
from .fields import Dice, occupancy, ramp, smooth_noise
from .head import Head
from .mimics import Bright

AIR_HU = -1000.0


@dataclass
class Palette:
    """Mean densities of one patient on one scanner, HU."""

    grey: float
    white: float
    csf: float
    fat: float
    muscle: float
    cortical: float
    diploe: float


def draw_palette(dice: Dice) -> Palette:
    """Densities with a scanner's offset."""
    offset = dice.normal(0.0, 1.8)
    white = dice.normal(28.0, 2.0)
    return Palette(
        grey=white + dice.uniform(3.5, 10.0) + offset,
        white=white + offset,
        csf=dice.uniform(3.0, 13.0) + offset,
        fat=dice.uniform(-115.0, -75.0),
        muscle=dice.uniform(42.0, 62.0),
        cortical=dice.uniform(900.0, 1700.0),
        diploe=dice.uniform(250.0, 800.0),
    )


def brain_tissue(dice: Dice, head: Head, palette: Palette) -> Tensor:
    """(D, H, W) HU of brain without CSF: cortex along the sulci, white matter, deep grey, slow drifts."""
    ribbon_mm = dice.uniform(1.8, 3.5)
    fissure = torch.where(head.csf < 0.0, 3.0 * head.csf, head.csf)
    edge = torch.maximum(head.sulcus_width - head.sulcus.abs(), fissure)
    near = torch.where(head.sulcus_width > -0.5, edge, fissure)
    mottle = smooth_noise(dice, head.grid, 7.0)[0]
    sharp = dice.uniform(0.12, 0.4)
    white = ramp(head.white + 0.08 * mottle, 0.5 - sharp, 0.5 + sharp)
    white = white * ramp(-near, ribbon_mm - 1.0, ribbon_mm + 1.5)
    drift = smooth_noise(dice, head.grid, 45.0)[0] * dice.uniform(0.0, 1.6)
    hu = palette.grey + (palette.white - palette.grey) * white + drift + mottle * dice.uniform(0.0, 0.9)
    if dice.chance(0.5):  # cupping: brighter under the skull
        hu = hu + dice.uniform(0.0, 8.0) * torch.exp(-head.cavity.clamp(min=0.0) / dice.uniform(3.0, 10.0))
    if dice.chance(0.35):  # small-vessel disease about the ventricles
        halo = ramp(head.ventricle + 2.0 * mottle, -dice.uniform(5.0, 16.0), 0.0)
        hu = hu - dice.uniform(2.0, 9.0) * halo * white
    return hu


def soft_tissue(dice: Dice, head: Head, palette: Palette) -> Tensor:
    """(D, H, W) HU outside the cavity without bone: fat, muscle, skin, sinuses, mastoid cells."""
    noise = smooth_noise(dice, head.grid, 11.0)[0]
    z, y, x = head.place
    temple = 0.8 * ramp((y + 25.0).abs(), 35.0, 15.0)
    muscle = ramp(0.6 * noise + temple - (z + dice.uniform(5.0, 25.0)) / 20.0, 0.2, 1.0)
    planes = smooth_noise(dice, head.grid, 14.0)[0].abs()  # fat between the muscles
    muscle = muscle * ramp(planes, 0.0, 0.25)
    grain = 1.0 + 0.12 * smooth_noise(dice, head.grid, 5.0)[0]
    hu = (palette.fat + (palette.muscle - palette.fat) * muscle) * grain
    skin = ramp(head.head, dice.uniform(2.0, 4.0), 1.0)
    hu = hu + (35.0 - hu) * skin
    hu = hu + (AIR_HU - hu) * occupancy(head.air, 2.0)
    return hu if dice.chance(0.5) else headrest(dice, head, hu)


def headrest(dice: Dice, head: Head, soft: Tensor) -> Tensor:
    """soft with the shell that the head lies in; head.head grows by it."""
    _, y, x = head.grid.points()
    middle = dice.uniform(-10.0, 20.0)
    radius = dice.uniform(92.0, 110.0)
    shell = (
        dice.uniform(1.2, 2.5)
        - ((y - middle).square() + (x * dice.uniform(0.85, 1.1)).square()).sqrt().sub(radius).abs()
    )
    shell = torch.minimum(shell, y - middle + dice.uniform(-40.0, 20.0))
    there = shell > head.head
    head.head = torch.maximum(head.head, shell)
    return torch.where(there, dice.uniform(-300.0, 400.0), soft)


def bone_density(dice: Dice, head: Head, palette: Palette) -> Tensor:
    """(D, H, W) HU of bone: dense tables, spongy middle, air cells in the mastoid."""
    depth = torch.minimum(head.bone, -head.cavity)
    spongy = ramp(depth, 0.8, dice.uniform(2.2, 3.5))
    noise = smooth_noise(dice, head.grid, 5.0)[0]
    hu = palette.cortical + (palette.diploe * (1.0 + 0.35 * noise) - palette.cortical) * spongy
    z, y, x = head.place
    mastoid = ramp(
        -((z + 32.0) / 14).square() - ((y - 14.0) / 18).square() - ((x.abs() - 52.0) / 14).square(), -1.0, -0.3
    )
    cells = ramp(smooth_noise(dice, head.grid, 4.0)[0] + dice.uniform(-0.8, 0.6), 0.0, 0.5) * mastoid
    return hu + (-900.0 - hu) * cells


def layers(head: Head, tissue: Tensor, soft: Tensor, bone: Tensor, bright: Bright, bleeds: list[Bleed]) -> Tensor:
    """(C, D, H, W): the smooth fields that compose() turns into an image at any resolution."""
    fixed = [head.cavity, head.head, head.bone, head.csf, head.sulcus, head.sulcus_width, tissue, soft, bone]
    fixed += [bright.falx, bright.falx_half, bright.tent, bright.tent_half, bright.level, bright.hu]
    for bleed in bleeds:
        fixed += [bleed.level, bleed.hu]
    return torch.stack([field.clamp(-3000.0, 3000.0) for field in fixed])


def compose(
    fields: Tensor, size: tuple[int, int], edge_mm: float, csf_hu: float, sheet_hu: float
) -> tuple[Tensor, Tensor]:
    """Image and blood of some planes: fields (C, n, h, w) -> HU (n, H, W) and occupancy (K, n, H, W) of each bleed."""
    fine = functional.interpolate(fields.transpose(0, 1), size=size, mode="bilinear", align_corners=False)
    (cavity, head, bone, csf, sulcus, width, hu, soft, bone_hu, falx, falx_half, tent, tent_half, bright, bright_hu) = (
        fine[:, :15].unbind(1)
    )
    fluid = occupancy(torch.maximum(csf, width - sulcus.abs()), edge_mm)
    hu = torch.lerp(hu, hu.new_full((), csf_hu).expand_as(hu), fluid)
    sheets = occupancy(torch.maximum(falx_half - falx.abs(), tent_half - tent.abs()), edge_mm)
    hu = torch.lerp(hu, hu.new_full((), sheet_hu).expand_as(hu), sheets)
    inside = occupancy(cavity, edge_mm)
    free = occupancy(cavity - 0.5 * edge_mm, edge_mm)  # a reader's mask keeps off the bone
    blood = []
    for k in range(15, fine.shape[1], 2):
        share = occupancy(fine[:, k], edge_mm)
        hu = torch.lerp(hu, fine[:, k + 1], share)
        blood.append(share * free)
    hu = torch.lerp(hu, bright_hu, occupancy(bright, edge_mm))
    outside = torch.lerp(soft, bone_hu, occupancy(bone, edge_mm))
    hu = torch.lerp(outside, hu, inside)
    hu = torch.lerp(hu.new_full((), AIR_HU).expand_as(hu), hu, occupancy(head, edge_mm))
    return hu, torch.stack(blood) if blood else hu.new_zeros((0, *hu.shape))
