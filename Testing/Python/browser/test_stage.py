"""The views behind the page, without a browser: directions, slices, the head in them, and one-slice strokes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import vtk

from ichhpinet.scribbles import Scribbles
from ichhpinet.volume import CTVolume
from ICHHPINetSlicer import rounds
from ICHHPINetSlicer.logic import ICHHPINetLogic
from ICHHPINetSlicer.nodes import BACKGROUND_ID, FOREGROUND_ID, node_from_volume, segment_mask

SHAPE = (9, 40, 36)


@pytest.fixture(scope="module")
def stage() -> Iterator[Any]:
    """The views, once: Slicer's view factories are one per process."""
    import asyncio

    from trame_server import Server

    from ichhpinet_browser.stage import Stage

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)

    async def made() -> Any:
        server = Server(name="test")
        server.client_type = "vue3"
        return Stage(server, lambda: None)

    yield loop.run_until_complete(made())
    asyncio.set_event_loop(None)


@pytest.fixture
def volume(stage: Any) -> Iterator[Any]:
    """A head of skull and brain in air, off the middle of the CT."""
    z, y, x = np.indices(SHAPE)
    distance = np.hypot((y - 24) / 12, (x - 20) / 10)
    hu = np.where(distance > 1, -1000, np.where(distance > 0.8, 900, 35)).astype(np.float32)
    node = node_from_volume(stage.scene, CTVolume.from_array(hu, (5.0, 1.0, 1.0), (-18.0, -20.0, -20.0)), "CT")
    stage.show(node)
    yield node
    stage.clear()
    stage.scene.RemoveNode(node)


def test_the_patients_right_is_on_the_left_and_the_front_on_top(stage: Any, volume: Any) -> None:
    edges = {
        name: "".join(view[e] for e in ("left", "right", "top", "bottom")) for name, view in stage.slices().items()
    }
    assert edges == {"Axial": "RLAP", "Coronal": "RLSI", "Sagittal": "APSI"}


def test_slices_are_counted_and_reached_by_number(stage: Any, volume: Any) -> None:
    assert [stage.slices()[name]["count"] for name in ("Axial", "Coronal", "Sagittal")] == [9, 40, 36]
    for index in (0, 3, 8):
        stage.go("Axial", index)
        assert stage.slices()["Axial"]["index"] == index
    stage.step("Axial", -2)
    assert stage.slices()["Axial"]["index"] == 6
    stage.step("Axial", 99)
    assert stage.slices()["Axial"]["index"] == 8


def test_the_head_fills_the_axial_view_whatever_air_is_around_it(stage: Any, volume: Any) -> None:
    view = stage.app.view_manager.get_view("Axial")
    view.update_size(400, 300)
    view.interactor().InvokeEvent(vtk.vtkCommand.WindowResizeEvent)
    stage.fit()
    width, height, _ = view.get_view_node().GetFieldOfView()
    assert 24 < height < 34 and width / height == pytest.approx(4 / 3, rel=0.02)


@pytest.mark.parametrize(("name", "axis"), [("Axial", 0), ("Coronal", 1), ("Sagittal", 2)])
def test_a_stroke_lies_on_the_one_slice_that_is_seen_in_each_plane(
    stage: Any, volume: Any, name: str, axis: int, weights: Any
) -> None:
    from extension.scenes import DirectWorker
    from ichhpinet_browser.brushes import Brushes

    logic = ICHHPINetLogic(stage.scene, DirectWorker(weights))
    strokes = logic.strokes_node(volume)
    landed: list[bool] = []
    brushes = Brushes(stage.app.segmentation_editor, lambda: landed.append(logic.strokes_changed(volume)))
    brushes.take(strokes, volume)
    stage.go(name, 4)
    centre = _centre(stage, name)

    def stroke(brush: str, wide_mm: float) -> None:
        brushes.set_mm(wide_mm)
        brushes.choose(brush)
        effect = stage.app.segmentation_editor.active_effect
        pipeline = next(p for ref in effect.pipelines if (p := ref()) is not None and p._view.name == name)
        pipeline.widget.start_painting()
        pipeline.widget.update_widget_position(centre)
        pipeline.widget.stop_painting()

    stroke("foreground", 6.0)
    painted = segment_mask(strokes, FOREGROUND_ID, volume)
    touched = np.flatnonzero(painted.any(axis=tuple(other for other in range(3) if other != axis)))
    assert landed == [True] and len(touched) == 1 and painted.sum() >= 3
    stroke("background", 3.0)
    fg, bg = (segment_mask(strokes, name, volume) for name in (FOREGROUND_ID, BACKGROUND_ID))
    assert bg.any() and not (fg & bg).any(), "the newest stroke wins"
    stroke("erase", 12.0)
    assert not any(segment_mask(strokes, name, volume).any() for name in (FOREGROUND_ID, BACKGROUND_ID))
    stage.app.segmentation_editor.clear()
    logic.close()


def _centre(stage: Any, name: str) -> list[float]:
    matrix = stage.app.view_manager.get_view(name).get_view_node().GetSliceToRAS()
    return [matrix.GetElement(row, 3) for row in range(3)]


def test_masks_that_are_there_before_their_ct_is_shown_lie_over_it_and_not_over_black(stage: Any) -> None:
    from ichhpinet_browser import keyimages

    hu = np.full(SHAPE, 60, np.float32)
    node = node_from_volume(stage.scene, CTVolume.from_array(hu, (5.0, 1.0, 1.0), (-18.0, -20.0, -20.0)), "CT")
    mask = np.zeros(SHAPE, bool)
    mask[:, 10:30, 8:28] = True
    rounds.show_mask(rounds.add_round(node, 1, None, 1.0, mask, Scribbles(mask)), True)
    stage.show(node)
    seen = stage.app.view_manager.get_view("Axial")
    seen.update_size(200, 200)
    seen.interactor().InvokeEvent(vtk.vtkCommand.WindowResizeEvent)
    drawn = [_pixels(keyimages._picture(seen)), _pixels(keyimages.draw(stage, node, [4], 0)[0])]
    for picture in drawn:
        height, width = picture.shape[:2]
        rgb = picture[height // 2 - 8 : height // 2 + 8, width // 2 - 8 : width // 2 + 8].mean((0, 1))
        assert rgb[0] > rgb[1] + 15, "the mask is there"
        assert rgb.min() > 90, "and the bright CT shines through it"
    stage.clear()
    rounds.forget(node)
    stage.scene.RemoveNode(node)


def _pixels(data_url: str) -> Any:
    """(H, W, 3) float."""
    import base64
    import io

    from PIL import Image

    image = Image.open(io.BytesIO(base64.b64decode(data_url.split(",", 1)[1])))
    return np.asarray(image.convert("RGB"), float)


def test_the_skull_is_a_model_round_the_head_that_goes_with_its_ct(stage: Any, volume: Any) -> None:
    from ichhpinet_browser.skull import NAME, hide_skull, show_skull

    node = show_skull(stage.scene, volume)
    bounds = [0.0] * 6
    node.GetRASBounds(bounds)
    assert not node.GetSaveWithScene() and 15 < bounds[1] - bounds[0] < 26 and 18 < bounds[3] - bounds[2] < 30
    show_skull(stage.scene, volume)
    assert len([n for n in stage.scene.GetNodesByClass("vtkMRMLModelNode") if n.GetName() == NAME]) == 1
    hide_skull(stage.scene)
    assert stage.scene.GetFirstNodeByName(NAME) is None
