"""The simulated radiologist in training: strokes for a batch of crops, and the mistakes that make strokes matter."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ichhpinet.networks import Memory, RoundInputs

from ..regions import components, under
from ..robot import add_strokes, paper_points, strokes
from .crops import Batch
from .recipe import Recipe

ERASE_MM = (8.0, 30.0)  # radius of the ball in which a corrupted previous mask forgets what it knew
SEVERAL = 0.25  # share of rounds in which the radiologist paints on more than one slice
OTHER_PLANE = 0.1  # share of strokes drawn in a coronal or sagittal view
CONFIRM = 0.2  # share of strokes drawn without looking at the mask: blood already found must not swell under them


class Partner:
    """One training sample's radiologist: B crops, their truth, their strokes so far, their memory."""

    def __init__(self, batch: Batch, recipe: Recipe, rng: np.random.Generator) -> None:
        self.image, self.spacing_mm = batch.image, batch.spacing_mm
        self._shown = batch.image if batch.alone is None else batch.alone  # to the network; the radiologist sees all
        self.truth = batch.truth.clone()
        self._recipe, self._rng = recipe, rng
        self.painted = torch.zeros(len(self.image), 2, *self.image.shape[1:], dtype=torch.bool)
        self.previous = torch.zeros_like(self.image)
        self.memory = Memory.empty(self.image)
        self.pointed = torch.zeros_like(self.painted[:, 0])  # the wrong components in which the newest strokes lie
        self.points = torch.from_numpy(rng.random(len(self.image)) < recipe.paper_points)

    def inputs(self, first: bool) -> RoundInputs:
        """The next round's strokes on top of those so far. `first`: some crops get none (zero-stroke start)."""
        touched = torch.zeros(self.image.shape[:2], dtype=torch.bool)
        self.pointed = torch.zeros_like(self.pointed)
        for sample in range(len(self.image)):
            if first and self._rng.random() < self._recipe.zero_stroke_start:
                continue
            if not first:
                self._refuse(sample)
                self._corrupt(sample)
            touched[sample] = self._paint(sample)
        return RoundInputs(self._shown, self.previous, self.painted.clone(), touched, self.spacing_mm)

    def commit(self, logits: Tensor, memory: Memory) -> None:
        """The round's result becomes the next round's start, strokes included."""
        probability = torch.sigmoid(logits.detach().float())
        probability = torch.where(self.painted[:, 0], 1.0, torch.where(self.painted[:, 1], 0.0, probability))
        self.previous, self.memory = probability, Memory(memory.corrected, memory.masks.detach())

    def _paint(self, sample: int) -> Tensor:
        """Draw strokes on one crop; returns which slices they touch, (d,) bool."""
        z, y, x = self.spacing_mm[sample].tolist()
        truth = self.truth[sample].numpy() >= 0.5
        touched = torch.zeros(self.image.shape[1], dtype=torch.bool)
        for _ in range(int(self._rng.integers(2, 5)) if self._rng.random() < SEVERAL else 1):
            before = self.painted[sample].numpy()
            mask = ((self.previous[sample].numpy() >= 0.5) | before[0]) & ~before[1]
            errors = truth & ~mask, mask & ~truth
            if self._rng.random() < CONFIRM:
                mask = np.zeros_like(mask)
            if self.points[sample]:
                new = paper_points(truth, self._rng, brain=self._brain(sample))
            else:
                axis = int(self._rng.integers(1, 3)) if self._rng.random() < OTHER_PLANE else 0
                new = strokes(
                    truth, mask, (z, y, x), self._rng, hand="any", axis=axis, beside=0.5, brain=self._brain(sample)
                )
            for stroke, wrong in zip(new, errors, strict=True):
                self.pointed[sample] |= torch.from_numpy(under(stroke, wrong))
            joined = add_strokes(before[0], before[1], *new)
            self.painted[sample] = torch.from_numpy(np.stack(joined))
            touched |= torch.from_numpy((new[0] | new[1]).any(axis=(1, 2)))
        return touched

    def _brain(self, sample: int) -> np.ndarray:
        """Where the image is neither bone nor air: normalised HU between 0 and about 60."""
        image = self.image[sample].numpy()
        return (image > -1.0) & (image < 0.6)

    def _corrupt(self, sample: int) -> None:
        """Now and then the round before was wrong in a way of its own: something forgotten, something made up."""
        if self._rng.random() >= self._recipe.corrupt:
            return
        blood = torch.nonzero(self.truth[sample] >= 0.5)
        if len(blood) and self._rng.random() < 0.6:
            centre = blood[int(self._rng.integers(len(blood)))]
            ball = self._ball(sample, centre, float(self._rng.uniform(*ERASE_MM)))
            self.previous[sample] = torch.where(ball, 0.02, self.previous[sample])
            return
        if self._rng.random() < 0.5:
            self._see_too_much(sample)
            return
        shift = [int(s) for s in self._rng.integers((-3, -30, -30), (4, 31, 31))]
        source = self.truth[int(self._rng.integers(len(self.truth)))].roll(shift, (0, 1, 2))
        brain = torch.from_numpy(self._brain(sample))
        self.previous[sample] = torch.where((source >= 0.5) & brain, 0.95, self.previous[sample])

    def _see_too_much(self, sample: int) -> None:
        """What is brightest in the brain of some region is taken for blood: a rim under the skull, a sinus, cortex."""
        brain = torch.from_numpy(self._brain(sample))
        centre = torch.tensor([int(self._rng.integers(n)) for n in self.image.shape[1:]])
        region = brain & self._ball(sample, centre, float(self._rng.uniform(15.0, 60.0)))
        if int(region.sum()) < 100:
            return
        quiet = F.avg_pool2d(self.image[sample][None], 3, 1, 1)[0]
        bright = region & (quiet > quiet[region].quantile(float(self._rng.uniform(0.7, 0.95))))
        self.previous[sample] = torch.where(bright & (self.truth[sample] < 0.5), 0.9, self.previous[sample])

    def _ball(self, sample: int, centre: Tensor, radius_mm: float) -> Tensor:
        axes = torch.meshgrid(*(torch.arange(n) for n in self.image.shape[1:]), indexing="ij")
        offsets = [(axis - c) * s for axis, c, s in zip(axes, centre, self.spacing_mm[sample])]
        return sum((offset**2 for offset in offsets), torch.zeros(())) < radius_mm**2

    def _refuse(self, sample: int) -> None:
        """Now and then the radiologist does not want one of several islands: it leaves the truth."""
        if self._rng.random() >= self._recipe.refuse:
            return
        islands, sizes = components(self.truth[sample].numpy() >= 0.5)
        if len(sizes) < 2:
            return
        island = torch.from_numpy(islands == int(self._rng.integers(1, len(sizes) + 1)))
        if not (island & self.painted[sample, 0]).any():
            self.truth[sample] = torch.where(island, 0.0, self.truth[sample])
