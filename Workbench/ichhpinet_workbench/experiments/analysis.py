"""The paper's analysis: VIM and SIM features over training, attention across slices, classes apart in FCM features."""

from __future__ import annotations

import csv
import inspect
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from ichhpinet.checkpoint import load_checkpoint
from ichhpinet.scribbles import Scribbles

from ..datasets.loading import LoadedEntry, load_entry
from ..datasets.manifest import Manifest
from ..probe import ProbedPredictor, Seen
from ..regions import Bool
from ..robot import strokes
from ..study import published
from ..study.plots import COLOURS, MARKS, new_figure
from ..study.runner import case_seed
from ..study.tables import table_of
from ..train import WEIGHTS_NAME
from .attention import draw_attention
from .features import VOLUME_STRIDES, Likeness, likenesses, separation, sim_strides

CASES = 8  # of each fold: the figures are means, and a map needs no more
BRAIN = (-1.0, 0.6)  # of the normalised image: about 0 to 64 HU, and what is compared with the lesion
TOO_SMALL = "No lesion is large enough in these maps to be told from brain.\n"
Row = dict[str, Any]


def analyse(
    manifest: Manifest, run: Path, folds: Sequence[int], out: Path, device: str = "auto", budget: str = ""
) -> Path:
    """Write analysis.md, its CSV files and pictures from a run's snapshots and weights; the report's path.

    budget: what the training cost.
    """
    out.mkdir(parents=True, exist_ok=True)
    likeness: list[Row] = []
    apart: list[Row] = []
    drawn = 0
    for fold in folds:
        folder = run / f"fold-{fold}"
        cases = [load_entry(manifest, entry) for entry in manifest.test(fold)[:CASES]]
        cases = [case for case in cases if any(part.any() for part in _first_strokes(case))]
        for path in [*sorted((folder / "snapshots").glob("*.pt"))]:
            likeness += _likeness_rows(ProbedPredictor(load_checkpoint(path), device), cases, fold, _step(path))
        last = ProbedPredictor(load_checkpoint(folder / WEIGHTS_NAME), device)
        apart += _separation_rows(last, cases, fold)
        if cases and fold == folds[0]:
            _first_round(last, cases[0])
            drawn = draw_attention(out / "attention.png", last, cases[0])
    _write_csv(out / "similarity.csv", likeness)
    _write_csv(out / "separation.csv", apart)
    if likeness:
        _draw_similarity(out / "similarity.png", likeness)
    path = out / "analysis.md"
    path.write_text(_report(likeness, apart, drawn, budget), encoding="utf-8")
    return path


def _first_round(predictor: ProbedPredictor, case: LoadedEntry) -> Seen:
    """What the first round on a case computes, from the simulated radiologist's stroke."""
    predictor.open(case.volume).refine(Scribbles(*_first_strokes(case)))
    if predictor.seen is None:
        raise RuntimeError("the round was not seen")
    return predictor.seen


def _first_strokes(case: LoadedEntry) -> tuple[Bool, Bool]:
    """(foreground, background), both empty where there is no lesion, or none that is worth a stroke."""
    rng = np.random.default_rng(case_seed(case.entry.case))
    nothing = np.zeros(case.truth.shape, bool)
    return strokes(case.truth, nothing, case.volume.spacing_mm, rng, greedy=True, beside=1.0, brain=case.brain)


def _likeness_rows(predictor: ProbedPredictor, cases: Sequence[LoadedEntry], fold: int, step: int) -> list[Row]:
    config = predictor.config
    strides = sim_strides(config.sim_stem, len(config.sim_widths))
    rows = []
    for case in cases:
        for one in likenesses(_first_round(predictor, case), strides):
            rows.append({"fold": fold, "step": step, "case": case.entry.case, **vars(one)})
    return rows


def _separation_rows(predictor: ProbedPredictor, cases: Sequence[LoadedEntry], fold: int) -> list[Row]:
    rows = []
    for case in cases:
        seen = _first_round(predictor, case)
        lesion = seen.encoded.grid.to_working(case.truth)
        image = seen.encoded.image[0].cpu()
        for level, stride in enumerate(VOLUME_STRIDES[: len(seen.converted)]):
            inside, region = _on_stride(lesion, image, stride)
            volume, fisher_volume = separation(seen.volume_maps[level].movedim(1, 0), inside, region)
            convert, fisher_convert = separation(seen.converted[level], inside, region)
            rows.append(
                {
                    "fold": fold,
                    "case": case.entry.case,
                    "stride": stride,
                    "auc_volume": volume,
                    "auc_converted": convert,
                    "fisher_volume": fisher_volume,
                    "fisher_converted": fisher_convert,
                }
            )
    return rows


