"""What is measured on: one synthetic head at any number of slices, and the same strokes for every method."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ichhpinet_workbench import phantom, robot

HEAD_MM = 160.0  # foot to head: 32 slices of 5 mm, whatever number they are then cut into
SMALL_HEAD_SLICES = 32
PIXEL_MM = 0.49  # the usual pixel of a head CT of 512 x 512
FEWEST_LESION_SLICES = 6  # at 5 mm; so that a round can touch four of them
FIRST_SEED = 2000

Strokes = tuple[NDArray[np.int64], NDArray[np.int64]]  # flat voxel indices: foreground, background


@dataclass(frozen=True)
class Head:
    """A synthetic head CT with a haemorrhage.

    hu: (D, H, W) float32, HU. truth: (D, H, W) bool. spacing_mm: (z, y, x).
    """

    hu: NDArray[np.float32]
    truth: NDArray[np.bool_]
    spacing_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Case:
    """A head and the strokes of every round, as a file carries them between processes."""

    head: Head
    rounds: tuple[Strokes, ...]
    slices_touched: tuple[int, ...]

    def save(self, path: Path) -> None:
        """Write to an .npz; HU as int16, so that what is read back is small beside what is measured."""
        arrays = {f"round{i}_{kind}": flat for i, pair in enumerate(self.rounds) for kind, flat in enumerate(pair)}
        arrays["hu"] = np.round(self.head.hu).astype(np.int16)
        arrays["truth"] = self.head.truth
        arrays["spacing_mm"] = np.array(self.head.spacing_mm)
        arrays["touched"] = np.array(self.slices_touched)
        np.savez(path, **arrays)

    @classmethod
    def load(cls, path: Path) -> Case:
        """Read what `save` wrote."""
        with np.load(path) as file:
            head = Head(file["hu"].astype(np.float32), file["truth"], tuple(file["spacing_mm"].tolist()))
            touched = tuple(int(count) for count in file["touched"])
            rounds = tuple((file[f"round{i}_0"], file[f"round{i}_1"]) for i in range(len(touched)))
        return cls(head, rounds, touched)


def small_head(size: int, slices: int = SMALL_HEAD_SLICES) -> Head:
    """The head of the measurements: size x size pixels, `slices` slices over 160 mm, one haemorrhage in the brain."""
    spacing_mm = (HEAD_MM / slices, PIXEL_MM * 512 / size, PIXEL_MM * 512 / size)
    fewest = min(FEWEST_LESION_SLICES, slices // 4)
    for seed in range(FIRST_SEED, FIRST_SEED + 50):
        made = phantom.generate(seed, spacing_mm=spacing_mm, shape=(slices, size, size), kinds=("IPH",))
        if made.mask.any(axis=(1, 2)).sum() >= fewest:
            return Head(made.hu, made.mask, spacing_mm)
    raise RuntimeError(f"no head of 50 has a haemorrhage on {fewest} slices")


def cut_into(head: Head, slices: int) -> Head:
    """The same head in more, thinner (or fewer, thicker) slices, by linear interpolation along the head."""
    if slices == head.hu.shape[0]:
        return head
    shape = (slices, *head.hu.shape[1:])
    hu = torch.nn.functional.interpolate(torch.from_numpy(head.hu)[None, None], shape, mode="trilinear")[0, 0]
    nearest = ((np.arange(slices) + 0.5) * head.hu.shape[0] / slices).astype(int)
    spacing_mm = (head.spacing_mm[0] * head.hu.shape[0] / slices, *head.spacing_mm[1:])
    return Head(hu.numpy(), head.truth[nearest], spacing_mm)


def with_strokes(head: Head, slices_per_round: tuple[int, ...], seed: int = 0) -> Case:
    """Draw one round of strokes for each entry: a foreground and a background stroke on each of that many slices."""
    rng = np.random.default_rng(seed)
    drawn = [_round(head, count, rng) for count in slices_per_round]
    return Case(head, tuple(strokes for strokes, _ in drawn), tuple(touched for _, touched in drawn))


def _round(head: Head, slices: int, rng: np.random.Generator) -> tuple[Strokes, int]:
    """Strokes on `slices` slices where the lesion is large (or all of those), and on how many they are."""
    areas = head.truth.sum(axis=(1, 2))
    nothing = np.zeros_like(head.truth)
    foreground, background = nothing.copy(), nothing.copy()
    for index in rng.permutation(np.flatnonzero(areas * 3 >= areas.max()))[:slices]:
        only = nothing.copy()
        only[index] = head.truth[index]
        new = robot.strokes(only, nothing, head.spacing_mm, rng, beside=1.0)
        foreground, background = robot.add_strokes(foreground, background, *new)
    touched = int((foreground | background).any(axis=(1, 2)).sum())
    return (np.flatnonzero(foreground), np.flatnonzero(background)), touched
