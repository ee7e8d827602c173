"""Run an experiment: train each variant on each fold, judge all on the held-out cases, write the paper's table.

Everything resumes: a variant that is trained is not trained again, a case that is judged is not judged again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ichhpinet.errors import InputError

from ..datasets.manifest import Manifest, read_manifest
from ..study import published
from ..study.contestants import WEIGHTS, Contestant
from ..study.costs import costs_of
from ..study.report import Study, not_comparable, write_report
from ..study.runner import Rules, evaluate
from ..study.tables import methods_table, rounds_of
from ..train import WEIGHTS_NAME, train
from ..training.checkpoints import load_state
from ..training.engine import Engine
from ..training.plan import Plan, check_resumes, checked_recipe
from .budget import budget_line
from .variants import FULL, Experiment, Variant

logger = logging.getLogger(__name__)

SNAPSHOTS = 5  # of the analysis, over the run
UNCERTAINTY = "uncertainty"
TAKE_WEIGHTS = ("interaction", UNCERTAINTY)  # experiments of the network as it is, without its training
Progress = Callable[[float, str], object]


@dataclass(frozen=True)
class Setting:
    """plan: with its manifest and folds. extra: contestants that are not trained here. out: the experiment's folder.

    weights: of the network as it is, `{fold}` in it the fold; trained elsewhere, so nothing is trained here.
    """

    plan: Plan
    out: Path
    rules: Rules
    extra: tuple[Contestant, ...] = ()
    workers: int = 0
    weights: str | None = None

    @property
    def manifest(self) -> Manifest:
        """Read anew. Raises InputError where the plan has none."""
        if self.plan.manifest is None:
            raise InputError("an experiment needs a manifest (ichhpinet data ..., or ichhpinet data synthetic)")
        return read_manifest(self.plan.manifest)


def run_experiment(
    experiment: Experiment, setting: Setting, engine: Engine | None = None, progress: Progress | None = None
) -> Path:
    """Train and judge all variants; the report's path. Everything is checked before anything starts.

    Raises InputError for a variant that cannot be trained, or a folder of another setup.
    """
    manifest, variants = setting.manifest, experiment.variants(setting.plan.recipe)
    if setting.weights is not None:
        variants = variants[:1]  # the network as it is; others come along as contestants
    _check_contestants(experiment, setting, variants)
    engine = Engine(setting.plan.device, setting.plan.precision) if engine is None else engine
    if setting.weights is None:
        _train_all(experiment, setting, variants, engine)
    elif experiment.name not in TAKE_WEIGHTS:
        raise InputError(f"{experiment.name} trains its variants; only {', '.join(TAKE_WEIGHTS)} take weights")
    if not engine.is_first:
        return setting.out
    if experiment.name == "analysis":
        from .analysis import analyse

        run, budget = variant_folder(setting, variants[0]), _budget(setting, variants)
        return analyse(manifest, run, setting.plan.folds, setting.out, setting.rules.device, budget)
    if experiment.name == UNCERTAINTY:
        return _uncertainty(manifest, setting, variants, progress)
    return _judged(experiment, setting, manifest, variants, progress)


def _check_contestants(experiment: Experiment, setting: Setting, variants: Sequence[Variant]) -> None:
    """What came along has names of its own and can be read. Raises InputError."""
    names = [one.name for one in contestants_of(setting, variants)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{twice[0]} stands among the contestants twice; each needs a name of its own")
    if experiment.name == "analysis" and setting.extra:
        raise InputError(f"analysis looks into the network alone; {setting.extra[0].name} must be left out")
    given = setting.extra if setting.weights is None else contestants_of(setting, variants)
    for one in given:
        if experiment.name == UNCERTAINTY and one.kind != WEIGHTS:
            raise InputError(f"{one.name} is a {one.kind}; only weights have a probability to be unsure about")
        for fold in setting.plan.folds:
            one.identity(fold)


def _train_all(experiment: Experiment, setting: Setting, variants: Sequence[Variant], engine: Engine) -> None:
    """Every variant on every fold, all of them checked before the first starts."""
    plans = [_plan(setting, experiment, variant) for variant in variants]
    for plan, variant in zip(plans, variants, strict=True):
        start = plan.begin()
        for folder, supply in plan.runs(variant_folder(setting, variant)):
            check_resumes(plan.recipe, folder, supply, start)
            _check_budget(plan, folder)
    for plan, variant in zip(plans, variants, strict=True):
        train_variant(plan, variant_folder(setting, variant), engine)


def _check_budget(plan: Plan, folder: Path) -> None:
    """A variant that is trained already is not trained again: the others must get no more and no less than it did."""
    state = load_state(folder)
    if state is None or not (folder / WEIGHTS_NAME).exists():
        return
    for name in ("minutes", "steps"):
        before, now = state["recipe"][name], getattr(plan.recipe, name)
        if before != now:
            raise InputError(
                f"{folder.parent.name}, {folder.name} was trained with {name} {before:g}; it is {now:g} now: take "
                "another folder, or the same budget for all"
            )


def variant_folder(setting: Setting, variant: Variant) -> Path:
    """Where a variant's folds are trained."""
    return setting.out / "variants" / variant.name


