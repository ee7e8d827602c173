"""generate(): a synthetic head CT with haemorrhage from a seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .bleeds import Bleed, Wish, make_bleed
from .fields import Dice, Grid, ramp
from .head import Shape, make_head
from .mimics import bright_things, old_infarcts
from .phantom import KINDS, Phantom
from .pressure import press
from .scanner import Optics, draw_noise_sigma, finish, noise_gain, scan, streaks, thick_slabs, veil
from .tissue import bone_density, brain_tissue, compose, draw_palette, layers, soft_tissue

BONE_HU = 110.0  # a reader takes what is brighter for bone, not for blood
FAT_HU = -15.0  # and what is darker for fat or air
WORLD_PIXEL_MM = 1.8  # smooth fields are made at this pixel size and drawn at the scanner's


@dataclass(frozen=True)
class Family:
    """The ranges a stream of heads is drawn from."""

    shape: Shape
    optics: Optics


FAMILIES = {
    "train": Family(Shape(), Optics()),
    "validation": Family(
        Shape(
            scale=0.06,
            rotation_deg=(8.0, 6.0, 7.0),
            shear=0.04,
            waves=((90.0, 6.0), (45.0, 3.0), (22.0, 1.2)),
            folds_mm=(4.5, 8.0),
        ),
        Optics((0.2, 0.6), (0.0, 0.8), (2.0, 8.0), (0.5, 1.3), (0.28, 0.7), veil_chance=0.0, overlap_chance=0.0),
    ),
}


def draw_grid(
    dice: Dice, spacing_mm: Sequence[float] | None, shape: Sequence[int] | None
) -> tuple[tuple[float, float, float], tuple[int, int, int]]:
    """Spacing and shape of the scan: what was asked for, else a scanner's."""
    scanner_like = spacing_mm is None
    if spacing_mm is None:
        pixel = dice.uniform(0.38, 0.6) if dice.chance(0.8) else dice.uniform(0.35, 1.0)
        thickness = dice.uniform(2.5, 7.0) if dice.chance(0.8) else dice.log_uniform(0.6, 10.0)
        spacing_mm = (thickness, pixel, pixel)
    thickness, row, column = (float(value) for value in spacing_mm)
    if shape is not None:
        return (thickness, row, column), (int(shape[0]), int(shape[1]), int(shape[2]))
    cover = dice.uniform(120.0, 170.0) if dice.chance(0.85) else dice.uniform(50.0, 120.0)
    depth = max(3, round(cover / thickness))
    if scanner_like and dice.chance(0.6):
        return (thickness, row, column), (depth, 512, 512)
    height, width = dice.uniform(190.0, 215.0), dice.uniform(165.0, 195.0)
    return (thickness, row, column), (depth, round(height / row), round(width / column))


def world_grid(
    dice: Dice, spacing: tuple[float, float, float], shape: tuple[int, int, int], device: torch.device
) -> tuple[Grid, int]:
    """The grid of the smooth fields, several planes to a slice, and how many."""
    thickness, row, column = spacing
    planes = min(4, max(1, math.ceil(thickness / 2.6)))
    depth, height, width = shape
    rows, columns = (max(8, round(n * mm / max(mm, WORLD_PIXEL_MM))) for n, mm in ((height, row), (width, column)))
    cover = depth * thickness
    middle = dice.uniform(-8.0, 8.0) + (dice.uniform(-0.5, 0.5) * (150.0 - cover) if cover < 150.0 else 0.0)

    def axis(count: int, step: float, centre: float) -> Tensor:
        return (torch.arange(count, dtype=torch.float32, device=device) - (count - 1) / 2.0) * step + centre

    step = (thickness / planes, height * row / rows, width * column / columns)
    shift_y, shift_x = dice.uniform(-6.0, 6.0), dice.uniform(-4.0, 4.0)
    z, y, x = axis(depth * planes, step[0], middle), axis(rows, step[1], shift_y), axis(columns, step[2], shift_x)
    return Grid(z, y, x, step), planes


def draw_kinds(dice: Dice) -> list[str]:
    """The haemorrhages of a head; none in about one of six."""
    if dice.chance(0.17):
        return []
    draw = dice.uniform(0.0, 1.0)
    first = "IPH" if draw < 0.48 else "SDH" if draw < 0.68 else "SAH" if draw < 0.82 else "IVH" if draw < 0.9 else "EDH"
    kinds = [first]
    if first == "IPH" and dice.chance(0.2):
        kinds += ["IPH"] * (1 + dice.below(3))
    for other, chance in (("IVH", 0.22), ("SAH", 0.18), ("SDH", 0.1), ("IPH", 0.08)):
        if other != first and dice.chance(chance):
            kinds.append(other)
    return kinds


def oedema(dice: Dice, bleed: Bleed) -> Tensor | float:
    """(D, H, W) HU that the tissue about a haemorrhage in the brain's substance is darker by; often nothing."""
    if bleed.kind != "IPH" or not dice.chance(0.75):
        return 0.0
    reach_mm = dice.uniform(2.0, 11.0)
    return dice.uniform(3.0, 12.0) * ramp(bleed.level, -reach_mm, -reach_mm * 0.2)


