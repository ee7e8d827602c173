"""Rounds in the scene: one segmentation node a round, in a folder of the volume, and the memory that continues them.

Everything is ordinary scene data, found again by node references and attributes: a saved scene is the whole state, and
is harmless where this extension is absent.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from dataclasses import dataclass

import numpy as np
import slicer
from numpy.typing import NDArray

from ichhpinet.errors import InputError
from ichhpinet.scribbles import Scribbles
from ichhpinet.writing import HAEMORRHAGE_RGB, HAEMORRHAGE_TERM

from .boxes import Boxed
from .history import Strokes
from .nodes import Bool, Node, ijk_to_ras, labelmap_name, segment_box, set_segment, voxels, vtk_matrix

VOLUME_ROLE = "ICHHPINet.Volume"  # node reference: round, strokes, memory -> their CT
ROUND, PARENT, SECONDS, VOLUME_ML, STROKES, CHECKSUM = (
    f"ICHHPINet.{name}" for name in ("Round", "Parent", "Seconds", "VolumeMl", "Strokes", "Checksum")
)
MEMORY = "ICHHPINet.Memory"
FOLDER = " ICH"  # how the name of a volume's folder ends
PLACE = "ICHHPINet.IJKToRAS"  # of the CT when the memory began: moved as a whole, it is the same CT
MASK_ID = "Haemorrhage"
USED = {"UsedForeground": "Strokes: haemorrhage", "UsedBackground": "Strokes: not haemorrhage"}
FOREGROUND_RGB, BACKGROUND_RGB = (0.25, 0.85, 0.95), (0.98, 0.83, 0.25)  # the strokes: told apart by the colour-blind
HAEMORRHAGE_COLOUR = tuple(level / 255 for level in HAEMORRHAGE_RGB)
OUTLINE_OPACITY, FILL_OPACITY = 1.0, 0.3  # the bleed must be seen through its mask
MOST_COUNTED = 1000

_counted: dict[int, float] = {}  # ml of masks, by when they were changed last


@dataclass(frozen=True)
class Round:
    """A row of the round table. volume_ml: of its mask as it is. strokes: how many made it. node: its segmentation."""

    number: int
    parent: int | None
    volume_ml: float
    seconds: float
    strokes: int
    node: Node

    def delta_ml(self, rounds: dict[int, Round]) -> float | None:
        """Against the round that it started from; against nothing for a first one. None where that round is gone."""
        if self.parent is None:
            return self.volume_ml
        return None if self.parent not in rounds else self.volume_ml - rounds[self.parent].volume_ml

    def delta_percent(self, rounds: dict[int, Round]) -> float | None:
        """Share of the parent's volume, in %; None where there was none."""
        before = rounds.get(self.parent) if self.parent is not None else None
        if before is None or before.volume_ml == 0:
            return None
        return 100 * (self.volume_ml - before.volume_ml) / before.volume_ml


def add_round(
    volume: Node, number: int, parent: int | None, seconds: float, mask: Bool | Boxed, strokes: Scribbles | Strokes
) -> Round:
    """A segmentation node "<volume> ICH round <number>": the haemorrhage, and hidden, the strokes that made it."""
    mask = Boxed.of(mask)
    if isinstance(strokes, Scribbles):
        strokes = Strokes.of(strokes.foreground, strokes.background)
    scene = volume.GetScene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", scene.GenerateUniqueName(_name(volume, number)))
    try:
        _fill(node, volume, mask, strokes)
    except Exception:  # no half of a round stays
        _remove(node)
        raise
    millilitres = float(np.count_nonzero(mask.part)) * float(np.prod(volume.GetSpacing())) / 1000
    facts = {
        ROUND: str(number),
        PARENT: "" if parent is None else str(parent),
        SECONDS: f"{seconds:.3f}",
        VOLUME_ML: f"{millilitres:.6g}",
        STROKES: str(strokes.count),
        CHECKSUM: _checksum(mask),
    }
    for name, value in facts.items():
        node.SetAttribute(name, value)
    _file_under(volume, node)
    return _round(node)


def rounds_of(volume: Node) -> dict[int, Round]:
    """The volume's rounds in the scene, by number, however they came there."""
    found: dict[int, Round] = {}
    for node in _belonging(volume, "vtkMRMLSegmentationNode"):
        if node.GetAttribute(ROUND):
            one = _round(node)
            found.setdefault(one.number, one)  # a copy that the user made comes after, and is the user's
    return dict(sorted(found.items()))


def round_mask(one: Round, volume: Node) -> Bool:
    """(D, H, W) bool: the round's haemorrhage as it is in the scene."""
    return round_box(one, volume).whole()


