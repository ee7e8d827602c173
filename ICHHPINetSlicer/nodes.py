"""MRML nodes <-> numpy: volume node to CTVolume, painted segments to Scribbles, masks to segments. Geometry both ways.

Only MRML and VTK classes, so that it runs the same in 3D Slicer and on slicer-core.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util import numpy_support

from ichhpinet.errors import InputError
from ichhpinet.hounsfield import to_hounsfield
from ichhpinet.scribbles import Scribbles
from ichhpinet.straighten import SliceStack, straighten
from ichhpinet.volume import CTVolume

from .boxes import Boxed

Bool = NDArray[np.bool_]
Node = Any  # a vtkMRML... class: VTK's wrapping carries no types

FOREGROUND_ID, BACKGROUND_ID = "Foreground", "Background"
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
HOUNSFIELD = "ICHHPINet.HU"  # an attribute: the values are HU, whatever they look like
ASKED = "asked"  # its value where the user said so, against what the values look like
OTHERWISE = "as scanners give them: choose a head CT"
SAME_GRID = 1e-4  # mm, and shares of a direction cosine: what saving a scene may change
SAME_PLACE_MM = 0.01  # two slices closer than this are one place scanned twice
RIGHT_ANGLED = 1e-3  # cosine between rows and columns, as headers round them


def volume_from_node(node: Node, to_ras: NDArray[np.float64] | None = None) -> CTVolume:
    """The CT that a scalar volume node holds, on its own grid (parent transforms apart).

    Values are HU as Slicer's readers give them; a picture is guessed by the table of `hounsfield`, with a note, but not
    in a node that `node_from_volume` made, nor after `take_as_hounsfield`. to_ras: (4, 4), where it lay, in place of
    where it lies.

    Raises: InputError for what is no CT: no image, several components, not HU, a sheared grid.
    """
    check_image(node)
    matrix = RAS_TO_LPS @ (ijk_to_ras(node) if to_ras is None else to_ras)
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    direction = matrix[:3, :3] / np.where(spacing > 0, spacing, 1.0)
    hu = voxels(node.GetImageData()).astype(np.float32)
    hu.setflags(write=False)  # ours alone: a CTVolume takes it over
    checked = CTVolume.from_array(hu, tuple(spacing[::-1]), tuple(matrix[:3, 3]), direction)
    mark = node.GetAttribute(HOUNSFIELD)
    values, notes = to_hounsfield(checked.hu, "the volume", otherwise=OTHERWISE, known=mark is not None)
    if mark == ASKED:
        notes = (f"values {values.min():g} to {values.max():g} were taken as HU, as asked",)
    return checked if not notes else CTVolume(values, checked.spacing_mm, checked.origin, checked.direction, notes)


def take_as_hounsfield(node: Node) -> None:
    """From now on the volume's values are HU, whatever they look like; saved with the scene."""
    node.SetAttribute(HOUNSFIELD, ASKED)


def check_image(node: Node) -> None:
    """Raises: InputError for a volume node with no image, or with several values a voxel."""
    image = node.GetImageData() if node is not None else None
    if image is None or image.GetPointData().GetScalars() is None:
        raise InputError("the volume holds no image; it must be a head CT")
    count = image.GetNumberOfScalarComponents()
    if count != 1:
        raise InputError(f"the volume has {count} values a voxel; it must be a CT, with one")


def off_grid_mm(node: Node) -> float:
    """How far off its regular grid a transform that is not linear bends the volume; 0 under none or a linear one.

    Slicer gives a CT with a tilted gantry or uneven slice steps such a transform; its paint effect does not follow it.
    """
    transform = node.GetParentTransformNode()
    if node.GetImageData() is None or transform is None or transform.IsTransformToWorldLinear():
        return 0.0
    corners = _slice_corners(node)
    return float(np.linalg.norm(_to_world(node, corners) - corners, axis=-1).max())


def check_on_grid(node: Node) -> None:
    """Raises: InputError for a volume that lies more than half a pixel off its grid: strokes would miss."""
    off = off_grid_mm(node)
    if off > min(node.GetSpacing()) / 2:
        raise InputError(
            f"the volume is under a transform that bends it, by {off:.1f} mm (as Slicer gives one to a tilted gantry); "
            "painting would miss: straighten it first"
        )


