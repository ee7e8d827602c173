"""insert(): a synthetic haemorrhage put into a given head CT, whose own noise and anatomy stay."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from .bleeds import Bleed, Wish, make_bleed
from .fields import Dice, occupancy
from .find import Found, find_head
from .generate import BONE_HU, FAT_HU, draw_kinds, label_map, oedema
from .morphology import gaussian, masked_mean
from .phantom import KINDS, Phantom

POINT_SPREAD_MM = 0.55  # sigma of the blur that the inserted blood gets, as the scanner would give it
LOCAL_MEAN_MM = 2.0  # sigma of the local mean: what differs from it is the CT's own noise and is kept


def shares(bleed: Bleed, cavity: Tensor, planes: int, size: tuple[int, int], pixel_mm: float) -> tuple[Tensor, Tensor]:
    """Occupancy and HU (D, H, W) of one haemorrhage on the CT's grid, averaged over the slice's thickness."""
    share, density = [], []
    stack = torch.stack([bleed.level, bleed.hu, cavity])
    for start in range(0, stack.shape[1], planes):
        part = stack[:, start : start + planes].transpose(0, 1)
        level, hu, inner = functional.interpolate(part, size=size, mode="bilinear", align_corners=False).unbind(1)
        share.append((occupancy(level, pixel_mm) * occupancy(inner - 0.5 * pixel_mm, pixel_mm)).mean(dim=0))
        density.append(hu.mean(dim=0))
    return torch.stack(share), torch.stack(density)


def upsampled(field: Tensor, planes: int, size: tuple[int, int]) -> Tensor:
    """(D * planes, h, w) -> (D, H, W)."""
    field = field.reshape(-1, planes, *field.shape[1:]).mean(dim=1)
    return functional.interpolate(field[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def wishes(dice: Dice, kinds: Sequence[str] | None, contrast_hu: float | None, volume_ml: float | None) -> list[Wish]:
    """What to insert: at least one haemorrhage; a given volume is shared between the kinds."""
    chosen = list(kinds) if kinds is not None else draw_kinds(dice)
    chosen = chosen or ["IPH"]
    each = None if volume_ml is None else volume_ml / len(chosen)
    return [Wish(kind, each, contrast_hu) for kind in chosen]


def check(hu: npt.NDArray[np.float32], spacing_mm: Sequence[float], kinds: Sequence[str] | None) -> None:
    """Raises ValueError where the input is not a volume, a spacing and kinds."""
    if hu.ndim != 3 or min(hu.shape) < 2:
        raise ValueError(f"hu is {hu.shape}; it must be (D, H, W) with at least 2 of each")
    if len(spacing_mm) != 3 or not all(math.isfinite(mm) and mm > 0 for mm in spacing_mm):
        raise ValueError(f"spacing_mm is {tuple(spacing_mm)}; it must be three lengths above 0")
    if kinds is not None and not set(kinds) <= set(KINDS):
        raise ValueError(f"kinds is {tuple(kinds)}; it must be some of {KINDS}")


def insert(
    hu: npt.NDArray[np.float32],
    spacing_mm: Sequence[float],
    seed: int,
    *,
    kinds: Sequence[str] | None = None,
    contrast_hu: float | None = None,
    volume_ml: float | None = None,
) -> Phantom:
    """A haemorrhage in a given head CT: (D, H, W) HU, slices upwards, rows from the front to the back.

    kinds: of KINDS, None draws at least one. contrast_hu: mean over brain. volume_ml: of all of them together.
    Raises ValueError for what is not a head CT.
    """
    check(hu, spacing_mm, kinds)
    dice = Dice(seed, "insert", torch.device("cpu"))
    spacing = (float(spacing_mm[0]), float(spacing_mm[1]), float(spacing_mm[2]))
    ct = torch.from_numpy(np.array(hu, dtype=np.float32))
    with torch.no_grad():
        found = find_head(ct, spacing)
        bleeds = [
            make_bleed(dice, found.head, wish, found.brain_hu) for wish in wishes(dice, kinds, contrast_hu, volume_ml)
        ]
        image, blood = lay_in(dice, ct, spacing, found, bleeds)
        labels = label_map(blood, bleeds) * ((image < BONE_HU) & (image > FAT_HU))
    info = {
        "seed": seed,
        "kinds": tuple(bleed.kind for bleed in bleeds),
        "wanted_ml": tuple(bleed.volume_ml for bleed in bleeds),
        "brain_hu": found.brain_hu,
    }
    return Phantom(image.numpy(), labels.numpy(), spacing, info)


def lay_in(
    dice: Dice, ct: Tensor, spacing: tuple[float, float, float], found: Found, bleeds: list[Bleed]
) -> tuple[Tensor, Tensor]:
    """The CT with blood and oedema, and the occupancy (K, D, H, W) of each haemorrhage."""
    size = (ct.shape[1], ct.shape[2])
    pixel = spacing[2]
    quiet = ct.clamp(-20.0, 100.0)
    inside = upsampled(found.head.cavity, found.planes, size) > 0
    local = torch.lerp(quiet, masked_mean(quiet, inside, LOCAL_MEAN_MM / pixel), inside.float())
    image, blood = ct.clone(), []
    for bleed in bleeds:
        share, density = shares(bleed, found.head.cavity, found.planes, size, pixel)
        blood.append(share)
        soft = gaussian(share, POINT_SPREAD_MM / pixel)
        halo = oedema(dice, bleed)
        if isinstance(halo, Tensor):
            dark = upsampled(halo, found.planes, size) * ((local > 18.0) & inside)
            image = image - dark * (1.0 - soft)
        image = image + soft * (density - local)
        local = local + soft * (density - local)
    return image, torch.stack(blood)
