"""Cross-slice attention drawn over the slices: where the lesion of one slice looks in another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..datasets.loading import LoadedEntry
from ..probe import ProbedPredictor, Seen
from ..study.plots import new_figure
from .features import attention, focus

STEPS = (1, 2, 3)  # how far the slice that looks is from the one it looks at
WINDOW = (-1.0, 1.0)  # of the normalised image: 0 to 80 HU
QUERY, TRUTH = "#5dff5d", "#4cc9ff"


def draw_attention(path: Path, predictor: ProbedPredictor, case: LoadedEntry) -> int:
    """A row for each distance: the slice that looks, with its lesion; the corrected slice, with what is looked at.

    Above each map: how many times more of the attention falls on the lesion there than its area would get.
    Returns how many rows; no file where there is no lesion beside the painted slice. Needs `predictor.seen` of a round
    on the case, raises RuntimeError without.
    """
    seen = predictor.seen
    if seen is None:
        raise RuntimeError("there was no round yet; refine first")
    lesion = seen.encoded.grid.to_working(case.truth) >= 0.5
    memory = int(torch.nonzero(seen.touched).flatten()[0])
    pairs = [(memory + step * side, memory) for step in STEPS for side in (-1, 1)]
    pairs = [(query, memory) for query, _ in pairs if 0 <= query < len(lesion) and lesion[query].any()][: len(STEPS)]
    if not pairs:
        return 0
    figure = new_figure(9.0, 3.1 * len(pairs) + 0.5)
    figure.patch.set_facecolor("black")
    axes = figure.subplots(len(pairs), 3, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for line, (query, _) in zip(axes, pairs, strict=True):
        _draw_pair(line, seen, lesion, query, memory)
    figure.suptitle("Attention of the lesion (green) in the painted slice; truth blue", color="0.85", fontsize=10)
    figure.savefig(path, dpi=110, facecolor="black")
    return len(pairs)


def _draw_pair(axes: np.ndarray, seen: Seen, lesion: Tensor, query: int, memory: int) -> None:
    image = seen.encoded.image[0].cpu()
    size = seen.encoded.features.key.shape[2:]
    small = [F.adaptive_max_pool2d(lesion[index][None].float(), size)[0] > 0 for index in (query, memory)]
    looked = attention(seen, query, memory, small[0])
    wide = F.interpolate(looked[None, None], lesion.shape[1:], mode="bilinear")[0, 0]
    titles = (
        f"slice {query + 1} looks",
        f"slice {memory + 1}, painted",
        f"attention on the lesion: {focus(looked, small[1]):.1f} x its area",
    )
    for axis, index, title in zip(axes, (query, memory, memory), titles, strict=True):
        axis.imshow(image[index].numpy(), cmap="gray", vmin=WINDOW[0], vmax=WINDOW[1], origin="upper")
        colour = QUERY if index == query else TRUTH
        if lesion[index].any():
            axis.contour(lesion[index].float().numpy(), levels=[0.5], colors=[colour], linewidths=1.0)
        axis.set_title(title, color="white", fontsize=9)
    axes[2].imshow((wide / wide.max()).numpy(), cmap="inferno", alpha=0.65, vmin=0, vmax=1)