def straightened_node(node: Node) -> Node:
    """A new volume node of the slices at their places in the world, resampled onto a straight grid as DICOM is read.

    Raises: InputError for what is no CT, or where the slices are not shifted each as a whole.
    """
    ct = volume_from_node(node)
    world = _to_world(node, _slice_corners(node)) * (-1, -1, 1)  # LPS
    within = world - world[:, :1, :1]
    down, across = within[0, 1, 0], within[0, 0, 1]
    depth, height, width = ct.shape
    pixel_mm = float(np.linalg.norm(down)) / height, float(np.linalg.norm(across)) / width
    skew = abs(float(down @ across)) / float(np.linalg.norm(down) * np.linalg.norm(across))
    if np.abs(within - within[0]).max() > min(pixel_mm) / 2 or skew > RIGHT_ANGLED:
        raise InputError(
            "the volume's transform bends its slices; only whole slices that are shifted can be straightened: "
            "harden the transform instead"
        )
    row = across / np.linalg.norm(across)
    column = down - (down @ row) * row
    column /= np.linalg.norm(column)
    normal = np.cross(row, column)
    order = np.argsort(world[:, 0, 0] @ normal)
    stack = SliceStack(world[order, 0, 0], row, column, pixel_mm)
    if depth < 2 or stack.steps_mm.min() < SAME_PLACE_MM:
        raise InputError(f"the volume has {depth} slices, not at as many places; it must have at least 2 of them apart")
    straight = straighten([ct.hu[index] for index in order], stack)
    direction = np.stack([row, column, normal], axis=1)
    made = CTVolume.from_array(straight.hu, straight.spacing_mm, straight.origin, direction)
    return node_from_volume(node.GetScene(), made, f"{node.GetName()} straightened")


def node_from_volume(scene: Node, ct: CTVolume, name: str) -> Node:
    """A scalar volume node with the CT's values and place, which `volume_from_node` gives back; whole HU as short."""
    limits = np.iinfo(np.int16)
    whole = bool((ct.hu == np.rint(ct.hu)).all()) and ct.hu.min() >= limits.min and ct.hu.max() <= limits.max
    to_lps = np.eye(4)
    to_lps[:3, :3] = ct.direction * np.array(ct.spacing_mm[::-1])
    to_lps[:3, 3] = ct.origin
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    node.SetAndObserveImageData(image_of(ct.hu.astype(np.int16) if whole else ct.hu))
    node.SetIJKToRASMatrix(vtk_matrix(RAS_TO_LPS @ to_lps))
    node.SetAttribute(HOUNSFIELD, "1")
    node.CreateDefaultDisplayNodes()
    return node


def ijk_to_ras(node: Node) -> NDArray[np.float64]:
    """(4, 4): voxel (i, j, k) -> RAS mm, in the node's own coordinates."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return _array(matrix)


def vtk_matrix(values: NDArray[np.float64]) -> Any:
    """vtkMatrix4x4 of (4, 4)."""
    matrix = vtk.vtkMatrix4x4()
    for row, column in np.ndindex(4, 4):
        matrix.SetElement(row, column, float(values[row, column]))
    return matrix


def image_of(values: NDArray[Any]) -> Any:
    """vtkImageData of (D, H, W) values of a number type, copied; it has no place of its own: spacing 1, origin 0."""
    image = vtk.vtkImageData()
    image.SetDimensions(*reversed(values.shape))
    image.AllocateScalars(numpy_support.get_vtk_array_type(values.dtype), 1)
    voxels(image)[:] = values
    return image


def voxels(image: Any) -> NDArray[Any]:
    """(D, H, W) view of a one-component vtkImageData."""
    width, height, depth = image.GetDimensions()
    return numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(depth, height, width)


def painted_strokes(strokes: Node, volume: Node) -> Scribbles:
    """What was painted in the two segments FOREGROUND_ID and BACKGROUND_ID, on the volume's grid.

    Raises: InputError where a voxel is painted both ways, or the two nodes are under different transforms.
    """
    return Scribbles(segment_mask(strokes, FOREGROUND_ID, volume), segment_mask(strokes, BACKGROUND_ID, volume))


def segment_mask(segmentation: Node, segment_id: str, volume: Node) -> Bool:
    """(D, H, W) bool: a segment on the volume's grid, nearest voxel where the segment lies on another one.

    Raises: InputError for different parent transforms: the two would not lie where they are seen.
    """
    return segment_box(segmentation, segment_id, volume).whole()


def segment_box(segmentation: Node, segment_id: str, volume: Node) -> Boxed:
    """`segment_mask`, boxed."""
    if segmentation.GetParentTransformNode() is not volume.GetParentTransformNode():
        raise InputError("the segmentation and the volume are under different transforms; both must be under the same")
    width, height, depth = volume.GetImageData().GetDimensions()
    nothing = Boxed((depth, height, width), (0, 0, 0), np.zeros((0, 0, 0), bool))
    labelmap = slicer.vtkOrientedImageData()
    known = segmentation.GetSegmentation().GetSegment(segment_id) is not None
    if not known or not segmentation.GetBinaryLabelmapRepresentation(segment_id, labelmap) or _is_empty(labelmap):
        return nothing
    if not _on_grid_of(labelmap, volume):
        labelmap = _resampled(labelmap, volume)
        if _is_empty(labelmap):
            return nothing
    low, high = _extent(labelmap)
    start, stop = np.maximum(low, 0), np.minimum(high, nothing.shape)
    if not (start < stop).all():
        return nothing
    inside = tuple(slice(a, b) for a, b in zip(start - low, stop - low))
    known = Boxed(nothing.shape, tuple(map(int, start)), np.zeros((0, 0, 0), bool))
    return known.holding(voxels(labelmap)[inside] != 0)


def set_segment(
    segmentation: Node, segment_id: str, mask: Bool | Boxed, volume: Node, name: str, colour: tuple[float, float, float]
) -> None:
    """Make a segment of (D, H, W) bool, or give an existing one this content. Only the mask's box is stored."""
    known = segmentation.GetSegmentation().GetSegment(segment_id)
    if known is None:
        known = slicer.vtkSegment()
        known.SetName(name)
        known.SetColor(*colour)
        known.AddRepresentation(labelmap_name(), labelmap_of(mask, volume))
        segmentation.GetSegmentation().AddSegment(known, segment_id)
        return
    image = labelmap_of(mask, volume)
    slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(
        image, segmentation, segment_id, slicer.vtkSlicerSegmentationsModuleLogic.MODE_REPLACE, image.GetExtent()
    )