def _on_stride(lesion: Tensor, image: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """(lesion, brain) bool on a coarser grid, (d, h/s, w/s)."""
    inside = F.avg_pool2d(lesion, stride) >= 0.5
    coarse = F.avg_pool2d(image, stride)
    return inside, inside | ((coarse > BRAIN[0]) & (coarse < BRAIN[1]))


def _report(likeness: Sequence[Row], apart: Sequence[Row], drawn: int, budget: str) -> str:
    """drawn: how many pairs of slices the picture of attention shows."""
    seen = (
        "![attention](attention.png)\n" if drawn else "No lesion reaches beyond its painted slice: nothing is drawn.\n"
    )
    parts = ["# Analysis of the hybrid propagation\n", budget, _similarity_part(likeness), _separation_part(apart)]
    return "\n".join([part for part in parts if part] + [f"## Attention across slices\n\n{seen}"])


def _similarity_part(rows: Sequence[Row]) -> str:
    lines = []
    for step in sorted({row["step"] for row in rows}):
        for stride in sorted({row["stride"] for row in rows}):
            here = [row for row in rows if row["step"] == step and row["stride"] == stride]
            lines.append([str(step), str(stride), _spread(here, "cosine"), _spread(here, "centred")])
    table = table_of(["step", "stride", "cosine", "cosine, means taken off"], lines)
    return (
        f"## VIM and SIM features over training\n\n{inspect.cleandoc(Likeness.__doc__ or '')}\n\n{table}\n"
        f"The paper: {published.SIMILARITY}; {published.OTHER_DATA}, and its definition is not given.\n\n"
        "![similarity](similarity.png)\n"
    )


def _separation_part(rows: Sequence[Row]) -> str:
    by_stride: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        by_stride[row["stride"]].append(row)
    lines = []
    for stride, here in sorted(by_stride.items()):
        volume, converted = (_mean(here, f"auc_{name}") for name in ("volume", "converted"))
        kept = (converted - 0.5) / (volume - 0.5) if volume > 0.5 else float("nan")
        fisher = _mean(here, "fisher_converted") / max(_mean(here, "fisher_volume"), 1e-9)
        lines.append([str(stride), f"{volume:.3f}", f"{converted:.3f}", f"{kept:.0%}", f"{fisher:.0%}"])
    heads = ["stride", "AUC of D_i", "AUC of F_k", "AUC over 0.5 kept", "Fisher's ratio kept"]
    return (
        "## Class separation of FCM features\n\nLesion against brain, in the volume branch's maps D_i and in F_k made "
        "of them; linear discriminant, fitted on half of the pixels, judged on the rest.\n\n"
        f"{table_of(heads, lines) if any(np.isfinite(row['auc_volume']) for row in rows) else TOO_SMALL}\n"
        f"The paper: {published.DISCRIMINABILITY}; {published.OTHER_DATA}, and its measure is not given.\n"
    )


def _draw_similarity(path: Path, rows: Sequence[Row]) -> None:
    figure = new_figure(6.4, 4.2)
    axis = figure.subplots()
    steps = sorted({row["step"] for row in rows})
    for index, stride in enumerate(sorted({row["stride"] for row in rows})):
        for measure, style in (("cosine", "-"), ("centred", "--")):
            means = [_mean([r for r in rows if r["step"] == s and r["stride"] == stride], measure) for s in steps]
            name = f"stride {stride}" + (", means off" if measure == "centred" else "")
            axis.plot(steps, means, style, color=COLOURS[index], marker=MARKS[index], markersize=4, label=name)
    axis.set(xlabel="optimiser step", ylabel="cosine similarity of VIM and SIM")
    axis.grid(alpha=0.25)
    axis.legend(fontsize=8)
    figure.savefig(path, dpi=130)


def _write_csv(path: Path, rows: Sequence[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        if rows:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def _step(path: Path) -> int:
    return int(path.stem.rsplit("-", 1)[1])


def _mean(rows: Sequence[Row], name: str) -> float:
    values = [row[name] for row in rows if np.isfinite(row[name])]
    return float(np.mean(values)) if values else float("nan")


def _spread(rows: Sequence[Row], name: str) -> str:
    values = [row[name] for row in rows]
    return f"{np.mean(values):.3f} ± {np.std(values):.3f}"