def round_box(one: Round, volume: Node) -> Boxed:
    """`round_mask`, boxed."""
    return segment_box(one.node, MASK_ID, volume)


def round_strokes(one: Round, volume: Node) -> Strokes:
    """The strokes that made a round."""
    return Strokes.of(*(segment_box(one.node, name, volume) for name in USED))


def show_round(volume: Node, number: int | None) -> None:
    """Make this round's node the only visible one of the volume's; None: none."""
    for one in rounds_of(volume).values():
        if one.node.GetDisplayNode() is None:
            one.node.CreateDefaultDisplayNodes()
        one.node.GetDisplayNode().SetVisibility(one.number == number)


def shown_round(volume: Node) -> int | None:
    """The number of the visible round."""
    shown = [n for n, one in rounds_of(volume).items() if one.node.GetDisplayVisibility()]
    return shown[-1] if shown else None


def show_mask(one: Round, visible: bool) -> None:
    """The haemorrhage over the slices, or the slices without it; its surface in the 3D views stays as it is."""
    display = one.node.GetDisplayNode()
    display.SetSegmentVisibility2DFill(MASK_ID, visible)
    display.SetSegmentVisibility2DOutline(MASK_ID, visible)


def show_fill(one: Round, visible: bool) -> None:
    """The haemorrhage as outline and fill over the slices, or as the outline alone, for what is laid under it."""
    one.node.GetDisplayNode().SetSegmentVisibility2DFill(MASK_ID, visible)


def show_strokes(one: Round, visible: bool, opacity: float = 0.4) -> None:
    """Show the strokes that made a round, faintly, or hide them."""
    display = one.node.GetDisplayNode()
    for segment_id in USED:
        if one.node.GetSegmentation().GetSegment(segment_id) is not None:
            display.SetSegmentVisibility(segment_id, visible)
            display.SetSegmentVisibility3D(segment_id, False)  # the surface is the haemorrhage alone
            display.SetSegmentOpacity2DFill(segment_id, opacity)
            display.SetSegmentOpacity2DOutline(segment_id, opacity)


def show_3d(one: Round, visible: bool) -> None:
    """The haemorrhage as a smooth surface in the 3D views, made on request, for it costs more than the round's mask."""
    if visible:
        one.node.CreateClosedSurfaceRepresentation()
    one.node.GetDisplayNode().SetVisibility3D(visible)


def keep_memory(volume: Node, saved: bytes, current: int | None) -> None:
    """Store the session (the bytes of a session file) and the current round in the scene, as a text node."""
    node = _memory_node(volume)
    if node is None:
        scene = volume.GetScene()
        node = scene.AddNewNodeByClass("vtkMRMLTextNode", f"{volume.GetName()} ICH memory")
        node.SetNodeReferenceID(VOLUME_ROLE, volume.GetID())
        node.SetAttribute(MEMORY, "1")
        _file_under(volume, node)
    if not node.GetAttribute(PLACE):  # a scene from before it was noted: the engine has the CT where it lies now
        node.SetAttribute(PLACE, " ".join(map(repr, ijk_to_ras(volume).ravel().tolist())))
    node.SetText(base64.b64encode(saved).decode("ascii"))
    set_current(volume, current)


def set_current(volume: Node, current: int | None) -> None:
    """Note in the scene which round the next one starts from."""
    node = _memory_node(volume)
    if node is not None:
        node.SetAttribute(ROUND, "" if current is None else str(current))


def kept_memory(volume: Node) -> tuple[bytes, int | None] | None:
    """What `keep_memory` stored; None where nothing is. Raises: InputError where it is damaged, or gone."""
    node = _memory_node(volume)
    if node is None:
        if rounds_of(volume):
            raise InputError("the scene's ICH memory is gone; its rounds can be seen, but not continued")
        return None
    try:
        saved = base64.b64decode(node.GetText() or "", validate=True)
        current = int(node.GetAttribute(ROUND)) if node.GetAttribute(ROUND) else None
    except (binascii.Error, ValueError):
        raise InputError("the scene's ICH memory is damaged; its rounds can be seen, but not continued") from None
    return saved, current


def kept_place(volume: Node) -> NDArray[np.float64] | None:
    """(4, 4): where the CT lay when its memory began, if it was only moved since; None: not known, or scaled."""
    node = _memory_node(volume)
    words = (node.GetAttribute(PLACE) or "").split() if node is not None else []
    try:
        place = np.array([float(word) for word in words]).reshape(4, 4)
    except ValueError:
        return None
    lengths = [np.linalg.norm(matrix[:3, :3], axis=0) for matrix in (place, ijk_to_ras(volume))]
    return place if np.isfinite(place).all() and np.allclose(*lengths, rtol=1e-4) else None


