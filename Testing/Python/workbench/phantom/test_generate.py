"""The synthetic head CT: repeatable, obedient, and within what scanners and bleeds look like."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from ichhpinet_workbench.phantom import KINDS, Phantom, generate

SPACING = (5.0, 2.0, 2.0)
SHAPE = (24, 100, 88)


@cache
def small(seed: int, kinds: tuple[str, ...] | None, family: str = "train") -> Phantom:
    return generate(seed, spacing_mm=SPACING, shape=SHAPE, kinds=kinds, family=family)


def test_the_same_seed_gives_the_same_volume_bit_for_bit() -> None:
    first = generate(5, spacing_mm=SPACING, shape=SHAPE)
    again = generate(5, spacing_mm=SPACING, shape=SHAPE)
    assert np.array_equal(first.hu, again.hu)
    assert np.array_equal(first.labels, again.labels)
    assert first.info == again.info


def test_another_seed_gives_another_head() -> None:
    assert not np.array_equal(small(1, ()).hu, small(2, ()).hu)


def test_validation_heads_are_not_training_heads() -> None:
    assert not np.array_equal(small(1, ("IPH",)).hu, small(1, ("IPH",), "validation").hu)


def test_grid_and_types_are_what_was_asked_for() -> None:
    phantom = small(3, ("IPH",))
    assert phantom.hu.shape == phantom.labels.shape == SHAPE
    assert phantom.hu.dtype == np.float32 and phantom.labels.dtype == np.uint8
    assert phantom.spacing_mm == SPACING
    assert np.isfinite(phantom.hu).all()


def test_a_grid_of_the_generators_own_is_a_scanners() -> None:
    import torch

    from ichhpinet_workbench.phantom.fields import Dice
    from ichhpinet_workbench.phantom.generate import draw_grid

    for seed in range(40):
        spacing, shape = draw_grid(Dice(seed, "train", torch.device("cpu")), None, None)
        assert 0.6 <= spacing[0] <= 10.0
        assert 0.35 <= spacing[1] == spacing[2] <= 1.0
        assert min(shape) >= 3


@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_asked_for_is_the_kind_that_is_there(kind: str) -> None:
    code = KINDS.index(kind) + 1
    found = [set(np.unique(small(seed, (kind,)).labels)) - {0} for seed in range(4)]
    assert all(codes <= {code} for codes in found)
    assert sum(codes == {code} for codes in found) >= 3


def test_several_kinds_can_share_a_head() -> None:
    assert any({1, 4} <= set(np.unique(small(seed, ("IPH", "SDH")).labels)) for seed in (8, 9, 10))


def test_no_blood_means_an_empty_label() -> None:
    phantom = small(4, ())
    assert not phantom.mask.any() and phantom.volume_ml == 0.0


def test_densities_stay_within_what_a_scanner_gives() -> None:
    for seed in range(3):
        hu = small(seed, None).hu
        assert hu.min() >= -1024.0 and hu.max() <= 3071.0
        assert np.median(hu[13, 42:62, 36:56]) == pytest.approx(30.0, abs=35.0)
        assert (hu > 300).mean() > 0.01  # there is a skull
        assert (hu < -900).mean() > 0.02  # and air about it


@pytest.mark.parametrize("kind", ["IPH", "EDH", "SDH"])
def test_blood_is_brighter_than_brain(kind: str) -> None:
    above = []
    for seed in range(4):
        phantom = small(seed, (kind,))
        if phantom.mask.sum() > 20:
            brain = (phantom.info["grey_hu"] + phantom.info["white_hu"]) / 2.0
            above.append(float(phantom.hu[phantom.mask].mean()) - brain)
    assert np.median(above) > 4.0
    assert max(above) < 60.0


def test_volumes_follow_what_was_drawn() -> None:
    ratio = []
    for seed in range(6):
        phantom = small(seed, ("IPH",))
        if phantom.info["wanted_ml"][0] > 2.0:
            ratio.append(phantom.volume_ml / phantom.info["wanted_ml"][0])
    assert np.median(ratio) == pytest.approx(1.0, abs=0.25)


def test_drawn_kinds_leave_about_one_head_in_six_without_blood() -> None:
    import torch

    from ichhpinet_workbench.phantom.fields import Dice
    from ichhpinet_workbench.phantom.generate import draw_kinds

    drawn = [draw_kinds(Dice(seed, "train", torch.device("cpu"))) for seed in range(600)]
    assert 0.12 < sum(not kinds for kinds in drawn) / len(drawn) < 0.22
    assert {kind for kinds in drawn for kind in kinds} == set(KINDS)


def test_an_unknown_family_or_kind_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="family"):
        generate(0, family="test")
    with pytest.raises(ValueError, match="kinds"):
        generate(0, kinds=("ICH",))
