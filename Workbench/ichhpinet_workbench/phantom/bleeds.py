"""Haemorrhages as level sets on the world grid: where each kind goes, how large, how dense."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .fields import Dice, smooth_noise
from .head import Head

# Quantiles of volume and mean HU by kind, read off the CC0 curves BHSD_volume_distributions.csv and
# BHSD_HU_distributions.csv (FDA insilicoICH, from the BHSD data set).
LEVELS = (0.0, 0.02, 0.05, 0.25, 0.5, 0.75, 0.95, 0.98, 1.0)
VOLUME_ML = {
    "IPH": (0.05, 0.25, 0.45, 3.24, 7.8, 16.7, 58.9, 74.9, 99.0),
    "IVH": (0.05, 0.12, 0.21, 1.1, 2.54, 4.9, 18.6, 44.7, 73.0),
    "SAH": (0.05, 0.1, 0.2, 0.34, 0.8, 1.49, 4.64, 11.0, 65.0),
    "SDH": (0.2, 0.4, 0.6, 2.56, 5.91, 11.5, 55.8, 70.1, 99.0),
    "EDH": (0.3, 0.7, 1.2, 6.1, 12.7, 21.8, 39.9, 48.2, 100.0),
}
MEAN_HU = {
    "IPH": (25.0, 29.0, 32.8, 41.5, 47.7, 53.7, 60.8, 64.1, 78.9),
    "IVH": (18.0, 22.1, 25.4, 33.5, 39.3, 45.7, 55.3, 60.1, 73.7),
    "SAH": (24.0, 27.6, 31.2, 38.4, 43.1, 48.6, 57.7, 62.2, 90.6),
    "SDH": (16.0, 19.1, 26.7, 42.9, 51.0, 58.7, 68.9, 73.3, 95.0),
    "EDH": (30.0, 33.6, 37.2, 49.1, 56.2, 62.8, 72.4, 78.3, 93.7),
}
# Thin sheets lose their edges to bone and partial volume in the label: this much more is laid down.
EDGE_LOSS = {"SDH": 1.5, "SAH": 1.25, "IVH": 1.1}
FAR = 1e4  # mm: a preference that is never chosen


@dataclass
class Bleed:
    """One haemorrhage: level mm (positive inside) and HU, both (D, H, W) on the world grid."""

    kind: str
    level: Tensor
    hu: Tensor
    volume_ml: float


def radius_for(preference: Tensor, support: Tensor, volume_ml: float, voxel_ml: float) -> float:
    """The preference value below which the support holds volume_ml (or nearly all of the support)."""
    inside = preference[support > 0]
    if inside.numel() == 0:
        return -FAR
    count = min(max(1, round(volume_ml / voxel_ml)), max(1, int(0.97 * inside.numel())))
    return float(torch.kthvalue(inside, count).values)


def nearest(head: Head, target: tuple[float, float, float], support: Tensor) -> Tensor:
    """(3,) world mm of the voxel in the support that is nearest a template place."""
    goal = torch.tensor(target, device=support.device)[:, None, None, None]
    distance = (head.place - goal).square().sum(dim=0) + (support <= 0) * 1e6
    return unravel(head, int(distance.argmin()))


def unravel(head: Head, index: int) -> Tensor:
    """(3,) world mm of a flat voxel index."""
    _, h, w = head.grid.shape
    return torch.stack([head.grid.z[index // (h * w)], head.grid.y[index // w % h], head.grid.x[index % w]])


def anywhere(dice: Dice, head: Head, support: Tensor) -> Tensor:
    """(3,) world mm of a random voxel of the support; the head's centre if there is none."""
    chosen = torch.nonzero(support.reshape(-1) > 0)
    if len(chosen) == 0:
        return torch.zeros(3, device=support.device)
    return unravel(head, int(chosen[dice.below(len(chosen)), 0]))


