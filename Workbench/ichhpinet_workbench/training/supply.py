"""What a run learns from and is chosen by: synthetic heads, a manifest's, or both. The manifest's side is lazy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .crops import Batch
from .networks import BRAIN_ALONE
from .pool import Pool
from .recipe import Recipe
from .selection import Selection

SYNTHETIC = "synthetic head CT alone (ichhpinet_workbench.phantom); no patient's image"
MOST_SELECTION_CASES = 12  # played every few minutes: more would cost more than they tell


class Crops(Protocol):
    """What gives batches. made: how many heads so far."""

    made: int

    def batch(self, size: int, crop: tuple[int, int, int], rng: np.random.Generator) -> Batch:
        """`size` augmented crops."""

    def close(self) -> None:
        """End what runs in the background."""


class Supply(Protocol):
    """Data of a run. about: for the training record. identity: changes with the cases that are learned from.

    chosen_by: what `selection` gives, in words.
    """

    about: str
    identity: str
    chosen_by: str

    def crops(self, recipe: Recipe, config: Any, first_seed: int) -> Crops:
        """Where batches come from; first_seed: of synthetic heads, apart for each process and part of a run."""

    def selection(self, config: Any) -> Selection:
        """Cases by which the best weights are chosen."""

    def digests(self, config: Any) -> frozenset[str]:
        """Of the CTs that are learned from or chosen by, as `CTVolume.digest` gives them; none of synthetic heads."""


@dataclass(frozen=True)
class SyntheticSupply:
    """Heads of the generator, without end."""

    about: str = SYNTHETIC
    identity: str = "synthetic"
    chosen_by: str = "selection heads (synthetic)"

    def crops(self, recipe: Recipe, config: Any, first_seed: int) -> Crops:
        """A pool that background processes renew."""
        alone = recipe.model in BRAIN_ALONE
        return Pool(recipe.pool, recipe.workers, first_seed, config.pixel_mm, recipe.uses, alone, recipe.hard)

    def selection(self, config: Any) -> Selection:
        """Heads of the validation family."""
        return Selection.of(config)

    def digests(self, config: Any) -> frozenset[str]:
        """None."""
        return frozenset()


@dataclass(frozen=True)
class ManifestSupply:
    """A fold of a manifest; a share of the crops may be synthetic. cache: folder of the prepared heads."""

    manifest: Any  # datasets.Manifest
    fold: int
    cache: Path
    synthetic_share: float = 0.0
    chosen_by: str = "training patients set aside to choose by"

    @property
    def about(self) -> str:
        """Which sets, which fold."""
        sets = ", ".join(sorted({entry.dataset for entry in self.manifest.used}))
        mixed = f"; {self.synthetic_share:.0%} of the crops from synthetic heads" if self.synthetic_share else ""
        return f"{sets}, all folds but {self.fold} of {len(self.manifest.folds)}{mixed}"

    @property
    def identity(self) -> str:
        """A digest of the training folds' cases."""
        from ..datasets.folds import learned_from

        return learned_from(self.manifest, self.fold)

    def crops(self, recipe: Recipe, config: Any, first_seed: int) -> Crops:
        """The prepared heads of the training patients, mixed with synthetic ones where they have a share."""
        from ..datasets.heads import HeadPool, MixedPool

        alone = recipe.model in BRAIN_ALONE
        own = HeadPool(self._prepared(config)[0], recipe.pool, alone)
        if not self.synthetic_share:
            return own
        return MixedPool(own, SyntheticSupply().crops(recipe, config, first_seed), self.synthetic_share)

    def selection(self, config: Any) -> Selection:
        """Patients of the training folds who are not trained on."""
        from ..datasets.heads import load_head

        return Selection.of_heads([load_head(path) for path in self._prepared(config)[1]])

    def digests(self, config: Any) -> frozenset[str]:
        """Read from the prepared heads."""
        from ..datasets.heads import ct_digest

        return frozenset(ct_digest(path) for paths in self._prepared(config) for path in paths)

    def _prepared(self, config: Any) -> tuple[list[Path], list[Path]]:
        """The cache's files of the heads to train on, and of those to choose by; made where they are not there yet."""
        from ..datasets.folds import set_aside
        from ..datasets.heads import prepare

        train, chosen = set_aside(self.manifest.training(self.fold), self.manifest.seed)
        paths = prepare(self.manifest, [*train, *chosen[:MOST_SELECTION_CASES]], config, self.cache)
        return paths[: len(train)], paths[len(train) :]
