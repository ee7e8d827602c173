"""How sure a round is of each voxel: closeness to the threshold, and disagreement of the volume and slice branches."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def round_uncertainty(probability: Tensor, volume_probability: Tensor | None, painted: Tensor) -> Tensor:
    """The larger of 1 - |2p - 1| and |p - p_volume|, zero where the user has painted.

    probability: (d, h, w) in [0, 1]. volume_probability: (d, h/2, w/2), VIM's own mask, or None.
    painted: (2, d, h, w) bool. Returns (d, h/2, w/2) float32 in [0, 1].
    """
    coarse = F.avg_pool2d(probability, 2)
    uncertain = 1 - (2 * coarse - 1).abs()
    if volume_probability is not None:
        uncertain = torch.maximum(uncertain, (coarse - volume_probability).abs())
    known = F.max_pool2d(painted.any(0).float(), 2) > 0
    return uncertain.masked_fill(known, 0.0)
