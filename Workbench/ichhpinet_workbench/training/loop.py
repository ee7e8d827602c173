"""The training loop: rounds with the simulated radiologist, averaged weights, validation on other anatomy, resume."""

from __future__ import annotations

import copy
import dataclasses
import logging
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ichhpinet.checkpoint import channels_last

from ..losses import round_loss
from .checkpoints import load_state, save_state
from .engine import Engine
from .export import save_snapshot
from .networks import make_network
from .partner import Partner
from .recipe import Recipe
from .selection import Selection
from .start import Start, learned
from .supply import Crops, Supply, SyntheticSupply
from .tables import append_row, cut_rows

logger = logging.getLogger(__name__)

CLIP_NORM = 3.0
LOGGED = ("loss", "vsl", "ssl", "fcl", "dice")  # a term that is not trained yet is nan: columns must not move
LOG_EVERY = 20  # steps averaged in a row of log.csv
SEEDS_APART = 1_000_000  # a resumed run draws heads that no earlier part has seen
RANKS_APART = 10_000  # and no process draws another's
SAVE_SECONDS = 120.0  # a killed run loses no more than this


class Trainer:
    """One run in one folder; `run` goes on from the folder's last checkpoint."""

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        device: str = "cpu",
        *,
        validate_minutes: float = 10.0,
        supply: Supply | None = None,
        start: Start | None = None,
        engine: Engine | None = None,
        snapshots: int = 0,
    ) -> None:
        """supply: data, None for synthetic heads. start: weights of a new run, None for fresh ones.

        engine: where it runs, None for `device` alone.
        snapshots: how many times over the run the averaged weights are kept aside, for a look at how they became;
        0: as many as the recipe's soup is made from.
        """
        self.recipe, self.folder = recipe, folder
        self.engine = Engine(device) if engine is None else engine
        self.supply: Supply = SyntheticSupply() if supply is None else supply
        self.device = self.engine.device
        torch.manual_seed(recipe.seed)
        self.network = make_network(recipe)
        self._start = start
        if start is not None:
            self.network.load_state_dict(start.weights)
        channels_last(self.network)  # a step costs a tenth less on a CPU
        self.network.to(self.device)
        self.config: Any = self.network.config
        self._snapshots = snapshots or 2 * recipe.soup
        self.averaged = copy.deepcopy(self.network).eval()
        kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[recipe.optimizer]
        self.optimizer = kind(self.network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        self.step = 0
        self.seconds = 0.0
        self.parts = 0
        self.cts = frozenset() if start is None else start.cts
        self.best: dict[str, Any] = {"score": -1.0}
        self._validate_every = validate_minutes * 60
        self._selection: Selection | None = None
        self._restore()
        self._round_step = self.engine.wrapped(self.network)

    def _restore(self) -> None:
        state = load_state(self.folder)
        if self.engine.is_first:
            for name in ("log.csv", "validation.csv"):
                cut_rows(self.folder / name, 0 if state is None else state["step"])
        if state is None:
            return
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds, self.parts, self.best = (state[k] for k in ("step", "seconds", "parts", "best"))
        self.cts |= set(state.get("cts", ()))
        before = Recipe.from_dict(state["recipe"])
        if (before.minutes, before.steps) != (self.recipe.minutes, self.recipe.steps):
            self._drop_later_snapshots()
        logger.info("resumed at step %d, %.1f minutes", self.step, self.seconds / 60)

    def _drop_later_snapshots(self) -> None:
        """A run that is prolonged has come less far than it had: its later shares are kept anew."""
        if not self.engine.is_first or not self._snapshots:
            return
        for path in (self.folder / "snapshots").glob("*.pt"):
            if _share_of(path) > int(self._done() * self._snapshots):
                path.unlink()

    def save(self) -> None:
        """Write the whole state, so that a killed run loses at most the minutes since the last one."""
        if not self.engine.is_first:
            return
        plain = {"step": self.step, "seconds": self.seconds, "parts": self.parts, "best": self.best}
        modules = {"network": self.network, "averaged": self.averaged, "optimizer": self.optimizer}
        state = {name: module.state_dict() for name, module in modules.items()}
        about = {"recipe": self.recipe.to_dict(), "model": self.config.to_dict(), "data": self.supply.about}
        about |= {"learned_from": learned(self.supply, self._start), "cts": sorted(self.cts)}
        if self._start is not None:
            about["started_from"] = self._start.digest
            about["data"] += f"; started from weights trained on: {self._start.data}"
        save_state(self.folder, state | plain | about)

    def run(self, steps: int | None = None) -> None:
        """Train until the recipe's minutes, or `steps` more steps, are over."""
        self.parts += 1
        rank = self.engine.rank
        rng = np.random.default_rng((self.recipe.seed, self.parts, rank) if rank else (self.recipe.seed, self.parts))
        first_seed = self.recipe.seed * 100 * SEEDS_APART + self.parts * SEEDS_APART + rank * RANKS_APART
        if not self.engine.is_first:  # the first process prepares what is not in the cache yet
            self.engine.wait()
        pool = self.supply.crops(self.recipe, self.config, first_seed)
        if self.engine.is_first:
            self.cts |= self.supply.digests(self.config)
            self.engine.wait()
        last = self.step + steps if steps is not None else None
        try:
            self._loop(pool, rng, last)
        except KeyboardInterrupt:  # Ctrl+C
            self.save()
            raise
        finally:
            pool.close()
        self.validate()
        self.save()

    def _loop(self, pool: Crops, rng: np.random.Generator, last: int | None) -> None:
        selection_at = saved_at = self.seconds
        rows: list[dict[str, float]] = []
        while self._done() < 1 and (last is None or self.step < last):
            began = time.monotonic()
            rows += self._train_crops(pool, rng, last)
            self.seconds = self.engine.agreed(self.seconds + time.monotonic() - began)
            self._snapshot()
            if len(rows) >= LOG_EVERY:
                self._log(rows, pool.made)
                rows = []
            if self.seconds - selection_at >= self._validate_every:
                self.validate()
                selection_at = self.seconds
            if self.seconds - saved_at >= SAVE_SECONDS:
                self.save()
                saved_at = self.seconds
        if rows:
            self._log(rows, pool.made)

    @property
    def done(self) -> bool:
        """The recipe's minutes or steps are behind."""
        return self._done() >= 1

    def _done(self) -> float:
        """The share of the run that is behind, in time or in steps; 1 or more at its end."""
        by_steps = self.step / self.recipe.steps if self.recipe.steps else 0.0
        return max(self.seconds / (self.recipe.minutes * 60), by_steps)

    def _train_crops(self, pool: Crops, rng: np.random.Generator, last: int | None) -> list[dict[str, float]]:
        """One batch of crops through a random number of rounds, one optimiser step a round."""
        if self.recipe.volume_first:
            alone = self._done() < self.recipe.volume_first
            shape = dataclasses.replace(self.config, volume_only=True) if alone else self.config
            self.network.config = self.averaged.config = shape
        partner = Partner(pool.batch(self.recipe.batch, self.recipe.crop, rng), self.recipe, rng)
        rows = []
        for number in range(int(self.engine.agreed(int(rng.integers(1, self.recipe.rounds + 1))))):
            if number and (last == self.step or self._done() >= 1):
                break
            rows.append(self._train_round(partner, number == 0) | {"round": number + 1})
        return rows

    def _train_round(self, partner: Partner, first: bool) -> dict[str, float]:
        inputs = partner.inputs(first)
        moved = type(inputs)(*(tensor.to(self.device) for tensor in inputs))
        memory = type(partner.memory)(*(tensor.to(self.device) for tensor in partner.memory))
        truth = partner.truth.to(self.device)
        self.network.train()
        with self.engine.autocast():
            outputs = self._round_step(moved, memory)
        pointed = partner.pointed.to(self.device)
        loss, terms = round_loss(outputs, truth, moved.previous, moved.touched, self.recipe.loss, pointed)
        self._descend(loss)
        partner.commit(outputs.logits.cpu(), type(memory)(*(tensor.cpu() for tensor in outputs.memory)))
        return terms | {"loss": float(loss.detach()), "dice": _dice(partner.previous, partner.truth)}

    def _descend(self, loss: Tensor) -> None:
        warm = min(1.0, (self.step + 1) / (self.recipe.warm_up_steps + 1))
        fall = max(0.01, 0.5 * (1 + math.cos(math.pi * min(1.0, self._done()))))
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * warm * (fall if self.recipe.schedule == "cosine" else 1.0)
        self.optimizer.zero_grad(set_to_none=True)
        self.engine.backward(loss)
        nn.utils.clip_grad_norm_(self.network.parameters(), CLIP_NORM)
        self.optimizer.step()
        self.step += 1
        self._average()

    @torch.no_grad()
    def _average(self) -> None:
        """Moving average of the weights and of the batch norm's statistics: what is validated and shipped."""
        decay = min(self.recipe.average, self.step / (self.step + 10)) if self.recipe.average else 0.0
        for mean, value in zip(self.averaged.state_dict().values(), self.network.state_dict().values()):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)

    def validate(self) -> None:
        """Dice by round on the supply's selection cases; the best weights so far are kept apart."""
        if self.engine.is_first:
            self._validate()
        self.engine.wait()

    def _validate(self) -> None:
        if self._selection is None:
            self._selection = self.supply.selection(self.config)
        scores = self._selection.score(self.averaged, self.device, self.engine.is_half)
        row = {"step": self.step, "minutes": round(self.seconds / 60, 2)} | scores
        append_row(self.folder / "validation.csv", row)
        logger.info("step %d: %s", self.step, ", ".join(f"{k} {v:.3f}" for k, v in scores.items()))
        alone = bool(getattr(self.averaged.config, "volume_only", False))
        was_alone = self.best.get("alone", self.best["score"] < 0)
        # What the volume branch reaches alone is no measure of the whole: scores are compared among their like.
        if (was_alone and not alone) or (was_alone == alone and scores["score"] > self.best["score"]):
            self.best = row | {"alone": alone}
            state = {name: tensor.clone() for name, tensor in self.averaged.state_dict().items()}
            save_state(self.folder / "best", {"network": state, "model": self.averaged.config.to_dict()} | row)

    def _snapshot(self) -> None:
        """Keep the averaged weights aside each time another share of the run is behind."""
        if not self._snapshots or not self.engine.is_first:
            return
        kept = {_share_of(path) for path in (self.folder / "snapshots").glob("*.pt")}
        share = min(self._snapshots, int(self._done() * self._snapshots))
        if share not in kept:
            (self.folder / "snapshots").mkdir(parents=True, exist_ok=True)
            save_snapshot(self.folder / "snapshots" / f"{share:02d}-step-{self.step}.pt", self.averaged, self.config)

    def _log(self, rows: list[dict[str, float]], heads: int) -> None:
        if not self.engine.is_first:
            return
        found = {name: [row[name] for row in rows if name in row] for name in LOGGED}
        means = {name: float(np.mean(values)) if values else math.nan for name, values in found.items()}
        row = {"step": self.step, "minutes": round(self.seconds / 60, 2), "heads": heads} | means
        append_row(self.folder / "log.csv", row)
        logger.info("step %d, %.1f min, %d heads: loss %.3f dice %.3f", *list(row.values())[:4], means["dice"])


def _share_of(snapshot: Path) -> int:
    """How many shares of the run were behind, as its name says."""
    return int(snapshot.stem.split("-")[0])


def _dice(probability: Tensor, truth: Tensor) -> float:
    """Mean Dice of the crops that hold blood."""
    mask, truth = probability.flatten(1) >= 0.5, truth.flatten(1) >= 0.5
    dice = 2 * (mask & truth).sum(1) / (mask.sum(1) + truth.sum(1)).clamp(min=1)
    return float(dice[truth.any(1)].mean()) if truth.any() else 1.0
