"""A pool of synthetic heads that background processes keep renewing, and the crops that a step trains on."""

from __future__ import annotations

import os
import queue
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.multiprocessing as multiprocessing
from torch import Tensor

from ichhpinet.preprocessing import AIR_HU, BONE_HU, normalise

from ..parallel import end_with_parent
from ..phantom import generate

THICKNESS_MM = (2.0, 8.0)  # of a working slice: thinner ones are merged before the network sees them
CENTRED = 0.75  # share of crops that hold a lesion voxel
FINE = 2  # heads are scanned on pixels this much smaller than the working ones, then averaged, as a real CT is
LESION_MARGIN = 0.35  # a lesion lies within this share of the crop around its centre


class Head(NamedTuple):
    """One synthetic head on the working grid."""

    hu: np.ndarray  # (D, H, W) float16, clipped as in preprocessing
    blood: np.ndarray  # (D, H, W) float16, share of the voxel that is labelled
    spacing_mm: tuple[float, float, float]


class Batch(NamedTuple):
    """B crops: image normalised, truth the share of a voxel in [0, 1], both (B, d, h, w); spacing (B, 3)."""

    image: Tensor
    truth: Tensor
    spacing_mm: Tensor


def make_head(
    seed: int,
    pixel_mm: float = 1.0,
    *,
    thickness_mm: float | None = None,
    kinds: Sequence[str] | None = None,
    family: str = "train",
) -> Head:
    """The head of a seed on working pixels. thickness_mm: None draws one of THICKNESS_MM; kinds, family: of `generate`.

    Where blood meets bone, and where it is thin, a scan on working pixels would be labelled otherwise.
    """
    if thickness_mm is None:
        rng = np.random.default_rng((seed, 7))
        thickness_mm = float(np.exp(rng.uniform(*np.log(THICKNESS_MM))))
    phantom = generate(seed, spacing_mm=(thickness_mm, pixel_mm / FINE, pixel_mm / FINE), kinds=kinds, family=family)
    hu, blood = _averaged(np.clip(phantom.hu, AIR_HU, BONE_HU)), _averaged(phantom.mask)
    return Head(hu, blood, (thickness_mm, pixel_mm, pixel_mm))


def _averaged(fine: np.ndarray) -> np.ndarray:
    """(D, H, W) of any type -> (D, H / FINE, W / FINE) float16 means; an odd last row or column is left out."""
    depth, height, width = (fine.shape[0], *(n // FINE for n in fine.shape[1:]))
    blocks = fine[:, : height * FINE, : width * FINE].reshape(depth, height, FINE, width, FINE)
    return blocks.mean(axis=(2, 4), dtype=np.float32).astype(np.float16)


def _work(seeds: range, pixel_mm: float, out: multiprocessing.Queue[Head]) -> None:
    """A background process: one head after another, one thread."""
    end_with_parent()
    torch.set_num_threads(1)
    os.nice(5)  # the network comes first
    for seed in seeds:
        out.put(make_head(seed, pixel_mm))


class Pool:
    """`size` heads in memory; each batch first takes what the workers have finished, replacing the oldest.

    uses: crops taken of a head, on the mean, before it is replaced: workers idle rather than outrun the network.
    """

    def __init__(self, size: int, workers: int, first_seed: int, pixel_mm: float, uses: float = 0.0) -> None:
        self._heads: list[Head] = []
        self._uses = uses
        self._given = 0
        self._size = size
        self._pixel_mm = pixel_mm
        self.made = 0
        self._next_seed = first_seed
        self._workers = workers
        self._queue: multiprocessing.Queue[Head] | None = None
        self._processes: list[multiprocessing.Process] = []
        if workers:
            context = multiprocessing.get_context("spawn")
            self._queue = context.Queue(maxsize=4)
            for worker in range(workers):
                seeds = range(first_seed + worker, 1 << 40, workers)
                process = context.Process(target=_work, args=(seeds, pixel_mm, self._queue), daemon=True)
                process.start()
                self._processes.append(process)

    def close(self) -> None:
        """End the background processes."""
        for process in self._processes:
            process.terminate()
            process.join()

    def _renew(self) -> None:
        while self._queue is None and len(self._heads) < max(1, min(self._size, self.made + 1)):
            self._add(make_head(self._next_seed + self.made, self._pixel_mm))
        if self._queue is None:
            return
        while len(self._heads) < self._size or self._given >= self._uses * self.made:
            try:
                self._add(self._queue.get(timeout=600 if len(self._heads) < min(4, self._size) else 0))
            except queue.Empty:
                return

    def _add(self, head: Head) -> None:
        self._heads.append(head)
        self.made += 1
        if len(self._heads) > self._size:
            self._heads.pop(0)

    def batch(self, size: int, crop: tuple[int, int, int], rng: np.random.Generator) -> Batch:
        """`size` augmented crops of random heads."""
        self._renew()
        self._given += size
        picks = rng.integers(len(self._heads), size=size)
        crops = [_crop(self._heads[int(pick)], crop, rng) for pick in picks]
        return Batch(
            torch.stack([augment(image, rng) for image, _, _ in crops]),
            torch.stack([truth for _, truth, _ in crops]),
            torch.tensor([spacing for _, _, spacing in crops], dtype=torch.float32),
        )


def _crop(
    head: Head, crop: tuple[int, int, int], rng: np.random.Generator
) -> tuple[Tensor, Tensor, tuple[float, float, float]]:
    """A crop in HU and its truth, mirrored at random; beyond the head is air."""
    blood = np.argwhere(head.blood >= 0.5) if rng.random() < CENTRED else np.empty((0, 3), int)
    starts = []
    target = blood[rng.integers(len(blood))] if len(blood) else None
    for axis in range(3):
        room = head.hu.shape[axis] - crop[axis]
        if target is None:
            starts.append(int(rng.integers(min(0, room), max(0, room) + 1)))
            continue
        wobble = rng.uniform(-LESION_MARGIN, LESION_MARGIN) * crop[axis]
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
    if rng.random() < 0.5:
        hu, truth = hu[:, :, ::-1].copy(), truth[:, :, ::-1].copy()
    return torch.from_numpy(hu), torch.from_numpy(truth), head.spacing_mm


def augment(hu: Tensor, rng: np.random.Generator) -> Tensor:
    """Scanner differences that are cheap on a crop: offset, gain, extra noise, windowed export. Normalised."""
    hu = (hu - 35) * float(rng.uniform(0.9, 1.12)) + 35 + float(rng.normal(0, 2.5))
    if rng.random() < 0.3:
        noise = torch.from_numpy(rng.standard_normal(hu.shape, dtype=np.float32))
        hu = hu + noise * float(rng.uniform(0.5, 5.0))
    if rng.random() < 0.08:
        hu = hu.clamp(0, 80)
    return normalise(hu)
