"""A manifest's cases as training heads: brought to the working grid once, kept in a cache, cropped like others."""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ichhpinet.errors import InputError
from ichhpinet.paths import written_whole
from ichhpinet.preprocessing import AIR_HU, BONE_HU, PREPROCESSING_VERSION, working_grid

from ..bar import Bar
from ..training.crops import Batch, Head, batch_of, with_brain
from .loading import load_entry
from .manifest import Entry, Manifest

logger = logging.getLogger(__name__)

HEADS_VERSION = 2  # raised whenever a prepared head holds something else


def prepare(manifest: Manifest, entries: Sequence[Entry], config: Any, cache: Path) -> list[Path]:
    """The cache's files of these cases; those that are not there yet are made, with a bar. Resumes where it stopped.

    config: pixel_mm and min_slice_mm of the working grid. A changed image or mask is prepared again.
    """
    paths = [head_path(manifest, entry, config, cache) for entry in entries]
    waiting = [(entry, path) for entry, path in zip(entries, paths, strict=True) if not path.exists()]
    if waiting:
        with Bar("prepare") as bar:
            for number, (entry, path) in enumerate(waiting):
                _keep(path, *make_head(manifest, entry, config))
                bar((number + 1) / len(waiting), entry.case)
    return paths


def make_head(manifest: Manifest, entry: Entry, config: Any) -> tuple[Head, str]:
    """A case on the working grid, as the engine will see it, and the digest of its CT."""
    loaded = load_entry(manifest, entry)
    grid = working_grid(loaded.volume, config.pixel_mm, config.min_slice_mm)
    hu = grid.to_working(np.clip(loaded.volume.hu, AIR_HU, BONE_HU), outside=AIR_HU)
    blood = grid.to_working(loaded.truth)
    head = Head(hu.numpy().astype(np.float16), blood.numpy().astype(np.float16), grid.spacing_mm)
    return head, loaded.volume.digest()


def head_path(manifest: Manifest, entry: Entry, config: Any, cache: Path) -> Path:
    """Named by everything that changes what is in it. Raises InputError where the image or mask is not there."""
    stamps = [f"{HEADS_VERSION} {PREPROCESSING_VERSION}", f"{config.pixel_mm}", f"{config.min_slice_mm}"]
    for part in (entry.image, entry.mask):
        path = manifest.path(part)
        if not path.exists():
            raise InputError(f"{path.name} of {entry.case} does not exist; the manifest must name files that do")
        stamps.append(str(path.resolve()))
    stamps.append(manifest.stamp(entry))
    digest = hashlib.sha256("|".join(stamps).encode()).hexdigest()[:12]
    return cache / f"{entry.case}-{digest}.npz"


def load_head(path: Path) -> Head:
    """A prepared head."""
    with np.load(path) as stored:
        z, y, x = (float(step) for step in stored["spacing_mm"])
        return Head(stored["hu"], stored["blood"], (z, y, x))


def ct_digest(path: Path) -> str:
    """Of the CT that a head was prepared from, as `CTVolume.digest` gives it."""
    with np.load(path) as stored:
        return str(stored["ct"])


class HeadPool:
    """Crops of prepared heads, drawn alike often; `keep` of them stay in memory. Raises InputError: none are given.

    One that is not among them is read when it is drawn, in the training's own process: a hundredth of a second for a
    head of 5 MB, which a step does not notice. `keep` is the recipe's `pool`.
    alone: each head's brain is found, for a network that sees nothing else.
    """

    def __init__(self, paths: Sequence[Path], keep: int, alone: bool = False) -> None:
        self._alone = alone
        if not paths:
            raise InputError("there is no case to train on; the manifest's other folds must hold some")
        self._paths, self._keep = list(paths), max(1, keep)
        self._heads: OrderedDict[Path, Head] = OrderedDict()
        self.made = 0

    def batch(self, size: int, crop: tuple[int, int, int], rng: np.random.Generator) -> Batch:
        """`size` augmented crops of random heads."""
        picks = [self._paths[int(index)] for index in rng.integers(len(self._paths), size=size)]
        return batch_of([self._head(path) for path in picks], crop, rng)

    def close(self) -> None:
        """Nothing runs in the background."""

    def _head(self, path: Path) -> Head:
        if path not in self._heads:
            head = load_head(path)
            self._heads[path] = with_brain(head) if self._alone else head
            self.made += 1
            if len(self._heads) > self._keep:
                self._heads.popitem(last=False)
        self._heads.move_to_end(path)
        return self._heads[path]


class MixedPool:
    """Crops of two pools; `share` of them, on the mean, from the second."""

    def __init__(self, first: Any, second: Any, share: float) -> None:
        self._first, self._second, self._share = first, second, share

    @property
    def made(self) -> int:
        """Heads of both."""
        return int(self._first.made + self._second.made)

    def batch(self, size: int, crop: tuple[int, int, int], rng: np.random.Generator) -> Batch:
        """`size` augmented crops."""
        count = int(rng.binomial(size, self._share))
        parts = [pool.batch(n, crop, rng) for pool, n in ((self._first, size - count), (self._second, count)) if n]
        fields = zip(*parts, strict=True)
        return Batch(*(None if tensors[0] is None else torch.cat(tensors) for tensors in fields))

    def close(self) -> None:
        """End what runs in the background of either."""
        self._first.close()
        self._second.close()


def _keep(path: Path, head: Head, ct: str) -> None:
    """Beside and renamed: a stopped run leaves no half file, and two runs may share a cache."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as beside, beside.open("wb") as file:
        np.savez_compressed(file, hu=head.hu, blood=head.blood, spacing_mm=np.array(head.spacing_mm), ct=np.array(ct))