def labelmap_of(mask: Bool | Boxed, volume: Node) -> Any:
    """vtkOrientedImageData (unsigned char) of a mask's bounding box, in the volume's place; one voxel of 0 if empty."""
    if mask.shape != voxels(volume.GetImageData()).shape:
        raise InputError(f"the mask is {mask.shape}; the volume is {voxels(volume.GetImageData()).shape}")
    boxed = Boxed.of(mask)
    part = boxed.part if boxed.part.size else np.zeros((1, 1, 1), bool)
    image = slicer.vtkOrientedImageData()
    sides = list(zip(boxed.corner, part.shape))
    image.SetExtent(*(n for at, long in sides[::-1] for n in (at, at + long - 1)))
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    voxels(image)[:] = part
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    image.SetImageToWorldMatrix(matrix)
    return image


def _slice_corners(node: Node) -> NDArray[np.float64]:
    """(D, 2, 2, 3) RAS mm, without parent transforms: of each slice, its first pixel and one beyond the last ones."""
    width, height, depth = node.GetImageData().GetDimensions()
    k, j, i = np.meshgrid(np.arange(depth), (0, height), (0, width), indexing="ij")
    return np.asarray((np.stack([i, j, k, np.ones_like(k)], axis=-1) @ ijk_to_ras(node).T)[..., :3], dtype=np.float64)


def _to_world(node: Node, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (..., 3) in the node's own RAS, through its parent transforms."""
    transform, given, moved = vtk.vtkGeneralTransform(), vtk.vtkPoints(), vtk.vtkPoints()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(node.GetParentTransformNode(), None, transform)
    flat = np.ascontiguousarray(points.reshape(-1, 3), dtype=np.float64)
    given.SetData(numpy_support.numpy_to_vtk(flat, deep=True))
    moved.SetDataTypeToDouble()
    transform.TransformPoints(given, moved)
    return np.array(numpy_support.vtk_to_numpy(moved.GetData())).reshape(points.shape)


def labelmap_name() -> str:
    """Of the representation of a segment as voxels."""
    return str(slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName())


def _array(matrix: Any) -> NDArray[np.float64]:
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def _is_empty(image: Any) -> bool:
    return image.GetPointData().GetScalars() is None or image.GetNumberOfPoints() == 0


def _extent(image: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last + 1 index of an image, (z, y, x)."""
    extent = image.GetExtent()
    return np.array([extent[4], extent[2], extent[0]]), np.array([extent[5], extent[3], extent[1]]) + 1


def _on_grid_of(labelmap: Any, volume: Node) -> bool:
    matrix = vtk.vtkMatrix4x4()
    labelmap.GetImageToWorldMatrix(matrix)
    return bool(np.allclose(_array(matrix), ijk_to_ras(volume), atol=SAME_GRID))


def _resampled(labelmap: Any, volume: Node) -> Any:
    reference, out = slicer.vtkOrientedImageData(), slicer.vtkOrientedImageData()
    reference.SetExtent(volume.GetImageData().GetExtent())
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    reference.SetImageToWorldMatrix(matrix)
    if not slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
        labelmap, reference, out, False
    ):
        raise InputError("the segment cannot be brought onto the volume's grid; it must be a binary labelmap near it")
    return out
