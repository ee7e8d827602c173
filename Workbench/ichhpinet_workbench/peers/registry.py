"""The peers by name."""

from __future__ import annotations

from collections.abc import Callable

from ichhpinet.errors import InputError

from .base import PeerNetwork
from .config import PeerConfig
from .planar import PlanarUNet
from .slex import SlexNet
from .volumetric import Factory, Volumetric, attention_unet, dynunet, segresnet, swin_unetr, unet, unetr, vnet

# name -> (MONAI's network, what d, h and w are padded to a multiple of, whether it takes one window size alone)
VOLUMETRIC: dict[str, tuple[Factory, tuple[int, int, int], bool]] = {
    "monai-unet": (unet, (16, 16, 16), False),
    "monai-vnet": (vnet, (16, 16, 16), False),
    "monai-segresnet": (segresnet, (8, 8, 8), False),
    "monai-attention-unet": (attention_unet, (16, 16, 16), False),
    "monai-unetr": (unetr, (16, 16, 16), True),
    "monai-swin-unetr": (swin_unetr, (32, 32, 32), False),
    "monai-dynunet": (dynunet, (4, 16, 16), False),
}
OTHERS: dict[str, Callable[[PeerConfig], PeerNetwork]] = {"unet-2d": PlanarUNet, "slex-net": SlexNet}
PEERS = (*VOLUMETRIC, *OTHERS)


def make_peer(config: PeerConfig) -> PeerNetwork:
    """The network, with fresh weights. Raises InputError: an unknown name, or MONAI is not installed."""
    if config.name not in PEERS:
        raise InputError(f"the peer is {config.name!r}; it must be one of {', '.join(PEERS)}")
    try:
        if config.name in OTHERS:
            return OTHERS[config.name](config)
        return Volumetric(config, *VOLUMETRIC[config.name])
    except ImportError as error:
        raise InputError(
            f"{config.name} needs the package {error.name}; install the extra 'workbench' of ichhpinet"
        ) from error
