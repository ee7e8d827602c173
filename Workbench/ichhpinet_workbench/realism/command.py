"""`ichhpinet realism`: the generator beside reality, as a figure and a table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..counts import at_least

INSERTED = 12  # haemorrhages laid into the real CT, whose borders are looked at
INSERT_SEED = 900
THICKNESS_MM, PIXEL_MM = (2.5, 6.5), (0.4, 0.6)  # as the public cases; thin slices cost minutes


def register(subparsers: Any) -> None:
    """Add `realism` to the command line."""
    parser = subparsers.add_parser("realism", help="synthetic heads beside the real head CT and published facts")
    parser.add_argument("--out", type=Path, required=True, help="folder for realism.md and realism.png")
    parser.add_argument("--heads", type=at_least(1), default=40, help="synthetic heads of each family (default 40)")
    parser.add_argument("--seed", type=at_least(0), default=0, help="of the first head")
    parser.add_argument("--head-ct", type=Path, help="another head CT without blood than the bundled real one")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, draw, print the tables."""
    import numpy as np

    from ..bar import Bar
    from ..phantom import generate, insert
    from ..phantom.generate import FAMILIES
    from ..validation import real_head_ct
    from .measures import measure
    from .report import write_report

    base = real_head_ct(arguments.head_ct)
    real = measure(base.hu, base.spacing_mm, np.zeros(base.shape, bool))
    jobs = len(FAMILIES) * arguments.heads + INSERTED
    with Bar("realism") as bar:
        inserted = []
        for number in range(INSERTED):
            bar(number / jobs, "blood in the real CT")
            made = insert(base.hu, base.spacing_mm, INSERT_SEED + number, kinds=("IPH",))
            inserted.append(measure(made.hu, made.spacing_mm, made.mask))
        heads: dict[str, list[Any]] = {family: [] for family in FAMILIES}
        for number in range(len(FAMILIES) * arguments.heads):
            family = list(FAMILIES)[number // arguments.heads]
            bar((INSERTED + number) / jobs, f"{family} heads")
            seed = arguments.seed + number % arguments.heads
            rng = np.random.default_rng(seed)
            thickness, pixel = float(rng.uniform(*THICKNESS_MM)), float(rng.uniform(*PIXEL_MM))
            made = generate(seed, family=family, spacing_mm=(thickness, pixel, pixel))
            heads[family].append(measure(made.hu, made.spacing_mm, made.mask))
    text = write_report(arguments.out, real, inserted, heads).read_text(encoding="utf-8")
    sys.stdout.write(text)
    return 0
