"""A recipe's network: ours in one of its sizes, or a peer by name. The peers are loaded only when one is asked for."""

from __future__ import annotations

from typing import Any

from torch import nn

from ichhpinet.networks import HPINet, ModelConfig

from .recipe import Recipe

OURS = ("paper", "compact", "tiny")
PEERS = (  # as peers.registry.PEERS, which needs more than torch
    "monai-unet",
    "monai-vnet",
    "monai-segresnet",
    "monai-attention-unet",
    "monai-unetr",
    "monai-swin-unetr",
    "monai-dynunet",
    "unet-2d",
    "slex-net",
)
BRAIN_ALONE = ("unet-2d",)  # see the brain by itself, normalised by that of the whole head


def make_network(recipe: Recipe) -> nn.Module:
    """Fresh weights. Its `config` says what it is. Raises InputError for a model or switch that is none."""
    if recipe.model in PEERS:
        from ..peers.registry import make_peer

        return make_peer(peer_config(recipe))
    return HPINet(ModelConfig.named(recipe.model, **recipe.switches))


def peer_config(recipe: Recipe) -> Any:
    """The configuration of a recipe's peer; its window is the crop it is trained on."""
    from ..peers.config import PeerConfig

    return PeerConfig.named(recipe.model, **({"roi": tuple(recipe.crop)} | recipe.switches))
