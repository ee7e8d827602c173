"""`ichhpinet parts` on the command line: validation cases, each part of the network taken out in turn."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..counts import at_least
from .names import PARTS, WHOLE


def register(subparsers: Any) -> None:
    """Add `parts` to the command line."""
    parser = subparsers.add_parser("parts", help="what each part of the network brings: validation cases without it")
    parser.add_argument("--out", type=Path, required=True, help="folder for a CSV per part and parts.md")
    parser.add_argument(
        "--without", nargs="+", choices=[name for name in PARTS if name != WHOLE], help="(each in turn)"
    )
    parser.add_argument("--cases", type=at_least(1), default=64, help="only the first so many with blood")
    parser.add_argument("--rounds", type=at_least(1), default=3)
    parser.add_argument("--cache", type=Path, help="folder that keeps the cases once made (about 0.6 GB)")
    parser.add_argument("--head-ct", type=Path, help="another head CT without blood than the bundled real one")
    parser.add_argument("--checkpoint", type=Path, help="weights (the bundled ones)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--threads", type=at_least(1), help="CPU threads")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure what is not in the folder yet, then write and print the tables. Raises: InputError."""
    import torch

    from ichhpinet.checkpoint import load_checkpoint
    from ichhpinet.predictor import RULES_VERSION
    from ichhpinet.resources import bundled_weights

    from ..alone import alone_in
    from ..bar import Bar
    from ..evaluate import Contestant, Setup, evaluate
    from ..report import dice_table, effect_table
    from ..validation import load, real_head_ct, validation_cases
    from .reduced import Reduced

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    checkpoint = load_checkpoint(arguments.checkpoint or bundled_weights())
    chosen = [WHOLE, *(arguments.without or [name for name in PARTS if name != WHOLE])]
    head = "" if arguments.head_ct is None else f" on head CT {real_head_ct(arguments.head_ct).digest()[:12]}"
    contestants = {}
    for name in chosen:
        setup = Setup(arguments.rounds, identity=f"{checkpoint.digest} rules {RULES_VERSION} {name}{head}")
        contestants[name] = Contestant(
            Reduced(checkpoint, arguments.device, name), arguments.out / f"{name}.csv", setup
        )
    cases = validation_cases()[: arguments.cases]
    with alone_in(arguments.out), Bar("parts") as bar:
        results = evaluate(contestants, cases, lambda case: load(case, arguments.cache, arguments.head_ct), bar)
    shown = {PARTS[name].shown: rows for name, rows in results.items()}
    text = f"# What each part brings: {len(cases)} validation cases\n\n{dice_table(shown)}\n{effect_table(shown)}"
    (arguments.out / "parts.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return 0