def ellipsoid(dice: Dice, points: Tensor, centre: Tensor, elongation: float) -> Tensor:
    """(D, H, W) mm from the centre in a random stretched metric of unit volume."""
    frame = torch.linalg.qr(dice.gaussians(3, 3).cpu())[0]
    stretch = torch.exp(torch.tensor(dice.vector(elongation, elongation, elongation)))
    stretch = stretch / stretch.prod() ** (1.0 / 3.0)
    metric = (torch.diag(stretch) @ frame).to(points.device)
    offset = (points - centre[:, None, None, None]).reshape(3, -1)
    return torch.matmul(metric, offset).square().sum(dim=0).sqrt().reshape(points.shape[1:])


def intraparenchymal(dice: Dice, head: Head, volume_ml: float) -> tuple[Tensor, Tensor]:
    """Preference and support: a deformed ellipsoid, lobar, deep, cerebellar or pontine, at times with satellites."""
    brain = torch.minimum(head.cavity - 1.0, 0.5 - head.csf)
    draw = dice.uniform(0.0, 1.0)
    if draw < 0.42:
        place = (dice.uniform(-12, 20), dice.uniform(-26, 14), dice.sign() * dice.uniform(8, 34))
        centre = nearest(head, place, brain)
    elif draw < 0.85:
        shell = torch.minimum(brain - 3.0, dice.uniform(12.0, 28.0) - head.cavity)
        centre = anywhere(dice, head, torch.minimum(shell, -head.below_tent))
    elif draw < 0.95:
        centre = anywhere(dice, head, torch.minimum(brain - 4.0, head.below_tent - 4.0))
    else:
        centre = nearest(head, (dice.uniform(-40, -20), dice.uniform(2, 14), dice.uniform(-6, 6)), brain)
    points = head.grid.points()
    radius = (volume_ml * 1000.0 * 3.0 / (4.0 * math.pi)) ** (1.0 / 3.0)
    preference = ellipsoid(dice, points, centre, dice.uniform(0.0, 0.4))
    if dice.chance(0.3):
        for _ in range(1 + dice.below(3)):
            shift = torch.tensor(dice.vector(*(radius * 1.1 + 3.0,) * 3), device=centre.device)
            other = ellipsoid(dice, points, centre + shift, 0.3) + radius * dice.uniform(0.1, 0.7)
            preference = torch.minimum(preference, other)
    rough = dice.uniform(0.05, 0.45)
    coarse, fine = max(5.0, radius * 0.9), max(3.0, radius * 0.35)
    noise = smooth_noise(dice, head.grid, coarse)[0] + 0.4 * smooth_noise(dice, head.grid, fine)[0]
    if dice.family == "validation":  # other borders than those trained on: fingers and bays
        noise = 1.6 * noise.abs() - 1.0
    return preference + noise.clamp(-1.8, 1.8) * radius * rough, brain


def intraventricular(dice: Dice, head: Head, volume_ml: float) -> tuple[Tensor, Tensor]:
    """Preference and support: fluid levels at the back of the horns, or a cast spreading from one place."""
    support = head.ventricle + 0.3
    points = head.grid.points()
    noise = smooth_noise(dice, head.grid, 9.0)[0]
    if dice.chance(0.4):
        down = points[1] + dice.uniform(-0.3, 0.3) * points[0] + dice.uniform(-0.15, 0.15) * points[2]
        one_sided = dice.chance(0.5) * dice.sign() * head.place[2].clamp(-6.0, 6.0) * 3.0
        return -down + one_sided + noise * dice.uniform(0.2, 2.0), support
    centre = anywhere(dice, head, support)
    spread = ellipsoid(dice, points, centre, 0.3)
    return spread + noise * dice.uniform(1.0, 4.0) - 1.5 * head.ventricle, support


