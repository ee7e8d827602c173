"""The fixed cases: how many, of which kinds, always the same, kept in the cache as they were made."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ichhpinet.volume import CTVolume
from ichhpinet_workbench import validation
from ichhpinet_workbench.validation import Case, contrast_hu, load, validation_cases


def test_there_are_at_least_sixty_cases_with_blood_and_some_without():
    blood, clean = validation_cases(), validation_cases(blood=False)
    assert len(blood) >= 60 and all(case.kinds for case in blood)
    assert len(clean) >= 5 and not any(case.kinds for case in clean)
    assert {case.source for case in clean} == {"synthetic", "real"}


def test_names_and_seeds_are_unique_and_seeds_leave_room_for_another_try():
    cases = validation_cases() + validation_cases(blood=False)
    assert len({case.name for case in cases}) == len(cases)
    seeds = sorted(case.seed for case in cases)
    assert min(later - earlier for earlier, later in zip(seeds, seeds[1:], strict=False)) >= validation.TRIES


def test_the_mix_is_that_of_the_clinic():
    kinds = Counter(kind for case in validation_cases() for kind in case.kinds)
    assert set(kinds) == {"IPH", "IVH", "SAH", "SDH", "EDH"}
    assert kinds["IPH"] + kinds["IVH"] > len(validation_cases()) * 0.7


def test_slices_are_from_thin_to_thick_and_contrasts_from_faint_to_bright():
    cases = validation_cases()
    thickness = [case.spacing_mm[0] for case in cases if case.spacing_mm]
    assert min(thickness) == 0.6 and max(thickness) == 7.0 and 4 <= np.median(thickness) <= 5
    contrasts = [case.contrast_hu for case in cases if case.source == "real"]
    assert min(contrasts) < 9 and max(contrasts) > 26 and all(5 <= value <= 30 for value in contrasts)


def test_the_order_mixes_sources_and_is_always_the_same():
    assert validation_cases() == validation_cases()
    assert {case.source for case in validation_cases()[:12]} == {"synthetic", "real"}


def test_a_cached_case_is_the_case_that_was_made(tmp_path, monkeypatch):
    made = []

    def synthesise(case: Case):
        made.append(case)
        truth = np.zeros((3, 4, 5), bool)
        truth[1, 2, 3] = True
        return np.full((3, 4, 5), 37, np.int16), truth, (5.0, 0.5, 0.5)

    monkeypatch.setattr(validation, "_synthetic", synthesise)
    case = Case("a", "synthetic", ("IPH",), 1, (5.0, 0.5, 0.5))
    first, second = load(case, tmp_path), load(case, tmp_path)
    assert len(made) == 1
    assert np.array_equal(first.truth, second.truth) and first.volume.digest() == second.volume.digest()
    assert not list(tmp_path.glob("*.tmp"))


def test_a_real_case_without_blood_is_the_real_ct_itself(monkeypatch):
    base = CTVolume.from_array(np.zeros((3, 4, 5)), (5.0, 0.5, 0.5))
    monkeypatch.setattr(validation, "real_head_ct", lambda path: base)
    case = load(Case("r", "real", (), 1))
    assert case.volume is base and not case.truth.any()


def test_cases_in_another_head_ct_are_kept_apart(tmp_path, monkeypatch):
    heads = {None: 0.0, Path("mine"): 7.0}
    monkeypatch.setattr(
        validation,
        "real_head_ct",
        lambda path: CTVolume.from_array(np.full((3, 4, 5), heads[path]), (5.0, 0.5, 0.5)),
    )
    inserted = lambda case, base: (base.hu + 40, np.ones(base.shape, bool), base.spacing_mm)  # noqa: E731
    monkeypatch.setattr(validation, "_inserted", inserted)
    case = Case("r", "real", ("IPH",), 1)
    for path, value in [*heads.items(), *heads.items()]:
        assert float(load(case, tmp_path, path).volume.hu.mean()) == value + 40


def test_contrast_is_that_of_the_lesion_over_the_brain_beside_it():
    hu = np.full((3, 40, 40), 30.0)
    truth = np.zeros(hu.shape, bool)
    truth[1, 15:25, 15:25] = True
    hu[truth] = 47.0
    hu[:, :5] = 1000.0
    assert contrast_hu(hu, truth, (5.0, 1.0, 1.0)) == pytest.approx(17.0)
    assert math.isnan(contrast_hu(hu, np.zeros_like(truth), (5.0, 1.0, 1.0)))


def test_a_synthetic_case_is_made_anew_the_same():
    case = Case("t", "synthetic", ("IPH",), 77, (12.0, 2.5, 2.5))
    first, second = load(case), load(case)
    assert first.volume.digest() == second.volume.digest() and np.array_equal(first.truth, second.truth)
    assert first.truth.any()


def test_a_case_kept_from_another_generator_is_made_anew(tmp_path, monkeypatch):
    made = []

    def synthesise(case: Case):
        made.append(case)
        return np.zeros((3, 4, 5), np.int16), np.ones((3, 4, 5), bool), (5.0, 0.5, 0.5)

    monkeypatch.setattr(validation, "_synthetic", synthesise)
    case = Case("a", "synthetic", ("IPH",), 1, (5.0, 0.5, 0.5))
    load(case, tmp_path)
    monkeypatch.setattr(validation, "generator", lambda: "another")
    load(case, tmp_path)
    assert len(made) == 2