def contestant_of(setting: Setting, variant: Variant) -> Contestant:
    """A variant's weights, each fold's for its own cases."""
    if setting.weights is not None:
        return Contestant(variant.name, WEIGHTS, setting.weights)
    return Contestant(variant.name, WEIGHTS, str(variant_folder(setting, variant) / "fold-{fold}" / WEIGHTS_NAME))


def contestants_of(setting: Setting, variants: Sequence[Variant]) -> list[Contestant]:
    """All that are judged: what is trained here, and what came along."""
    return [*(contestant_of(setting, variant) for variant in variants), *setting.extra]


def train_variant(plan: Plan, folder: Path, engine: Engine) -> None:
    """All folds of a variant that have no weights yet."""
    for fold_folder, supply in plan.runs(folder):
        if not (fold_folder / WEIGHTS_NAME).exists():
            logger.info("training %s, %s", folder.name, fold_folder.name)
            train(plan, fold_folder, supply, engine)


def _plan(setting: Setting, experiment: Experiment, variant: Variant) -> Plan:
    cache = setting.out / "cache" if setting.plan.cache is None else setting.plan.cache
    snapshots = SNAPSHOTS if experiment.name == "analysis" else 0
    return replace(setting.plan, recipe=checked_recipe(variant.recipe), cache=cache, snapshots=snapshots)


def _judged(
    experiment: Experiment,
    setting: Setting,
    manifest: Manifest,
    variants: Sequence[Variant],
    progress: Progress | None,
) -> Path:
    contestants, folds = contestants_of(setting, variants), setting.plan.folds
    results = evaluate(
        manifest, contestants, setting.out, setting.rules, folds=folds, workers=setting.workers, progress=progress
    )
    reference = FULL if FULL in results else _reference(variants)
    costs = costs_of(contestants, folds[0])
    study = Study(manifest, results, setting.out, reference, costs, budget=_budget(setting, variants), whole=False)
    path = write_report(study)
    heading = f"# {experiment.title}\n\n{_own_table(experiment, results)}"
    path.write_text(heading + path.read_text(encoding="utf-8"), encoding="utf-8")
    return path


def _own_table(experiment: Experiment, results: dict[str, list[dict[str, Any]]]) -> str:
    """The experiment's table in the paper's layout, rows in its order."""
    numbers = rounds_of(results)
    if not (experiment.table and numbers):
        return ""
    table = methods_table(results, numbers[-1], experiment.table, first=experiment.first)
    datasets = {row["dataset"] for rows in results.values() for row in rows}
    note = " ".join(part for part in (not_comparable(datasets), experiment.says) if part)
    return f"After round {numbers[-1]}.\n\n{table}\n{note}\n\n"


def _reference(variants: Sequence[Variant]) -> str:
    """The paper's own choice where the network as it is has no row: 1.0 and 1.0, or 5, 1 and 4."""
    best = {published.lines(published.TABLE_3)[4].name, "5 1 4"}
    return next((variant.name for variant in variants if variant.shown in best), variants[0].name)


def _budget(setting: Setting, variants: Sequence[Variant]) -> str:
    """What was really spent, in a sentence; '' where nothing was trained here."""
    folders = [variant_folder(setting, variant) for variant in variants]
    return budget_line(
        [folder / f"fold-{fold}" for folder in folders for fold in setting.plan.folds], setting.plan.device
    )


def _uncertainty(manifest: Manifest, setting: Setting, variants: Sequence[Variant], progress: Progress | None) -> Path:
    from ..uncertainty.report import write_uncertainty
    from ..uncertainty.study import measure, show

    after = tuple(number for number in (1, 3) if number <= setting.rules.rounds)
    rows = []
    for weights in contestants_of(setting, variants):
        found = measure(
            manifest,
            weights,
            setting.out,
            after=after,
            folds=setting.plan.folds,
            workers=setting.workers,
            device=setting.rules.device,
            progress=progress,
        )
        show(setting.out / f"maps-{weights.name}.png", manifest, weights, found, setting.rules.device)
        rows += found
    return write_uncertainty(setting.out, rows, _budget(setting, variants))