def subarachnoid(dice: Dice, head: Head, volume_ml: float) -> tuple[Tensor, Tensor]:
    """Preference and support: sulci and cisterns about one or several places."""
    widened = head.sulcus_width + dice.uniform(0.4, 1.3) - head.sulcus.abs()
    csf = torch.maximum(torch.minimum(widened, 18.0 - head.cavity), head.csf + dice.uniform(0.0, 0.6))
    support = torch.minimum(torch.minimum(csf, -head.ventricle - 1.0), head.cavity - 0.8)
    support = torch.minimum(support, head.place[0] + 34.0)
    points = head.grid.points()
    if dice.chance(0.35):
        centre = nearest(head, (dice.uniform(-28, -12), dice.uniform(-22, 10), dice.uniform(-25, 25)), support)
    else:
        centre = anywhere(dice, head, torch.minimum(support, -head.below_tent))
    preference = ellipsoid(dice, points, centre, 0.35)
    for _ in range(dice.below(3)):
        other = ellipsoid(dice, points, anywhere(dice, head, support), 0.35)
        preference = torch.minimum(preference, other + dice.uniform(0.0, 15.0))
    return preference + smooth_noise(dice, head.grid, 8.0)[0] * dice.uniform(1.0, 5.0), support


def surface_place(dice: Dice, head: Head) -> Tensor:
    """(3,) world mm of a random place at the inner table above the skull base."""
    shell = torch.minimum(3.0 - head.cavity.abs(), head.place[0] + 12.0)
    return anywhere(dice, head, shell)


def subdural(dice: Dice, head: Head, volume_ml: float) -> tuple[Tensor, Tensor]:
    """Preference and support: a crescent along the inner table, or a sheet along falx or tentorium."""
    noise = smooth_noise(dice, head.grid, 18.0)[0]
    points = head.grid.points()
    draw = dice.uniform(0.0, 1.0)
    side = dice.sign()
    if draw < 0.72:
        centre = surface_place(dice, head)
        side = 1.0 if float(nearest_x(head, centre)) >= 0 else -1.0
        thick = min(15.0, max(2.5, dice.uniform(3.0, 9.0) * (volume_ml / 10.0) ** 0.35))
        reach = min(90.0, max(12.0, math.sqrt(2.0 * volume_ml * 1000.0 / (math.pi * thick))))
        profile = 1.0 - (ellipsoid(dice, points, centre, 0.2) / reach) ** 2 + 0.2 * noise
        gate = torch.minimum(side * head.place[2] - 1.0, head.place[0] + 24.0 + 4.0 * noise)
        support = torch.minimum(torch.minimum(head.cavity, gate), profile * 20.0)
        return head.cavity.clamp(min=0.0) / profile.clamp(min=0.03), support
    if draw < 0.9:
        sheet = side * head.place[2] - 0.4
        gate = torch.minimum(45.0 - head.cavity, head.place[0] - 8.0 + 0.6 * (head.place[1] - 20.0))
    else:
        sheet = side * 0 - head.below_tent - 0.3
        gate = torch.minimum(side * head.place[2] - 3.0, torch.minimum(head.place[1] - 5.0, 45.0 - head.cavity))
    centre = anywhere(dice, head, torch.minimum(torch.minimum(gate, head.cavity - 2.0), 2.0 - sheet.abs()))
    reach = min(60.0, max(10.0, math.sqrt(2.0 * volume_ml * 1000.0 / (math.pi * dice.uniform(2.5, 6.0)))))
    profile = 1.0 - (ellipsoid(dice, points, centre, 0.2) / reach) ** 2 + 0.2 * noise
    support = torch.minimum(torch.minimum(head.cavity, sheet), torch.minimum(profile * 20.0, gate))
    return sheet.clamp(min=0.0) / profile.clamp(min=0.03), support


def nearest_x(head: Head, centre: Tensor) -> Tensor:
    """Template x in mm at a world place."""
    index = [int((axis - value).abs().argmin()) for axis, value in zip((head.grid.z, head.grid.y, head.grid.x), centre)]
    return head.place[2, index[0], index[1], index[2]]


