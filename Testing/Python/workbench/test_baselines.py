"""The three classic methods: what they promise alike, and that each has a fair chance."""

from __future__ import annotations

import numpy as np
import pytest

from ichhpinet.metrics import dice
from ichhpinet.volume import CTVolume
from ichhpinet_workbench.baselines import METHODS
from ichhpinet_workbench.baselines.region import around_strokes, on_volume
from ichhpinet_workbench.baselines.session import ClassicPredictor
from ichhpinet_workbench.rounds import Reader, play
from workbench.stand_in import SPACING, head


@pytest.fixture(scope="module")
def bleed() -> tuple[CTVolume, np.ndarray]:
    hu, truth = head(3)
    return CTVolume.from_array(hu, SPACING), truth


@pytest.fixture(params=sorted(METHODS))
def method(request):
    return METHODS[request.param]


def test_a_clear_bleed_is_found_in_two_rounds(method, bleed):
    volume, truth = bleed
    brain = (volume.hu > 5) & (volume.hu < 60) & ~truth
    session = ClassicPredictor(method).open(volume)
    turns = list(play(session, volume, truth, brain, 2, 0, Reader()))
    assert dice(turns[-1].mask, truth) > 0.75


def test_strokes_are_obeyed(method, bleed):
    volume, truth = bleed
    foreground, background = np.zeros(truth.shape, bool), np.zeros(truth.shape, bool)
    foreground[4, 30, 29:32] = foreground[1, 20, 20] = True
    background[4, 31, 29:32] = background[4, 44, 30:34] = True
    mask = method(volume, foreground, background)
    assert mask.dtype == bool and mask.shape == volume.shape
    assert mask[foreground].all() and not mask[background].any()


def test_without_a_foreground_stroke_the_mask_is_empty(method, bleed):
    volume, truth = bleed
    background = np.zeros(truth.shape, bool)
    background[4, 44, 30:34] = True
    assert not method(volume, np.zeros(truth.shape, bool), background).any()


def test_a_foreground_stroke_alone_is_enough(method, bleed):
    volume, truth = bleed
    foreground = np.zeros(truth.shape, bool)
    foreground[4] = truth[4] & np.roll(truth[4], 3, 0) & np.roll(truth[4], -3, 0)
    mask = method(volume, foreground, np.zeros(truth.shape, bool))
    assert foreground.sum() < mask.sum() < 4 * truth.sum()


def test_the_same_strokes_give_the_same_mask(method, bleed):
    volume, truth = bleed
    foreground, background = np.zeros(truth.shape, bool), np.zeros(truth.shape, bool)
    foreground[4, 30, 28:33] = background[4, 44, 30:34] = True
    assert np.array_equal(method(volume, foreground, background), method(volume, foreground, background))


def test_newer_strokes_replace_older_ones_in_a_session(method, bleed):
    from ichhpinet.scribbles import Scribbles

    volume, truth = bleed
    stroke = np.zeros(truth.shape, bool)
    stroke[4, 30, 29:32] = True
    session = ClassicPredictor(method).open(volume)
    assert session.refine(Scribbles(stroke, None)).mask[stroke].all()
    assert not session.refine(Scribbles(None, stroke)).mask[stroke].any()


@pytest.mark.parametrize("spacing", [(5.0, 0.5, 0.5), (0.6, 0.45, 0.45), (7.0, 1.0, 1.0)])
def test_the_coarse_grid_lies_where_the_fine_one_does(spacing):
    hu = np.zeros((9, 61, 47), np.float32)
    truth = np.zeros(hu.shape, bool)
    truth[2:7, 20:41, 16:35] = True
    volume = CTVolume.from_array(np.where(truth, 60, 0), spacing)
    region = around_strokes(volume, truth, np.zeros_like(truth))
    back = on_volume(region.hu / 60, region, volume, np.zeros_like(truth), np.zeros_like(truth))
    assert dice(back, truth) > 0.8  # a thin slab, smoothed
    centres = [np.argwhere(array).mean(axis=0) for array in (back, truth)]
    assert np.allclose(centres[0], centres[1], atol=0.6)