def forget(volume: Node, but: Node | None = None) -> None:
    """Remove everything that this module put into the scene for the volume, except one node; a user's copies stay."""
    for kind in ("vtkMRMLSegmentationNode", "vtkMRMLTextNode", "vtkMRMLScalarVolumeNode"):
        for node, own in [(node, _is_own(node)) for node in _belonging(volume, kind) if node is not but]:
            if own:
                _remove(node)
            else:
                node.RemoveNodeReferenceIDs(VOLUME_ROLE)


def is_edited(one: Round, volume: Node) -> bool:
    """Whether a hand has changed the round's mask since it was made.

    In a scene from before its checksum was noted, or where it was moved away from the volume: whether it has not the
    ml any more that it was made with.
    """
    noted = one.node.GetAttribute(CHECKSUM)
    if noted and one.node.GetParentTransformNode() is volume.GetParentTransformNode():
        return bool(noted != _checksum(round_box(one, volume)))
    try:
        made_ml = float(one.node.GetAttribute(VOLUME_ML) or "")
    except ValueError:
        return False
    return not np.isclose(one.volume_ml, made_ml, rtol=2e-5, atol=0)  # it is noted with six digits


def copy_into(one: Round, volume: Node, target: Node, name: str) -> str:
    """Add the round's haemorrhage as a new segment of another segmentation, whose segments stay; its segment ID.

    An empty target comes to lie where the volume does, and is seen.

    Raises: InputError where the target is under another transform, or is a round or the strokes of a volume.
    """
    if _is_own(target):
        raise InputError("the segmentation is one of ICHHPINet's rounds or strokes; it must be one of your own")
    if target.GetSegmentation().GetNumberOfSegments() == 0:
        target.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
        target.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    if target.GetParentTransformNode() is not volume.GetParentTransformNode():
        raise InputError("the segmentation is under another transform than the volume; both must be under the same")
    if target.GetDisplayNode() is None:
        target.CreateDefaultDisplayNodes()
    segmentation = target.GetSegmentation()
    segment_id = str(segmentation.GenerateUniqueSegmentID(MASK_ID))
    set_segment(target, segment_id, round_box(one, volume), volume, name, HAEMORRHAGE_COLOUR)
    if segmentation.GetSegment(segment_id) is None:
        source = segmentation.GetSourceRepresentationName()
        raise InputError(
            f"the segmentation is made of {source} and takes no binary labelmap; convert it in the Segmentations "
            "module, or choose another"
        )
    tag = slicer.vtkSegment.GetTerminologyEntryTagName()
    segmentation.GetSegment(segment_id).SetTag(tag, HAEMORRHAGE_TERM)
    return segment_id


def _checksum(mask: Boxed) -> str:
    """Of where a mask lies and what it is."""
    mask = mask.holding(mask.part != 0)
    if not mask.part.size:
        return "0"
    place = repr((tuple(map(int, mask.corner)), tuple(map(int, mask.part.shape)))).encode()
    return f"{zlib.crc32(np.packbits(mask.part).tobytes(), zlib.crc32(place)):08x}"


def _is_own(node: Node) -> bool:
    """Whether a node was made here: a round, strokes, memory, overlays; not so a copy that the user made of a round."""
    volume = node.GetNodeReference(VOLUME_ROLE)
    if volume is None:
        return False
    made_once = node.GetAttribute(MEMORY) is not None or node.GetAttribute(ROUND) is None
    return made_once or any(one.node is node for one in rounds_of(volume).values())


def belongs_to(node: Node, volume: Node) -> bool:
    """Whether this module made the node for the volume."""
    return bool(node.GetNodeReferenceID(VOLUME_ROLE) == volume.GetID())


def adopt(volume: Node, node: Node) -> None:
    """Refer a node to the volume, put it under the volume's transform where it can be, and in the volume's folder."""
    node.SetNodeReferenceID(VOLUME_ROLE, volume.GetID())
    if hasattr(node, "SetAndObserveTransformNodeID"):
        node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    _file_under(volume, node)


def follow_transform(volume: Node) -> None:
    """Put everything that was made for the volume under the transform that the volume is under by now."""
    for kind in ("vtkMRMLSegmentationNode", "vtkMRMLScalarVolumeNode"):
        for node in _belonging(volume, kind):
            if node.GetParentTransformNode() is not volume.GetParentTransformNode():
                node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())


