"""A pool of synthetic heads that background processes keep renewing."""

from __future__ import annotations

import os
import queue
from collections.abc import Sequence

import numpy as np
import torch
import torch.multiprocessing as multiprocessing

from ichhpinet.preprocessing import AIR_HU, BONE_HU

from ..parallel import end_with_parent
from ..phantom import generate
from .crops import Batch, Head, batch_of, with_brain

THICKNESS_MM = (2.0, 8.0)  # of a working slice: thinner ones are merged before the network sees them
HARD = (("SDH",), ("SAH",), ("SDH", "SAH"), ("IPH", "SAH"), ("IVH",))  # what is missed most
FIRST = 16  # heads to wait for: a run that began with four would begin by learning those
LOOK_SECONDS = 5.0  # between two looks at whether those who make heads still live
FINE = 2  # heads are scanned on pixels this much smaller than the working ones, then averaged, as a real CT is


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


def kinds_of(seed: int, hard: float) -> tuple[str, ...] | None:
    """The bleeds of a training head: those of HARD in this share of the seeds, else None, and the generator draws."""
    rng = np.random.default_rng((seed, 8))
    return HARD[int(rng.integers(len(HARD)))] if rng.random() < hard else None


def _work(seeds: range, pixel_mm: float, hard: float, out: multiprocessing.Queue[Head]) -> None:
    """A background process: one head after another, one thread."""
    end_with_parent()
    torch.set_num_threads(1)
    os.nice(5)  # the network comes first
    for seed in seeds:
        out.put(make_head(seed, pixel_mm, kinds=kinds_of(seed, hard)))


class Pool:
    """`size` heads in memory; each batch first takes what the workers have finished, replacing the oldest.

    uses: crops taken of a head, on the mean, before it is replaced: workers idle rather than outrun the network.
    alone: each head's brain is found, for a network that sees nothing else. hard: share of heads with HARD bleeds.
    """

    def __init__(
        self,
        size: int,
        workers: int,
        first_seed: int,
        pixel_mm: float,
        uses: float = 0.0,
        alone: bool = False,
        hard: float = 0.0,
    ) -> None:
        self._alone = alone
        self._heads: list[Head] = []
        self._uses = uses
        self._given = 0
        self._size = size
        self._pixel_mm, self._hard = pixel_mm, hard
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
                process = context.Process(target=_work, args=(seeds, pixel_mm, hard, self._queue), daemon=True)
                process.start()
                self._processes.append(process)

    def close(self) -> None:
        """End the background processes."""
        for process in self._processes:
            process.terminate()
            process.join()

    def _renew(self) -> None:
        while self._queue is None and len(self._heads) < max(1, min(self._size, self.made + 1)):
            seed = self._next_seed + self.made
            self._add(make_head(seed, self._pixel_mm, kinds=kinds_of(seed, self._hard)))
        if self._queue is None:
            return
        while len(self._heads) < self._size or self._given >= self._uses * self.made:
            self._check_workers()  # a `get` may hang on what one of them had half sent
            try:
                self._add(self._queue.get(timeout=LOOK_SECONDS if self._waits else 0))
            except queue.Empty:
                if not self._waits:
                    return

    @property
    def _waits(self) -> bool:
        """There are too few heads to learn from."""
        return len(self._heads) < min(FIRST, self._size)

    def _check_workers(self) -> None:
        """Raises RuntimeError where one has ended: heads would be learned by heart, and nobody would know."""
        ended = [process.exitcode for process in self._processes if process.exitcode is not None]
        if ended:
            raise RuntimeError(
                f"{len(ended)} of {len(self._processes)} processes that make heads ended (exit code {ended[0]}); "
                "the training was stopped, and goes on from its last checkpoint when it is started again"
            )

    def _add(self, head: Head) -> None:
        self._heads.append(with_brain(head) if self._alone else head)
        self.made += 1
        if len(self._heads) > self._size:
            self._heads.pop(0)

    def batch(self, size: int, crop: tuple[int, int, int], rng: np.random.Generator) -> Batch:
        """`size` augmented crops of random heads."""
        self._renew()
        self._given += size
        picks = rng.integers(len(self._heads), size=size)
        return batch_of([self._heads[int(pick)] for pick in picks], crop, rng)
