"""PeerConfig: which architecture, how large, what it sees. Plain values; no network here."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ichhpinet.errors import InputError

PUBLISHED, TINY = "published", "tiny"
SIZES = (PUBLISHED, TINY)
PROMPTS = ("image", "previous", "foreground", "background")  # channels with prompts; without: the image alone


@dataclass(frozen=True)
class PeerConfig:
    """name: of registry.PEERS. size: the published widths, or tiny for tests.

    prompts: sees the strokes so far and the round before, as the network that it is compared with; False: the image
    alone, as HemSeg-200 trained them (strokes are then only obeyed where they lie).
    roi: (d, h, w) working voxels of a window; larger volumes are covered by windows that overlap.
    pixel_mm, min_slice_mm: of the working grid, as ModelConfig's.
    """

    name: str
    size: str = PUBLISHED
    prompts: bool = True
    roi: tuple[int, int, int] = (16, 96, 96)
    pixel_mm: float = 1.0
    min_slice_mm: float = 2.5

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise InputError(f"size is {self.size!r}; it must be one of {', '.join(SIZES)}")
        if len(self.roi) != 3 or any(n < 16 or n % 16 for n in self.roi[1:]) or self.roi[0] < 2:
            raise InputError(f"roi is {self.roi}; it must be (d, h, w) with h and w multiples of 16, d 2 or more")

    @property
    def channels(self) -> int:
        """How many the network takes."""
        return len(PROMPTS) if self.prompts else 1

    @classmethod
    def named(cls, name: str, **switches: Any) -> PeerConfig:
        """A peer with some fields changed. Raises InputError for a field that is none."""
        unknown = set(switches) - {field.name for field in fields(cls)}
        if unknown:
            raise InputError(f"{', '.join(sorted(unknown))} is not a field of PeerConfig")
        changes = {key: tuple(value) if isinstance(value, list) else value for key, value in switches.items()}
        return replace(cls(name), **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as a checkpoint carries them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PeerConfig:
        """The inverse of `to_dict`. Raises InputError where it does not fit."""
        return cls.named(**values)
