"""A haemorrhage put into a given CT: it lands in the head, is as dense as asked, and leaves the rest alone."""

from __future__ import annotations

import numpy as np
import pytest

from ichhpinet.volume import CTVolume
from ichhpinet_workbench.phantom import KINDS, Phantom, generate, insert


@pytest.fixture(scope="module")
def bloodless() -> Phantom:
    return generate(12, spacing_mm=(5.0, 1.5, 1.5), shape=(28, 140, 124), kinds=())


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_can_be_inserted(bloodless: Phantom, kind: str) -> None:
    after = insert(bloodless.hu, bloodless.spacing_mm, 1, kinds=(kind,), volume_ml=4.0, contrast_hu=25.0)
    assert set(np.unique(after.labels)) == {0, KINDS.index(kind) + 1}
    assert 0.5 < after.volume_ml < 8.0


def test_voxels_far_from_the_blood_stay_as_they_were(bloodless: Phantom) -> None:
    after = insert(bloodless.hu, bloodless.spacing_mm, 2, kinds=("IPH",), volume_ml=3.0)
    at = np.argwhere(after.mask) * np.array(after.spacing_mm)
    where = np.argwhere(np.ones_like(after.mask)) * np.array(after.spacing_mm)
    far = (np.abs(where - at.mean(axis=0)) > np.abs(at - at.mean(axis=0)).max(axis=0) + 30.0).any(axis=1)
    far = far.reshape(after.mask.shape)
    assert far.any() and np.array_equal(after.hu[far], bloodless.hu[far])


def test_the_contrast_asked_for_is_about_what_comes(bloodless: Phantom) -> None:
    after = insert(bloodless.hu, bloodless.spacing_mm, 3, kinds=("IPH",), volume_ml=12.0, contrast_hu=20.0)
    brain = after.info["brain_hu"]
    assert float(after.hu[after.mask].mean()) - brain == pytest.approx(20.0, abs=8.0)


def test_the_same_seed_inserts_the_same_blood(bloodless: Phantom) -> None:
    first = insert(bloodless.hu, bloodless.spacing_mm, 4)
    again = insert(bloodless.hu, bloodless.spacing_mm, 4)
    assert np.array_equal(first.hu, again.hu) and np.array_equal(first.labels, again.labels)
    assert first.mask.any()


def test_the_given_ct_is_not_written_to(bloodless: Phantom) -> None:
    before = bloodless.hu.copy()
    insert(bloodless.hu, bloodless.spacing_mm, 5, kinds=("SDH",))
    assert np.array_equal(before, bloodless.hu)


def test_the_real_ct_keeps_its_noise_under_the_blood(real_volume: CTVolume) -> None:
    hu = np.asarray(real_volume.hu)
    after = insert(hu, real_volume.spacing_mm, 6, kinds=("IPH",), volume_ml=10.0, contrast_hu=20.0)
    assert after.hu.shape == hu.shape
    assert after.volume_ml == pytest.approx(10.0, rel=0.3)
    assert -10.0 < float(hu[after.mask].mean()) < 60.0  # it lay in brain, not in bone or air
    change = after.hu - hu
    grain = np.diff(after.hu[after.mask]).std() / np.diff(hu[after.mask]).std()
    assert 0.5 < grain < 1.6
    assert float(change[after.mask].mean()) > 8.0


@pytest.mark.parametrize(
    ("hu", "spacing", "kinds", "words"),
    [
        (np.zeros((4, 5), np.float32), (5.0, 1.0, 1.0), None, "hu is"),
        (np.zeros((4, 50, 50), np.float32), (5.0, 0.0, 1.0), None, "spacing_mm is"),
        (np.zeros((4, 50, 50), np.float32), (5.0, 1.0, 1.0), ("bleed",), "kinds is"),
        (np.zeros((4, 50, 50), np.float32), (5.0, 1.0, 1.0), None, "no brain"),
    ],
)
def test_what_is_not_a_head_ct_is_refused_by_name(
    hu: np.ndarray, spacing: tuple[float, float, float], kinds: tuple[str, ...] | None, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        insert(hu, spacing, 0, kinds=kinds)
