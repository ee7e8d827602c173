"""FCM, the feature convert module: slices of the volume branch's maps become maps for the mask decoder (equation 1)."""

from __future__ import annotations

import torch.nn as nn
from torch import Tensor


class FeatureConvertModule(nn.Module):
    """F_k = {Conv_1(D_1[k]), Conv_2(D_2[k]), Conv_3(D_3[k])}.

    Each D_i: (B, C_i, d, h_i, w_i) at volume strides 1, 2, 4; each F_k element: (B * d, C'_i, h_i, w_i), slices of a
    volume in order. `heads` give one logit map an element, for the feature convert loss (FCL) alone.
    """

    def __init__(self, widths_in: tuple[int, ...], widths_out: tuple[int, ...]) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in zip(widths_in, widths_out))
        self.heads = nn.ModuleList(nn.Conv2d(width, 1, 1) for width in widths_out)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        return [conv(level.movedim(2, 1).flatten(0, 1)) for conv, level in zip(self.convolutions, maps)]

    def logits(self, converted: list[Tensor]) -> list[Tensor]:
        """One (N, 1, h_i, w_i) logit map for each element of F_k."""
        return [head(level) for head, level in zip(self.heads, converted)]
