"""`ichhpinet evaluate --manifest ...`: judge on a data set, write the papers' tables."""

from __future__ import annotations

import argparse
import sys

from ichhpinet.errors import InputError
from ichhpinet.predictor import choose_device

from ..alone import alone_in
from ..bar import Bar
from ..datasets.manifest import NO_FOLD, read_manifest
from ..robot import HANDS
from ..rounds import Reader
from .contestants import Contestant
from .costs import costs_of
from .report import Study, write_report
from .runner import Rules, evaluate


def run_study(arguments: argparse.Namespace) -> int:
    """Judge what the folder does not know yet, then write report.md and its pictures.

    Raises InputError for what cannot be meant, before anything is computed.
    """
    manifest = read_manifest(arguments.manifest)
    contestants = [Contestant.parse(text) for text in arguments.contestant or ["ichhpinet=weights"]]
    reference = arguments.reference or contestants[0].name
    rules = Rules(arguments.rounds, Reader(arguments.hand), arguments.seed, arguments.device)
    _check(arguments, [one.name for one in contestants], reference, {entry.case for entry in manifest.used})
    for fold in arguments.folds or ():
        manifest.test(fold)
    out, folds = arguments.out, arguments.folds
    with alone_in(out):
        with Bar("evaluate") as bar:
            results = evaluate(manifest, contestants, out, rules, folds=folds, workers=arguments.workers, progress=bar)
        costs = costs_of(contestants, (folds or manifest.folds or (NO_FOLD,))[0])
        study = Study(manifest, results, out, reference, costs, frozenset(arguments.samples))
        sys.stdout.write(write_report(study).read_text(encoding="utf-8"))
    return 0


def _check(arguments: argparse.Namespace, names: list[str], reference: str, cases: set[str]) -> None:
    if arguments.hand not in (*HANDS, "any"):
        raise InputError(f"--hand is {arguments.hand}; it must be one of {', '.join(HANDS)}, any")
    if len(set(names)) < len(names):
        raise InputError(f"the contestants are {', '.join(names)}; each needs a name of its own")
    choose_device(arguments.device)
    if reference not in names:
        raise InputError(f"--reference is {reference}; it must be one of {', '.join(names)}")
    unknown = set(arguments.samples) - cases
    if unknown:
        raise InputError(f"--samples names {', '.join(sorted(unknown))}; the manifest has no such case")
