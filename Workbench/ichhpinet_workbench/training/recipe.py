"""Recipes: everything a training run depends on, named presets, read from and written to a checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ichhpinet.errors import InputError

from ..losses import LossWeights

HEADS = ("border", "correction")  # fields of a recipe: the small heads, trained after the rest


@dataclass(frozen=True)
class HeadRecipe:
    """A small head's own training, after the rest. minutes: of learning from `play_minutes` of rounds; 0: none.

    passes: so many times both; from the second on the rounds are played with the head as the pass before left it.
    """

    passes: int = 2
    play_minutes: float = 0.0
    minutes: float = 0.0
    learning_rate: float = 1.5e-3
    weight_decay: float = 1e-4
    batch: int = 5
    seed: int = 0


@dataclass(frozen=True)
class Recipe:
    """One training run.

    minutes: how long it may run in all, resumed parts included. steps: as many optimiser steps at most; 0: no bound.
    schedule: "cosine", the learning rate falls to 0 over the run, or "constant".
    crop: (d, h, w) working voxels of a training crop. batch: crops a step.
    rounds: most rounds a crop goes through; their number is random.
    volume_first: share of the minutes in which the volume branch learns alone; it is what the others build on.
    uses: crops taken of a head before it is replaced, or more where the workers cannot keep up.
    hard: share of the synthetic heads that hold what is missed most: subdurals, blood in sulci, in ventricles.
    soup: so many points of the run's second half may enter the mean of weights that ships (Wortsman et al., ICML 2022).
    before: share of the weights that a run starts from in those that ship (Wortsman et al., CVPR 2022).
    zero_stroke_start: share of crops whose first round has no strokes.
    paper_points: share of crops prompted by the paper's 3-7 random points a class and slice.
    """

    name: str
    model: str = "compact"
    seed: int = 0
    minutes: float = 60.0
    steps: int = 0
    schedule: str = "cosine"
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    optimizer: str = "adamw"
    warm_up_steps: int = 50
    average: float = 0.99
    batch: int = 6
    crop: tuple[int, int, int] = (12, 96, 96)
    rounds: int = 5
    volume_first: float = 0.0
    zero_stroke_start: float = 0.2
    paper_points: float = 0.05
    corrupt: float = 0.3
    refuse: float = 0.1
    pool: int = 80
    uses: float = 14.0
    workers: int = 1
    hard: float = 0.0
    soup: int = 0
    before: float = 0.0
    loss: LossWeights = field(default_factory=LossWeights)
    border: HeadRecipe = field(default_factory=HeadRecipe)
    correction: HeadRecipe = field(default_factory=HeadRecipe)
    switches: dict[str, Any] = field(default_factory=dict)
    """Fields of ModelConfig that differ from the named model's: the ablations."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as a checkpoint carries them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recipe:
        """The inverse of `to_dict`."""
        heads = {name: HeadRecipe(**values.get(name, {})) for name in HEADS}
        parts = {"loss": LossWeights(**values["loss"]), **heads}
        return cls(**(values | parts | {"crop": tuple(values["crop"])}))


EPOCH_STEPS = 200
COMPACT_LOSS = LossWeights(volume=3, slice=4, convert=2, lesion=2.0, wrong=2.0)
CORRECTION = HeadRecipe(play_minutes=20.0, minutes=15.0, learning_rate=2e-3, batch=8)

RECIPES = {
    "compact": Recipe(
        name="compact",
        loss=COMPACT_LOSS,
        minutes=200.0,
        volume_first=0.2,
        soup=4,
        border=HeadRecipe(play_minutes=20.0, minutes=20.0),
        correction=CORRECTION,
    ),
    # Going on from weights (`--start`): each head is cut few times, for heads seen often are learned by heart.
    "further": Recipe(
        name="further",
        seed=1,  # or it would draw the heads again that `compact` has learned
        loss=replace(COMPACT_LOSS, heard=2.0),
        minutes=90.0,
        learning_rate=1e-3,
        warm_up_steps=30,
        uses=5.0,
        hard=0.5,
        soup=4,
        before=0.4,
        correction=CORRECTION,
    ),
    # The published recipe: 500 epochs, Adam, 1e-5, weight decay 1e-7, 3-7 random points a class on every lesion slice.
    # The paper names no size for an epoch on endless synthetic heads; here it is EPOCH_STEPS.
    "paper": Recipe(
        name="paper",
        model="paper",
        minutes=float("inf"),
        steps=500 * EPOCH_STEPS,
        schedule="constant",
        learning_rate=1e-5,
        weight_decay=1e-7,
        optimizer="adam",
        warm_up_steps=0,
        average=0.0,
        batch=1,
        crop=(16, 512, 512),
        zero_stroke_start=0.0,
        paper_points=1.0,
        corrupt=0.0,
        refuse=0.0,
    ),
    "tiny": Recipe(name="tiny", model="tiny", minutes=0.2, batch=2, crop=(6, 64, 64), rounds=2, pool=2, workers=0),
}


def named_recipe(name: str, **changes: Any) -> Recipe:
    """A preset with some fields changed. Raises: InputError for an unknown name."""
    if name not in RECIPES:
        raise InputError(f"recipe is {name!r}; it must be one of {', '.join(RECIPES)}")
    return replace(RECIPES[name], **{key: value for key, value in changes.items() if value is not None})
