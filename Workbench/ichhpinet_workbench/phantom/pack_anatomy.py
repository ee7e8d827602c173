"""Packs the CT template and its tissue maps into anatomy.npz, once. A development command: needs SimpleITK and scipy.

python -m ichhpinet_workbench.phantom.pack_anatomy TEMPLATE_FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

# Signed distances are kept as uint8: 128 is the surface, one step is 0.5 mm, inside is above 128 (+-64 mm).
DISTANCE_STEP_MM = 0.5
VOXEL_MM = 2.0
MARGIN = 8  # voxels of air added in front and behind: the template is cut close there


def read_map(path: Path) -> np.ndarray:
    """A template map as (D, H, W) float32, slices upwards, rows from the front to the back."""
    import SimpleITK as sitk

    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[:, ::-1].astype(np.float32)


def signed_distance(mask: np.ndarray) -> np.ndarray:
    """Millimetres to the border of a bool mask, positive inside, as uint8 steps around 128."""
    from scipy import ndimage

    inside = ndimage.distance_transform_edt(mask) - 0.5
    outside = ndimage.distance_transform_edt(~mask) - 0.5
    distance = np.where(mask, inside, -outside) * VOXEL_MM
    distance = ndimage.gaussian_filter(distance, 0.6)
    return np.clip(np.round(distance / DISTANCE_STEP_MM) + 128, 0, 255).astype(np.uint8)


def largest(mask: np.ndarray) -> np.ndarray:
    """The largest connected component of a bool mask."""
    from scipy import ndimage

    components, _ = ndimage.label(mask)
    return components == np.bincount(components.ravel())[1:].argmax() + 1


def ventricles(csf: np.ndarray, cavity: np.ndarray) -> np.ndarray:
    """Lateral, third and fourth ventricle out of the CSF map, by place (mm of the template's space)."""
    from scipy import ndimage

    z, y, x = np.meshgrid(*(np.arange(n) for n in csf.shape), indexing="ij")
    z, y, x = z * 2.0 - 72, 126 - 2.0 * (csf.shape[1] - 1) + 2.0 * (csf.shape[1] - 1 - y) - 36, np.abs(90 - 2.0 * x)
    deep = ndimage.distance_transform_edt(cavity) * VOXEL_MM > 22
    lateral = (csf > 0.35) & deep & (x < 34) & (z > -2) & (z < 36) & (y > -66) & (y < 44)
    lateral &= ~((x < 4) & (y < -28)) & ~((z < 4) & (y < -24)) & ~((x > 20) & (y > -22))
    third = (csf > 0.35) & (x < 5) & (z > -10) & (z < 14) & (y > -26) & (y < 6)
    fourth = (csf > 0.3) & (x < 10) & (z < -18) & (z > -44) & (y < -36) & (y > -60)
    return largest(lateral | third) | fourth


def pack(folder: Path) -> dict[str, np.ndarray]:
    """The channels of anatomy.npz: uint8 (D, H, W) on the template's 2 mm grid, with margins."""
    from scipy import ndimage

    def filled(mask: np.ndarray) -> np.ndarray:
        return np.stack([ndimage.binary_fill_holes(plane) for plane in mask])

    hu = read_map(folder / "scct_hu_2mm.nii.gz")
    grey, white, csf = (read_map(folder / f"sc{name}.nii.gz") for name in ("grey", "white", "csf"))
    cavity = largest(filled(ndimage.binary_closing(grey + white + csf > 0.5, iterations=2)))
    vent = ventricles(csf, cavity)
    head = largest(filled(hu > -350))
    level = np.interp(np.arange(len(hu)), (20, 32), (110.0, 210.0))[:, None, None]  # the averaged base is paler
    bone = (hu > level) & ~cavity
    air = head & (hu < -80) & (ndimage.distance_transform_edt(head) > 3)
    outer_csf = np.where(ndimage.binary_dilation(vent, iterations=3), 0.0, csf)
    outer_csf = ndimage.gaussian_filter(outer_csf, 0.4)
    maps = {
        "cavity": signed_distance(cavity),
        "head": signed_distance(head),
        "bone": signed_distance(bone),
        "air": signed_distance(air),
        "ventricle": signed_distance(vent),
        "white": np.round(white * 255).astype(np.uint8),
        "csf": np.round(outer_csf * 255).astype(np.uint8),
    }
    pad = ((0, 6), (MARGIN, MARGIN), (MARGIN, MARGIN))
    return {name: np.pad(values, pad, mode="edge") for name, values in maps.items()}


def main(arguments: list[str]) -> None:
    """Write anatomy.npz beside this file."""
    maps = pack(Path(arguments[0]))
    np.savez_compressed(Path(__file__).with_name("anatomy.npz"), **maps)


if __name__ == "__main__":
    main(sys.argv[1:])