def extradural(dice: Dice, head: Head, volume_ml: float) -> tuple[Tensor, Tensor]:
    """Preference and support: a lens between the inner table and a ball that reaches in from outside."""
    inner = surface_place(dice, head)
    outwards = inner / inner.norm().clamp(min=1.0)
    centre = inner + outwards * dice.uniform(6.0, 30.0)
    noise = smooth_noise(dice, head.grid, 15.0)[0]
    support = torch.minimum(head.cavity, head.place[0] + 26.0)
    return ellipsoid(dice, head.grid.points(), centre, 0.12) + noise * dice.uniform(0.2, 1.0), support


MAKERS = {
    "IPH": intraparenchymal,
    "IVH": intraventricular,
    "SAH": subarachnoid,
    "SDH": subdural,
    "EDH": extradural,
}


def density(dice: Dice, head: Head, level: Tensor, mean_hu: float, brain_hu: float) -> Tensor:
    """(D, H, W) HU of the blood: mixed ages, swirls, levels, a paler rim."""
    contrast = mean_hu - brain_hu
    hu = mean_hu + contrast * dice.uniform(0.02, 0.2) * smooth_noise(dice, head.grid, dice.uniform(8.0, 16.0))[0]
    hu = hu + contrast * dice.uniform(0.0, 0.12) * smooth_noise(dice, head.grid, dice.uniform(3.0, 6.0))[0]
    if dice.chance(0.2):  # swirl sign: unclotted, darker blood inside
        swirl = (smooth_noise(dice, head.grid, dice.uniform(6.0, 14.0))[0] - 0.7).clamp(0.0, 1.0)
        hu = hu - contrast * dice.uniform(0.2, 0.6) * swirl
    if dice.chance(0.12):  # sediment: denser at the back
        y = head.grid.points()[1]
        here = y[level > 0]
        middle = float(here.median()) if here.numel() else 0.0
        hu = hu + contrast * dice.uniform(0.1, 0.35) * torch.tanh((y - middle) / 3.0)
    rim_mm = dice.uniform(0.5, 3.0)
    hu = hu - contrast * dice.uniform(0.0, 0.35) * (1.0 - (level / rim_mm).clamp(0.0, 1.0))
    return hu


@dataclass(frozen=True)
class Wish:
    """A haemorrhage to make; what is None is drawn from the curves."""

    kind: str
    volume_ml: float | None = None
    contrast_hu: float | None = None


def draw_volume(dice: Dice, kind: str) -> float:
    """A volume in ml from the curve of the kind, with a tail of small ones."""
    if dice.chance(0.1):
        return dice.log_uniform(0.05, 1.5)
    return 0.85 * dice.quantile(LEVELS, VOLUME_ML[kind])


def draw_contrast(dice: Dice, kind: str, brain_hu: float) -> float:
    """HU over brain from the curve of the kind, 5 to 48."""
    return min(max(dice.quantile(LEVELS, MEAN_HU[kind]) - brain_hu, dice.uniform(5.0, 12.0)), 48.0)


def make_bleed(dice: Dice, head: Head, wish: Wish, brain_hu: float) -> Bleed:
    """One haemorrhage, laid down where its kind goes until its volume is reached."""
    kind = wish.kind
    volume_ml = draw_volume(dice, kind) if wish.volume_ml is None else wish.volume_ml
    contrast = draw_contrast(dice, kind, brain_hu) if wish.contrast_hu is None else wish.contrast_hu
    preference, support = MAKERS[kind](dice, head, volume_ml)
    target_ml = volume_ml * EDGE_LOSS.get(kind, 1.0)
    radius = radius_for(preference, support, target_ml, head.grid.voxel_ml)
    level = torch.minimum(radius - preference, support)
    return Bleed(kind, level, density(dice, head, level, brain_hu + contrast, brain_hu), volume_ml)
