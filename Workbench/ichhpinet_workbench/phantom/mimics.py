"""What is bright or dark and is not blood: falx, tentorium, sinuses, calcifications, old infarcts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .bleeds import anywhere, ellipsoid, nearest
from .fields import Dice, ramp, smooth_noise
from .head import Head


@dataclass
class Bright:
    """Bright things on the world grid: two sheets (signed mm and half width mm), and all else as one level and HU."""

    falx: Tensor
    falx_half: Tensor
    tent: Tensor
    tent_half: Tensor
    level: Tensor
    hu: Tensor
    sheet_hu: float

    def add(self, level: Tensor, hu: Tensor | float) -> None:
        """Lay another bright thing over the others where it is deeper."""
        self.hu = torch.where(level > self.level, hu, self.hu)
        self.level = torch.maximum(self.level, level)


def sheets(dice: Dice, head: Head) -> Bright:
    """Falx and tentorium, thin and a little dense."""
    z, y, x = head.place
    wobble = smooth_noise(dice, head.grid, 25.0)[0]
    thin = dice.uniform(0.15, 0.75)
    falx_gate = ramp(torch.maximum(z - 22.0 + 0.5 * (-y).clamp(min=0.0), y - 28.0), -6.0, 4.0)
    falx_gate = falx_gate * ramp(head.cavity, 48.0, 30.0) * ramp(head.below_tent, 2.0, -2.0)
    tent_gate = ramp(y, 28.0, 38.0) * ramp(x.abs(), 4.0, 9.0) * ramp(x.abs(), 62.0, 52.0)
    return Bright(
        falx=x + 0.8 * wobble,
        falx_half=(thin * (1.0 + 0.3 * wobble) + 0.3) * falx_gate - 0.3,
        tent=head.below_tent + wobble,
        tent_half=(thin * 0.9 + 0.3) * tent_gate - 0.3,
        level=torch.full_like(x, -50.0),
        hu=torch.full_like(x, 60.0),
        sheet_hu=dice.uniform(42.0, 68.0),
    )


def sinuses(dice: Dice, head: Head, bright: Bright) -> None:
    """Venous sinuses under the inner table, 45-70 HU."""
    hu = dice.uniform(45.0, 70.0)
    radius = dice.uniform(1.5, 4.0)
    z, y, x = head.place
    sagittal = radius - (bright.falx.square() + (head.cavity - 1.0).square()).sqrt()
    bright.add(torch.minimum(sagittal, torch.maximum(z - 20.0, y - 30.0) / 4.0), hu)
    transverse = radius - (head.below_tent.square() + (head.cavity - 1.0).square()).sqrt()
    side = 1.0 if dice.chance(0.4) else dice.sign() * x / 10.0
    bright.add(torch.minimum(transverse, torch.minimum((y - 20.0) / 4.0, x * 0 + side)), hu)
    straight = radius * 0.7 - (x.square() + (head.below_tent + 1.0).square()).sqrt()
    bright.add(torch.minimum(straight, torch.minimum((y - 30.0) / 4.0, head.cavity)), hu)


def blob(dice: Dice, head: Head, target: tuple[float, float, float], radius_mm: float) -> Tensor:
    """(D, H, W) level of a small rough body at a template place."""
    centre = nearest(head, target, head.cavity)
    noise = smooth_noise(dice, head.grid, 4.0)[0] * radius_mm * 0.3
    return radius_mm - ellipsoid(dice, head.grid.points(), centre, 0.35) + noise


def calcifications(dice: Dice, head: Head, bright: Bright) -> None:
    """Choroid plexus, pineal, basal ganglia, falx and stray ones, 70-600 HU."""

    def dense() -> float:
        return dice.log_uniform(70.0, 600.0)

    if dice.chance(0.6):
        for side in (-1.0, 1.0):
            if dice.chance(0.85):
                target = (dice.uniform(0, 8), dice.uniform(20, 32), side * dice.uniform(16, 27))
                bright.add(blob(dice, head, target, dice.uniform(0.8, 4.5)), dense())
    if dice.chance(0.55):
        target = (dice.uniform(-6, 0), dice.uniform(9, 16), dice.uniform(-2, 2))
        bright.add(blob(dice, head, target, dice.uniform(0.8, 3.2)), dense())
    if dice.chance(0.15):
        for side in (-1.0, 1.0):
            target = (dice.uniform(-8, 0), dice.uniform(-16, -6), side * dice.uniform(15, 23))
            bright.add(blob(dice, head, target, dice.uniform(1.0, 5.0)), dice.log_uniform(48.0, 250.0))
    if dice.chance(0.2):
        centre = anywhere(dice, head, torch.minimum(1.5 - bright.falx.abs(), bright.falx_half + 0.2))
        plaque = dice.uniform(2.0, 7.0) - ellipsoid(dice, head.grid.points(), centre, 0.2)
        bright.add(torch.minimum(plaque, dice.uniform(0.6, 2.0) - bright.falx.abs()), dense())
    for _ in range(dice.below(3) if dice.chance(0.2) else 0):
        centre = anywhere(dice, head, head.cavity - 2.0)
        bright.add(dice.uniform(0.5, 2.0) - ellipsoid(dice, head.grid.points(), centre, 0.3), dense())


def vessels(dice: Dice, head: Head, bright: Bright) -> None:
    """Arteries at the base, a little dense; now and then a hyperdense one."""
    noise = smooth_noise(dice, head.grid, 12.0, 2)
    tube = (noise.square().sum(dim=0)).sqrt() * 6.0
    gate = torch.minimum(head.csf + 1.0, (8.0 - head.place[0] - 8.0) / 6.0)
    bright.add(torch.minimum(dice.uniform(0.5, 1.6) - tube, gate), dice.uniform(38.0, 62.0))


def bright_things(dice: Dice, head: Head) -> Bright:
    """All of them, each as often as in the clinic or more."""
    bright = sheets(dice, head)
    if dice.chance(0.85):
        sinuses(dice, head, bright)
    if dice.chance(0.8):
        vessels(dice, head, bright)
    calcifications(dice, head, bright)
    bright.level = torch.minimum(bright.level, head.cavity + 0.5)
    return bright


def old_infarcts(dice: Dice, head: Head, tissue: Tensor, csf_hu: float) -> Tensor:
    """Tissue HU with scars: a territory gone dark, lacunes."""
    for _ in range(1 + dice.below(2) if dice.chance(0.18) else 0):
        centre = anywhere(dice, head, torch.minimum(head.cavity - 4.0, 25.0 - head.cavity))
        radius = dice.uniform(8.0, 28.0)
        level = radius - ellipsoid(dice, head.grid.points(), centre, 0.3)
        level = level + smooth_noise(dice, head.grid, 10.0)[0] * radius * 0.25
        share = ramp(level, -dice.uniform(1.0, 6.0), dice.uniform(1.0, 6.0)) * dice.uniform(0.3, 1.0)
        tissue = tissue + (csf_hu + 3.0 - tissue) * share
    for _ in range(dice.below(4) if dice.chance(0.3) else 0):
        target = (dice.uniform(-8, 20), dice.uniform(-25, 10), dice.sign() * dice.uniform(8, 30))
        share = ramp(blob(dice, head, target, dice.uniform(1.5, 5.0)), -1.0, 1.0)
        tissue = tissue + (csf_hu - tissue) * share * dice.uniform(0.4, 1.0)
    return tissue
