"""HemSeg-200's seven from MONAI: U-Net, V-Net, SegResNet, Attention U-Net, UNETR, Swin UNETR, DynUNet (nnU-Net's).

Widths are those of HemSeg-200's training scripts where they name them, MONAI's own elsewhere. DynUNet follows nnU-Net's
plan for thick slices: planar kernels and strides first.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from .base import PeerNetwork
from .config import TINY, PeerConfig

Factory = Callable[[PeerConfig], nn.Module]


def unet(config: PeerConfig) -> nn.Module:
    """Çiçek et al., 2016; residual units as in HemSeg-200."""
    from monai.networks.nets import UNet

    channels = (4, 8, 8, 8, 8) if config.size == TINY else (32, 64, 128, 256, 512)
    return UNet(3, config.channels, 1, channels=channels, strides=(2, 2, 2, 2), num_res_units=2)


def vnet(config: PeerConfig) -> nn.Module:
    """Milletari et al., 2016. MONAI's has one size: tiny is as large."""
    from monai.networks.nets import VNet

    return VNet(3, config.channels, 1)


def segresnet(config: PeerConfig) -> nn.Module:
    """Myronenko, 2018."""
    from monai.networks.nets import SegResNet

    filters, down, up = (8, (1, 1, 1, 1), (1, 1, 1)) if config.size == TINY else (16, (1, 2, 2, 4), (1, 1, 1))
    return SegResNet(
        3, init_filters=filters, in_channels=config.channels, out_channels=1, blocks_down=down, blocks_up=up
    )


def attention_unet(config: PeerConfig) -> nn.Module:
    """Oktay et al., 2018."""
    from monai.networks.nets import AttentionUnet

    channels = (4, 8, 8, 8, 8) if config.size == TINY else (32, 64, 128, 256, 512)
    return AttentionUnet(3, config.channels, 1, channels=channels, strides=(2, 2, 2, 2))


def unetr(config: PeerConfig) -> nn.Module:
    """Hatamizadeh et al., 2022. Its position embedding ties it to one window: the roi, padded to 16."""
    from monai.networks.nets import UNETR

    size = tuple(-(-n // 16) * 16 for n in config.roi)
    small = dict(feature_size=4, hidden_size=24, mlp_dim=32, num_heads=2) if config.size == TINY else {}
    return UNETR(config.channels, 1, img_size=size, **small)


def swin_unetr(config: PeerConfig) -> nn.Module:
    """Hatamizadeh et al., 2021."""
    from monai.networks.nets import SwinUNETR

    small = dict(feature_size=12, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1)) if config.size == TINY else {}
    return SwinUNETR(config.channels, 1, **({"feature_size": 48} | small))


def dynunet(config: PeerConfig) -> nn.Module:
    """Isensee et al., 2021."""
    from monai.networks.nets import DynUNet

    kernels = [(1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)]
    strides = [(1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2)]
    filters = (4, 8, 8, 8, 8) if config.size == TINY else (32, 64, 128, 256, 320)
    return DynUNet(3, config.channels, 1, kernels, strides, strides[1:], filters=filters)


class Volumetric(PeerNetwork):
    """A MONAI network on windows."""

    def __init__(self, config: PeerConfig, factory: Factory, multiple: tuple[int, int, int], whole: bool) -> None:
        super().__init__(config, multiple)
        self.network = factory(config)
        self._whole_window = whole

    def segment(self, x: Tensor) -> Tensor:
        return self.network(x)

    def window_multiple(self, x: Tensor) -> tuple[int, int, int]:
        """UNETR takes its one window; the others any multiple that leaves instance norm two voxels at the bottom."""
        if self._whole_window:
            return tuple(-(-n // 16) * 16 for n in self.config.roi)  # type: ignore[return-value]
        deep, high, wide = self.multiple
        alone = all(size <= step for size, step in zip(x.shape[2:], self.multiple, strict=True))
        return (deep, high, 2 * wide) if alone else self.multiple
