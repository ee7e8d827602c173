"""Contestants' names as the papers write them."""

from __future__ import annotations

from collections.abc import Iterable

from . import published

OWN = "ICH-HPINet"
NAMES = {
    "ichhpinet": OWN,
    "weights": OWN,
    "grow_from_seeds": "Grow from seeds (3D Slicer)",
    "threshold_islands": "45–100 HU, islands under strokes",
    "random_walker": "Random walker",
    "volume-only": "Volume-Pro",
    "slice-only": "Slice-Pro",
    "no-memory": "w/o Memory",
    "monai-unet": "U-Net",
    "monai-vnet": "V-Net",
    "monai-segresnet": "SegResNet",
    "monai-attention-unet": "Attention U-Net",
    "monai-unetr": "UNETR",
    "monai-swin-unetr": "Swin UNETR",
    "monai-dynunet": "nnU-Net",
    "unet-2d": "2D U-Net (thesis)",
    "slex-net": "SLEX-Net",
}
for _line in published.lines(published.TABLE_3):
    NAMES["ce-{:g}-dice-{:g}".format(*map(float, _line.name.split()))] = _line.name
for _line in published.lines(published.TABLE_4):
    NAMES["lambda-{:g}-{:g}-{:g}".format(*map(float, _line.name.split()))] = _line.name
for _table in (published.TABLE_1, published.TABLE_2, published.TABLE_HEMSEG):
    NAMES |= {_line.name.lower(): _line.name for _line in published.lines(_table)}  # medsam2 is MedSAM2


def label(method: str, among: Iterable[str] = ()) -> str:
    """A contestant's name as the papers write it. among: all contestants; where two would have one name, its own."""
    shown = _shown(method)
    return method if any(other != method and _shown(other) == shown for other in among) else shown


def _shown(method: str) -> str:
    return NAMES.get(method.lower(), method)
