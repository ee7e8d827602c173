"""ModelConfig: both sizes of the same network, and the switches of the ablations."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ..errors import InputError
from ..preprocessing import STROKE_REACHES


@dataclass(frozen=True)
class ModelConfig:
    """Everything that shapes the network. Strides are those of the slice grid unless they say otherwise.

    The volume branch (VIM) works at half the in-plane resolution of the slices, as in the published code
    (256 against 512), so its maps at its own strides 1, 2, 4 lie at strides 2, 4, 8 of the slice grid.
    """

    name: str
    pixel_mm: float
    """In-plane size of a working pixel."""
    min_slice_mm: float
    """Thinner slices are averaged until they are about this thick; 0: never."""
    volume_widths: tuple[int, ...]
    volume_pools: tuple[tuple[int, int, int], ...]
    """(z, y, x) pooling between the levels of VIM."""
    volume_convolutions: int
    """Convolutions in a residual block of VIM."""
    slice_block: str
    """'basic' or 'bottleneck' residual blocks in SIM and MPFFM."""
    sim_widths: tuple[int, ...]
    sim_depths: tuple[int, ...]
    sim_stem: int
    """Stride of SIM's stem: 4 is ResNet's, 2 keeps small lesions."""
    aspp_width: int
    aspp_rates: tuple[int, ...]
    sim_low_level: int
    """Channels of the low-level skip into SIM's decoder (DeepLabV3+); 0: none (DeepLabV3, as published)."""
    key_stem: int
    key_widths: tuple[int, ...]
    """Channels of the query encoder's three skip maps, fine to coarse: f4, f8, f16 (paper), f2, f4, f8 (compact)."""
    key_depths: tuple[int, ...]
    value_widths: tuple[int, ...]
    value_depths: tuple[int, ...]
    key_channels: int
    value_channels: int
    decoder_widths: tuple[int, ...]
    """Channels of the mask decoder, coarse to fine, from the memory's stride to stride 2."""
    refine_channels: int
    """Channels of a last stage at stride 1 that sees the image; 0: the logits are interpolated, as published."""
    boundary_channels: int = 0
    """Channels of a head at stride 1 that corrects the joined logits along the border; 0: none, as published."""
    correction_channels: int = 0
    """Channels of a head that corrects the logits about strokes that contradict the round before; 0: none."""
    read_limit: int = 6
    """A read of the memory looks at no more than this many corrected slices, the nearest, and one recent one."""
    wave_slices: int = 1
    """Propagation decodes this many distances at once; the next wave reads the furthest of them as its recent one."""
    volume_only: bool = False
    slice_only: bool = False
    use_memory: bool = True
    """False: the paper's 'no memory', cleared between slices: only the slice just painted is carried on."""
    use_affinity: bool = True
    """False: the value of the nearest memory slice is taken where it lies, without matching."""
    affinity_reach: float = 0.0
    """How far, in positions of the memory's grid, a read looks beside its own place: the standard deviation of a
    Gaussian (as Seong et al., ECCV 2020); 0: anywhere alike, as published."""
    use_fusion: bool = True
    """False: the volume branch's features do not enter the mask decoder."""
    stroke_reach: str = "geodesic"
    """How far strokes speak beyond where they are painted: one of preprocessing.STROKE_REACHES."""
    use_likeness: bool = True
    """False: no branch is told how much a voxel's density is like the painted (strokes still reach along it)."""

    def __post_init__(self) -> None:
        if self.volume_only and self.slice_only:
            raise InputError("volume_only and slice_only are both set; at most one of them must be")
        if self.stroke_reach not in STROKE_REACHES:
            raise InputError(f"stroke_reach is {self.stroke_reach!r}; it must be one of {', '.join(STROKE_REACHES)}")
        if not 0 <= self.affinity_reach < math.inf:
            raise InputError(f"affinity_reach is {self.affinity_reach}; it must be 0 or more")
        if len(self.volume_pools) != len(self.volume_widths) - 1:
            raise InputError(
                f"volume_pools has {len(self.volume_pools)} entries; it must have {len(self.volume_widths) - 1}"
            )

    @classmethod
    def paper(cls, **switches: Any) -> ModelConfig:
        """The published widths: residual 3D U-Net 64..1024, DeepLabV3 on ResNet-50, STCN with C = 256 (eqs. 2-5)."""
        config = cls(
            name="paper",
            pixel_mm=0.5,
            min_slice_mm=0.0,
            volume_widths=(64, 128, 256, 512, 1024),
            volume_pools=((2, 2, 2),) * 4,
            volume_convolutions=3,
            slice_block="bottleneck",
            sim_widths=(256, 512, 1024, 2048),
            sim_depths=(3, 4, 6, 3),
            sim_stem=4,
            aspp_width=256,
            aspp_rates=(6, 12, 18),
            sim_low_level=0,
            key_stem=4,
            key_widths=(256, 512, 1024),
            key_depths=(3, 4, 6),
            value_widths=(64, 128, 256),
            value_depths=(2, 2, 2),
            key_channels=256,
            value_channels=256,
            decoder_widths=(512, 256, 256, 64),
            refine_channels=0,
        )
        return replace(config, **switches)

    @classmethod
    def compact(cls, **switches: Any) -> ModelConfig:
        """What ships: the same parts, narrow, on 1 mm pixels."""
        config = cls(
            name="compact",
            pixel_mm=1.0,
            min_slice_mm=2.5,
            volume_widths=(24, 48, 96, 128),
            volume_pools=((1, 2, 2), (1, 2, 2), (2, 2, 2)),
            volume_convolutions=2,
            slice_block="basic",
            sim_widths=(24, 48, 64, 96),
            sim_depths=(1, 1, 1, 1),
            sim_stem=2,
            aspp_width=64,
            aspp_rates=(2, 4, 6),
            sim_low_level=16,
            key_stem=2,
            key_widths=(24, 48, 96),
            key_depths=(1, 1, 2),
            value_widths=(16, 32, 64),
            value_depths=(1, 1, 1),
            key_channels=32,
            value_channels=64,
            decoder_widths=(96, 48, 24),
            refine_channels=8,
            boundary_channels=16,
            correction_channels=24,
            wave_slices=3,
            affinity_reach=0.6,
        )
        return replace(config, **switches)

    @classmethod
    def tiny(cls, **switches: Any) -> ModelConfig:
        """For tests: every part, a few channels each."""
        small = dict(
            name="tiny",
            volume_widths=(4, 6, 8, 8),
            sim_widths=(4, 6, 8, 8),
            aspp_width=8,
            sim_low_level=4,
            key_widths=(4, 6, 8),
            value_widths=(4, 6, 8),
            key_depths=(1, 1, 1),
            key_channels=4,
            value_channels=8,
            decoder_widths=(8, 6, 4),
            refine_channels=2,
            boundary_channels=2,
            correction_channels=2,
        )
        return cls.compact(**(small | switches))

    @classmethod
    def named(cls, name: str, **switches: Any) -> ModelConfig:
        """`paper`, `compact` or `tiny`. Raises: InputError for another name or an unknown switch."""
        known = {"paper": cls.paper, "compact": cls.compact, "tiny": cls.tiny}
        if name not in known:
            raise InputError(f"model is {name!r}; it must be one of {', '.join(known)}")
        unknown = set(switches) - {field.name for field in fields(cls)}
        if unknown:
            raise InputError(f"{', '.join(sorted(unknown))} is not a field of ModelConfig")
        return known[name](**switches)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as a checkpoint carries them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """The inverse of `to_dict`. Raises: InputError where a field is missing or unknown."""

        def frozen(value: Any) -> Any:
            return tuple(frozen(item) for item in value) if isinstance(value, (list, tuple)) else value

        try:
            return cls(**{key: frozen(value) for key, value in values.items()})
        except TypeError as error:
            raise InputError(f"the model's configuration does not fit this version: {error}") from error