def add_oedema(dice: Dice, tissue: Tensor, bleeds: list[Bleed]) -> Tensor:
    """Tissue HU with a dark halo about each haemorrhage in the brain's substance."""
    for bleed in bleeds:
        tissue = tissue - oedema(dice, bleed)
    return tissue


def render(
    fields: Tensor,
    planes: int,
    spacing: tuple[float, float, float],
    shape: tuple[int, int, int],
    csf: float,
    sheet: float,
) -> tuple[Tensor, Tensor]:
    """HU (D, H, W) and blood occupancy (K, D, H, W): planes drawn finely and averaged over the slice's thickness."""
    size = (shape[1], shape[2])
    step = max(1, 6_000_000 // (size[0] * size[1] * planes))
    images, bloods = [], []
    for start in range(0, shape[0], step):
        part = fields[:, start * planes : (start + step) * planes]
        hu, blood = compose(part, size, max(spacing[1], 0.6), csf, sheet)
        images.append(hu.reshape(-1, planes, *size).mean(dim=1))
        bloods.append(blood.reshape(blood.shape[0], hu.shape[0] // planes, planes, *size).mean(dim=2))
    return torch.cat(images), torch.cat(bloods, dim=1)


def label_map(blood: Tensor, bleeds: list[Bleed]) -> Tensor:
    """(D, H, W) uint8: the kind with the largest share where blood fills half a voxel or more."""
    if not bleeds:
        return torch.zeros(blood.shape[1:], dtype=torch.uint8, device=blood.device)
    total = 1.0 - (1.0 - blood).prod(dim=0)
    codes = torch.tensor([KINDS.index(bleed.kind) + 1 for bleed in bleeds], dtype=torch.uint8, device=blood.device)
    return codes[blood.argmax(dim=0)] * (total >= 0.5)


def generate(
    seed: int,
    *,
    spacing_mm: Sequence[float] | None = None,
    shape: Sequence[int] | None = None,
    kinds: Sequence[str] | None = None,
    family: str = "train",
    device: str | torch.device = "cpu",
) -> Phantom:
    """A synthetic head CT: the same seed gives the same volume on the same device.

    seed: any non-negative integer. spacing_mm: (z, y, x), None draws a scanner's. shape: (D, H, W), None covers the
    head. kinds: of KINDS, () for no blood, None draws. family: "train" or "validation", streams that never meet.
    Raises ValueError for an unknown family or kind.
    """
    if family not in FAMILIES:
        raise ValueError(f"family is {family!r}; it must be one of {sorted(FAMILIES)}")
    if kinds is not None and not set(kinds) <= set(KINDS):
        raise ValueError(f"kinds is {tuple(kinds)}; it must be some of {KINDS}")
    ranges = FAMILIES[family]
    dice = Dice(seed, family, torch.device(device))
    with torch.no_grad():
        spacing, size = draw_grid(dice, spacing_mm, shape)
        grid, planes = world_grid(dice, spacing, size, dice.device)
        head = make_head(dice, grid, ranges.shape)
        palette = draw_palette(dice)
        tissue = old_infarcts(dice, head, brain_tissue(dice, head, palette), palette.csf)
        bright = bright_things(dice, head)
        wanted = draw_kinds(dice) if kinds is None else list(kinds)
        bleeds = [make_bleed(dice, head, Wish(kind), (palette.grey + palette.white) / 2.0) for kind in wanted]
        tissue = add_oedema(dice, tissue, bleeds)
        soft, bone = soft_tissue(dice, head, palette), bone_density(dice, head, palette)
        fields = press(dice, layers(head, tissue, soft, bone, bright, bleeds), grid, bleeds)
        hu, blood = render(fields, planes, spacing, size, palette.csf, bright.sheet_hu)
        beam = Dice(seed, f"{family} beam", dice.device)  # a stream of its own: one more effect changes no other draw
        hu, blood = thick_slabs(beam, ranges.optics, hu, blood)
        hu = veil(beam, ranges.optics, hu, spacing)
        base = ramp(head.place[0], -15.0, -35.0)
        smooth = torch.stack([noise_gain(dice, grid, base), streaks(dice, grid, head.place)])
        smooth = smooth.reshape(2, size[0], planes, *smooth.shape[2:]).mean(dim=2)
        gain, lines = functional.interpolate(smooth, size=size[1:], mode="bilinear", align_corners=False)
        sigma = draw_noise_sigma(dice, ranges.optics, spacing[0])
        clean, hu = scan(dice, hu + lines * (hu > -300), spacing[1:], sigma, ranges.optics, gain)
        hu = finish(dice, hu, spacing[1:], padding=spacing_mm is None)
        labels = label_map(blood, bleeds) * ((clean < BONE_HU) & (clean > FAT_HU))
    info = {
        "seed": seed,
        "family": family,
        "kinds": tuple(wanted),
        "wanted_ml": tuple(bleed.volume_ml for bleed in bleeds),
        "noise_hu": sigma,
        "grey_hu": palette.grey,
        "white_hu": palette.white,
    }
    return Phantom(hu.cpu().numpy(), labels.cpu().numpy(), spacing, info)
