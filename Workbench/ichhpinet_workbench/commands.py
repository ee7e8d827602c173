"""`ichhpinet evaluate` and `ichhpinet demo` on the command line. What they do stands in evaluate.py and demo.py."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .counts import at_least
from .study.options import add_study_options

if TYPE_CHECKING:
    from .validation import Case

NETWORK = "ichhpinet"
GALLERY = 12  # cases
PLANES = ("axial", "coronal", "sagittal")  # the validation cases lie so: across axis 0, 1, 2
CLASSIC = ("grow_from_seeds", "threshold_islands", "random_walker")  # as baselines.METHODS, loaded only when used


def register_evaluate(subparsers: Any) -> None:
    """Add `evaluate` to the command line."""
    parser = subparsers.add_parser("evaluate", help="the validation tables: this network beside three other methods")
    parser.add_argument("--out", type=Path, required=True, help="folder for a CSV per method and validation.md")
    parser.add_argument("--cases", type=at_least(1), help="only the first so many of the 64 cases with blood")
    parser.add_argument("--rounds", type=at_least(1), default=8)
    parser.add_argument("--peer-rounds", type=at_least(1), help="rounds of the other methods (as many)")
    parser.add_argument("--methods", nargs="+", choices=(NETWORK, *CLASSIC), help="(all)")
    parser.add_argument("--hand", default="line", help="line, dots, outline, careless or any (default line)")
    parser.add_argument("--plane", choices=PLANES, help="the views that are painted in (axial)")
    parser.add_argument("--again", action="store_true", help="measure again instead of going on with the folder's CSVs")
    parser.add_argument("--cache", type=Path, help="folder that keeps the cases once made (about 0.6 GB)")
    add_study_options(parser)
    _network_options(parser)
    parser.set_defaults(run=run_evaluate)


def register_demo(subparsers: Any) -> None:
    """Add `demo` to the command line."""
    parser = subparsers.add_parser("demo", help="five rounds on a real head CT with a synthetic haemorrhage")
    parser.add_argument("--out", type=Path, required=True, help="folder for the CT, masks, report.json and sheet.png")
    parser.add_argument("--rounds", type=at_least(1), default=5)
    parser.add_argument("--seed", type=at_least(0), default=8, help="of the haemorrhage and the simulated radiologist")
    _network_options(parser)
    parser.set_defaults(run=run_demo)


def run_evaluate(arguments: argparse.Namespace) -> int:
    """On a data set if there is a manifest, else on the fixed synthetic cases."""
    from .study.options import refuse_others

    refuse_others(arguments)
    if arguments.manifest is None:
        return _run_validation(arguments)
    from .study.command import run_study

    return run_study(arguments)


def _run_validation(arguments: argparse.Namespace) -> int:
    """Measure what is not in the folder yet, then write the tables of everything asked for."""
    from ichhpinet.errors import InputError

    from .alone import alone_in
    from .bar import Bar
    from .evaluate import Contestant, Setup, evaluate
    from .report import markdown
    from .robot import HANDS
    from .rounds import Reader
    from .validation import load, real_head_ct, validation_cases

    peer_rounds = arguments.rounds if arguments.peer_rounds is None else arguments.peer_rounds
    if arguments.hand not in (*HANDS, "any"):
        raise InputError(f"--hand is {arguments.hand}; it must be one of {', '.join(HANDS)}, any")
    cases = validation_cases()[: arguments.cases]
    cases += () if arguments.cases else validation_cases(blood=False)
    reader = Reader(arguments.hand, axis=PLANES.index(arguments.plane or PLANES[0]))
    contestants = {}
    for method in arguments.methods or [*CLASSIC, NETWORK]:
        file = arguments.out / f"{method}.csv"
        predictor, identity = _predictor(method, arguments)
        if arguments.head_ct is not None:
            identity += f" on head CT {real_head_ct(arguments.head_ct).digest()[:12]}"
        rounds = arguments.rounds if method == NETWORK else min(arguments.rounds, peer_rounds)
        contestants[method] = Contestant(predictor, file, Setup(rounds, reader, identity))
    with alone_in(arguments.out):
        for one in contestants.values():  # not before all that was asked for is there
            if arguments.again:
                one.file.unlink(missing_ok=True)
        with Bar("evaluate") as bar:
            results = evaluate(contestants, cases, lambda case: load(case, arguments.cache, arguments.head_ct), bar)
        if NETWORK in results:
            with Bar("gallery") as bar:
                _draw_failures(results[NETWORK], cases, arguments, bar)
        text = markdown(results)
        (arguments.out / "validation.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return 0


def _draw_failures(
    rows: Sequence[dict[str, Any]],
    cases: Sequence[Case],
    arguments: argparse.Namespace,
    progress: Callable[..., object],
) -> None:
    """The network's worst cases as a sheet, from the masks that were kept; nothing where there are none."""
    from .evaluate import KEPT_ROUND
    from .gallery import Shown, draw_gallery
    from .keptmasks import kept_mask, mask_path
    from .validation import load

    number = min(KEPT_ROUND, arguments.rounds)
    made = {case.name: case for case in cases}
    judged = sorted((row for row in rows if row["round"] == number), key=lambda row: float(row["dice"]))
    paths = {row["case"]: mask_path(arguments.out, NETWORK, row["case"]) for row in judged}
    chosen = [row for row in judged if paths[row["case"]].exists()][:GALLERY]

    def shown() -> Iterator[Shown]:
        for index, row in enumerate(chosen):
            progress(index / len(chosen), row["case"])
            loaded = load(made[row["case"]], arguments.cache, arguments.head_ct)
            yield Shown(row, loaded.volume, kept_mask(paths[row["case"]]), loaded.truth)

    if chosen:
        draw_gallery(arguments.out / "worst.png", len(chosen), shown(), f"Lowest Dice after round {number}")


def run_demo(arguments: argparse.Namespace) -> int:
    """Play the demo and print its table."""
    from .bar import Bar
    from .demo import play_demo

    predictor, _ = _predictor(NETWORK, arguments)
    with Bar("demo") as bar:
        text = play_demo(predictor, arguments.out, arguments.rounds, arguments.seed, arguments.head_ct, bar)
    sys.stdout.write(text)
    return 0


def _network_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", type=Path, help="weights (default: the bundled ones)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--head-ct", type=Path, help="another head CT without blood than the bundled real one")
    parser.add_argument("--threads", type=at_least(1), help="CPU threads")


def _predictor(method: str, arguments: argparse.Namespace) -> tuple[Any, str]:
    """What opens sessions, and what it is, for the record."""
    if method != NETWORK:
        from .baselines import METHODS
        from .baselines.session import ClassicPredictor

        return ClassicPredictor(METHODS[method]), method
    return _network(arguments)


def _network(arguments: argparse.Namespace) -> tuple[Any, str]:
    import torch

    from ichhpinet.predictor import RULES_VERSION, Predictor

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    predictor = Predictor.load(arguments.checkpoint, device=arguments.device)
    return predictor, f"{predictor.digest} rules {RULES_VERSION}"
