"""3D Slicer's Grow from seeds: its own filter, vtkImageGrowCutSegment of slicer-core, in a box round the strokes.

Slicer runs it in the strokes' bounding box grown by 20 %, because its users surround the lesion with background strokes
on several slices. Here there is one stroke beside it, and such a box would cut the lesion off. So the box reaches
25-30 mm beyond the strokes, and what a user would fill in with a threshold and a frame counts as background: below
25 HU, above 110 HU, the faces of the box. The image is smoothed, HU are cut to 0-100 and Slicer's seed locality is 1.
Each of these made the method better on ten heads made for the purpose (mean Dice after rounds 1, 3, 5: 0.53, 0.71,
0.70; with Slicer's locality of 0: 0.48, 0.54, 0.68). Without a background stroke a frame is drawn 15 mm round the
strokes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ichhpinet.volume import CTVolume

from ..regions import Bool
from .region import Region, around_strokes, on_volume

DARKEST_BLOOD_HU = 25.0
WINDOW_HU = (0.0, 100.0)
SEED_LOCALITY = 1.0  # HU per mm: Slicer's slider, whose default is 0


def grow_from_seeds(volume: CTVolume, foreground: Bool, background: Bool) -> Bool:
    """Fast grow-cut from the strokes; see the package for the arguments."""
    region = around_strokes(volume, foreground, background)
    if region is None:
        return np.zeros(volume.shape, bool)
    return on_volume(grown(region) == 1, region, volume, foreground, background)


def grown(region: Region) -> NDArray[np.uint8]:
    """(d, h, w) uint8 of labels 0-2 grown from the region's seeds."""
    from slicer import vtkImageGrowCutSegment  # loads 200 MB of libraries: only when it is used
    from vtkmodules.util.numpy_support import vtk_to_numpy

    grow = vtkImageGrowCutSegment()
    grow.SetIntensityVolume(_image(np.clip(region.hu, *WINDOW_HU), region.spacing_mm))
    grow.SetSeedLabelVolume(_image(region.background_seeds(DARKEST_BLOOD_HU), region.spacing_mm))
    grow.SetDistancePenalty(SEED_LOCALITY)
    grow.Update()
    return vtk_to_numpy(grow.GetOutput().GetPointData().GetScalars()).reshape(region.hu.shape)


def _image(array: NDArray[Any], spacing_mm: tuple[float, float, float]) -> Any:
    from slicer import vtkOrientedImageData
    from vtkmodules.util.numpy_support import numpy_to_vtk

    image = vtkOrientedImageData()
    image.SetDimensions(*reversed(array.shape))
    image.SetSpacing(*reversed(spacing_mm))
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(array).ravel(), deep=True))
    return image