def move(volume: Node, matrix: NDArray[np.float64], transform_id: str | None) -> None:
    """Move what was made for the volume in its own coordinates, (4, 4); not what is under another transform by now."""
    for kind in ("vtkMRMLSegmentationNode", "vtkMRMLScalarVolumeNode"):
        for node in _belonging(volume, kind):
            if node.GetTransformNodeID() == transform_id:
                node.ApplyTransformMatrix(vtk_matrix(matrix))
                if kind == "vtkMRMLSegmentationNode":
                    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)


def _fill(node: Node, volume: Node, mask: Boxed, strokes: Strokes) -> None:
    """The segments of a round's node, and how they look."""
    node.SetNodeReferenceID(VOLUME_ROLE, volume.GetID())
    node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    node.CreateDefaultDisplayNodes()
    set_segment(node, MASK_ID, mask, volume, "Haemorrhage", HAEMORRHAGE_COLOUR)
    segment = node.GetSegmentation().GetSegment(MASK_ID)
    segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), HAEMORRHAGE_TERM)
    display = node.GetDisplayNode()
    painted = (strokes.foreground, strokes.background)
    for (segment_id, name), box, colour in zip(USED.items(), painted, (FOREGROUND_RGB, BACKGROUND_RGB)):
        if box.part.any():
            set_segment(node, segment_id, box, volume, name, colour)
            display.SetSegmentVisibility(segment_id, False)
    display.SetOpacity2DFill(FILL_OPACITY)
    display.SetOpacity2DOutline(OUTLINE_OPACITY)


def _remove(node: Node) -> None:
    """A node with how it is displayed, which the scene would keep."""
    scene = node.GetScene()
    displays = []
    if node.IsA("vtkMRMLDisplayableNode"):
        displays = [node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes())]
    for one in (node, *displays):
        scene.RemoveNode(one)


def _belonging(volume: Node, kind: str) -> list[Node]:
    scene = volume.GetScene()
    nodes = (scene.GetNthNodeByClass(index, kind) for index in range(scene.GetNumberOfNodesByClass(kind)))
    return [node for node in nodes if belongs_to(node, volume)]


def _memory_node(volume: Node) -> Node | None:
    found = [node for node in _belonging(volume, "vtkMRMLTextNode") if node.GetAttribute(MEMORY)]
    return found[-1] if found else None


def _round(node: Node) -> Round:
    def number(name: str) -> float:
        try:
            return float(node.GetAttribute(name) or 0)
        except ValueError:
            return 0.0

    parent = node.GetAttribute(PARENT)
    return Round(
        int(number(ROUND)),
        int(parent) if parent and parent.isdigit() else None,
        _mask_ml(node, number(VOLUME_ML)),
        number(SECONDS),
        int(number(STROKES)),
        node,
    )


def _mask_ml(node: Node, noted: float) -> float:
    """Of the mask as it is in the scene: a hand may have been at it since the round."""
    segment = node.GetSegmentation().GetSegment(MASK_ID)
    image = None if segment is None else segment.GetRepresentation(labelmap_name())
    if image is None:
        return noted
    changed = int(image.GetMTime())  # no two images in a process share one
    if changed not in _counted:
        if len(_counted) >= MOST_COUNTED:
            _counted.clear()
        inside = int(np.count_nonzero(voxels(image) == segment.GetLabelValue()))
        _counted[changed] = inside * float(np.prod(image.GetSpacing())) / 1000
    return _counted[changed]


def _name(volume: Node, number: int) -> str:
    return f"{volume.GetName()} ICH round {number}"


def _file_under(volume: Node, node: Node) -> None:
    """Put the node into the volume's folder of the subject hierarchy, where the scene has one."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(volume.GetScene())
    if hierarchy is None:
        return
    item = hierarchy.GetItemByDataNode(volume)
    parent = hierarchy.GetItemParent(item) if item else hierarchy.GetSceneItemID()
    folder = _folder(volume, hierarchy, parent) or hierarchy.CreateFolderItem(parent, f"{volume.GetName()}{FOLDER}")
    known = hierarchy.GetItemByDataNode(node)
    if known:
        hierarchy.SetItemParent(known, folder)
    else:
        hierarchy.CreateItem(folder, node)


def _folder(volume: Node, hierarchy: Node, parent: int) -> int | None:
    """Where other things of the volume are; its name tells nothing: two volumes may have one, or get another."""
    for kind in ("vtkMRMLTextNode", "vtkMRMLSegmentationNode"):
        for node in _belonging(volume, kind):
            item = hierarchy.GetItemByDataNode(node)
            above = hierarchy.GetItemParent(item) if item else 0
            if above and hierarchy.GetItemParent(above) == parent and hierarchy.GetItemName(above).endswith(FOLDER):
                return int(above)
    return None
