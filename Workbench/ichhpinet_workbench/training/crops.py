"""Heads on the working grid, and the crops of them that a step trains on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ichhpinet.preprocessing import AIR_HU, CENTRE_HU, SCALE_HU

from ..brain import Brain, brain_alone, brain_of
from .dyes import dyed
from .scans import GREY_HU, Scan, scanned
from .turns import TURNED, room_for, turn

CENTRED = 0.75  # share of crops that hold a lesion voxel
LESION_MARGIN = 0.35  # a lesion lies within this share of the crop around its centre


class Head(NamedTuple):
    """One head on the working grid."""

    hu: np.ndarray  # (D, H, W) float16, clipped as in preprocessing
    blood: np.ndarray  # (D, H, W) float16, share of the voxel that is labelled
    spacing_mm: tuple[float, float, float]
    brain: Brain | None = None  # of the whole head, where the network sees nothing else


class Batch(NamedTuple):
    """B crops: image normalised, truth the share of a voxel in [0, 1], both (B, d, h, w); spacing (B, 3).

    alone: the brain by itself, normalised by that of the whole head, for a network that sees it in place of the image.
    """

    image: Tensor
    truth: Tensor
    spacing_mm: Tensor
    alone: Tensor | None = None


class Crop(NamedTuple):
    """hu, truth: (d, h, w). inside: the brain, where the head's is known."""

    hu: Tensor
    truth: Tensor
    inside: Tensor | None


def with_brain(head: Head) -> Head:
    """The head, its brain found."""
    return head._replace(brain=brain_of(torch.from_numpy(head.hu.astype(np.float32))))


def batch_of(heads: Sequence[Head], crop: tuple[int, int, int], rng: np.random.Generator) -> Batch:
    """An augmented crop of each head."""
    crops = [_crop(head, crop, rng) for head in heads]
    scans = [scanned(one.hu, rng) for one in crops]
    alone = [
        _alone(image, scan, one.inside, head.brain)
        for head, one, (image, scan) in zip(heads, crops, scans, strict=True)
        if head.brain is not None and one.inside is not None
    ]
    return Batch(
        torch.stack([image for image, _ in scans]),
        torch.stack([one.truth for one in crops]),
        torch.tensor([head.spacing_mm for head in heads], dtype=torch.float32),
        torch.stack(alone) if alone else None,
    )


def _alone(image: Tensor, scan: Scan, inside: Tensor, brain: Brain) -> Tensor:
    """The brain of a crop, by the mean and spread that the whole head would have after the same scan."""
    mean = (brain.mean - GREY_HU) * scan.gain + GREY_HU + scan.offset
    spread = math.hypot(brain.spread * scan.gain, scan.noise)
    return brain_alone(image * SCALE_HU + CENTRE_HU, Brain(inside, mean, spread))


def _crop(head: Head, crop: tuple[int, int, int], rng: np.random.Generator) -> Crop:
    """In HU, mirrored, turned, stretched and warped at random, its blood dyed; beyond the head is air."""
    turned = rng.random() < TURNED
    near = tuple(LESION_MARGIN * length for length in crop)
    made = _cut(head, room_for(crop) if turned else crop, near, rng)
    if rng.random() < 0.5:
        made = [part[:, :, ::-1].copy() for part in made]
    tensors = [torch.from_numpy(part) for part in made]
    hu, truth, *inside = turn(tensors, crop, rng) if turned else tensors
    return Crop(dyed(hu, truth, rng), truth, inside[0] if inside else None)


def _cut(head: Head, crop: tuple[int, int, int], near: tuple[float, ...], rng: np.random.Generator) -> list[np.ndarray]:
    """A box of the head: HU, the share of blood, and the brain where it is known.

    near: how far, in voxels, the middle lies from some blood, for most of the boxes.
    """
    blood = np.argwhere(head.blood >= 0.5) if rng.random() < CENTRED else np.empty((0, 3), int)
    starts = []
    target = blood[rng.integers(len(blood))] if len(blood) else None
    for axis in range(3):
        room = head.hu.shape[axis] - crop[axis]
        if target is None:
            starts.append(int(rng.integers(min(0, room), max(0, room) + 1)))
            continue
        wobble = rng.uniform(-near[axis], near[axis])
        start = int(round(target[axis] + wobble - crop[axis] / 2))
        starts.append(int(np.clip(start, min(0, room), max(0, room))))
    hu = np.full(crop, AIR_HU, np.float32)
    truth = np.zeros(crop, np.float32)
    inner, outer = [], []
    for axis, start in enumerate(starts):
        low, high = max(0, start), min(head.hu.shape[axis], start + crop[axis])
        outer.append(slice(low, high))
        inner.append(slice(low - start, high - start))
    hu[tuple(inner)] = head.hu[tuple(outer)]
    truth[tuple(inner)] = head.blood[tuple(outer)]
    made = [hu, truth]
    if head.brain is not None:
        brain = np.zeros(crop, bool)
        brain[tuple(inner)] = head.brain.inside.numpy()[tuple(outer)]
        made.append(brain)
    return made
