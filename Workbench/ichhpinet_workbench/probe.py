"""A predictor that shows what a round computed on the way: the maps of every module. Judged like any other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ichhpinet.networks import HPINet, Memory
from ichhpinet.predictor import EncodedVolume, Predictor, RoundArrays


@dataclass(frozen=True, eq=False)
class Seen:
    """One round on the working grid, (d, h, w).

    painted: (2, d, h, w) bool, all strokes so far. touched: (d,) bool. volume_maps: D_1..D_3 of the volume branch, each
    (C, d, h_i, w_i). slice_maps: stages of the slice branch's encoder, each (n, C, h_i, w_i) of the n touched slices.
    converted: F_k of every slice, each (d, C, h_i, w_i). A branch that did not run has no maps.
    """

    encoded: EncodedVolume
    arrays: RoundArrays
    painted: Tensor
    touched: Tensor
    volume_maps: list[Tensor]
    slice_maps: list[Tensor]
    converted: list[Tensor]


class ProbedPredictor(Predictor):
    """`seen` holds the last round."""

    seen: Seen | None = None

    @property
    def network(self) -> HPINet:
        """The network, batch norms folded in."""
        return self._network  # type: ignore[no-any-return]

    @torch.inference_mode()
    def compute_round(
        self,
        encoded: EncodedVolume,
        previous: Tensor,
        painted: Tensor,
        touched: Tensor,
        memory: Memory,
        tick: Callable[[float], None],
        boldness: float = 0.0,
    ) -> RoundArrays:
        """As Predictor's, and everything that its modules gave is kept."""
        modules = {"vim": self.network.vim, "sim": self.network.sim.encoder, "fcm": self.network.fcm}
        with _caught(modules) as caught:
            arrays = super().compute_round(encoded, previous, painted, touched, memory, tick, boldness)
        volume = [level[0] for level in caught["vim"][-1][1]] if caught["vim"] else []
        slices = [torch.cat(level) for level in zip(*caught["sim"], strict=True)]
        converted = list(caught["fcm"][-1]) if caught["fcm"] else []
        self.seen = Seen(encoded, arrays, painted, touched, volume, slices, converted)
        return arrays

    def heed(self, *given: Any) -> RoundArrays:
        """As Predictor's; what was seen is what the session keeps."""
        arrays = super().heed(*given)
        if self.seen is not None:
            self.seen = replace(self.seen, arrays=arrays)
        return arrays


@contextmanager
def _caught(modules: dict[str, nn.Module]) -> Iterator[dict[str, list[Any]]]:
    """What each module gives while inside, call by call."""
    caught: dict[str, list[Any]] = {name: [] for name in modules}
    hooks = [
        module.register_forward_hook(lambda _module, _given, out, name=name: caught[name].append(out))
        for name, module in modules.items()
    ]
    try:
        yield caught
    finally:
        for hook in hooks:
            hook.remove()
