"""Connected regions and distances agree with scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from ichhpinet_workbench.regions import bounding_box, components, depth_mm, distance_mm, extent_mm


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), filled=st.floats(0, 1), flat=st.booleans())
def test_components_are_those_of_scipy(seed, filled, flat):
    mask = np.random.default_rng(seed).random((12, 13) if flat else (4, 9, 11)) < filled
    labels, sizes = components(mask)
    expected, count = ndimage.label(mask, np.ones((3,) * mask.ndim))
    assert sizes.size == count
    assert np.array_equal(labels > 0, mask)
    for label in range(1, count + 1):
        assert np.unique(labels[expected == label]).size == 1
    assert np.array_equal(np.bincount(labels.ravel(), minlength=count + 1)[1:], sizes)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), filled=st.floats(0.01, 1), rows=st.floats(0.3, 6), columns=st.floats(0.3, 6))
def test_distances_are_exact(seed, filled, rows, columns):
    target = np.random.default_rng(seed).random((17, 12)) < filled
    target[3, 4] = True
    expected = ndimage.distance_transform_edt(~target, sampling=(rows, columns))
    assert np.allclose(distance_mm(target, (rows, columns)), expected, atol=1e-4)
    limited = distance_mm(target, (rows, columns), 5.0)
    assert np.allclose(limited[limited < np.inf], expected[limited < np.inf], atol=1e-4)
    assert (expected[limited == np.inf] > 5.0 - 1e-4).all()


def test_the_distance_to_nothing_is_infinite():
    assert np.isinf(distance_mm(np.zeros((4, 5), bool), (1.0, 1.0))).all()


def test_beyond_the_array_lies_outside():
    assert depth_mm(np.ones((3, 3), bool), (1.0, 2.0)).tolist() == [[1, 1, 1], [2, 2, 2], [1, 1, 1]]


def test_a_bounding_box_is_tight_and_stays_in_the_array():
    mask = np.zeros((5, 6), bool)
    assert bounding_box(mask) is None
    mask[1, 2] = mask[2, 4] = True
    assert bounding_box(mask) == (slice(1, 3), slice(2, 5))
    assert bounding_box(mask, 2) == (slice(0, 5), slice(0, 6))


def test_the_extent_is_the_longest_diameter():
    mask = np.zeros((20, 20), bool)
    assert extent_mm(mask, (1.0, 1.0)) == 0
    mask[4, 3:13] = True
    assert extent_mm(mask, (1.0, 0.5)) == pytest.approx(5.0)
