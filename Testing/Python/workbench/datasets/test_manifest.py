"""The manifest and its splits: written and read again, by patient, seeded, never a patient on two sides."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichhpinet.errors import InputError
from ichhpinet_workbench.datasets import Entry, Manifest, read_manifest
from ichhpinet_workbench.datasets.folds import set_aside, with_folds, with_published_split
from ichhpinet_workbench.datasets.manifest import FORMAT, merge


def entries(scans: dict[str, int], dataset: str = "a") -> tuple[Entry, ...]:
    """So many scans of each patient."""
    return tuple(
        Entry(f"{dataset}-{p}-{n}", dataset, f"{dataset}:{p}", f"i/{p}{n}.nii", f"m/{p}{n}.nii")
        for p, count in scans.items()
        for n in range(count)
    )


def manifest(*found: Entry) -> Manifest:
    return Manifest(found, Path("."))


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.integers(1, 4), min_size=5), st.integers(0, 99))
def test_no_patient_is_in_two_folds_and_every_case_is_judged_once(scans: dict[str, int], seed: int) -> None:
    split = with_folds(manifest(*entries(scans)), 5, seed)
    homes: dict[str, set[int]] = {}
    for entry in split.entries:
        homes.setdefault(entry.patient, set()).add(entry.fold)
    assert all(len(folds) == 1 for folds in homes.values())
    assert split.folds == (0, 1, 2, 3, 4)
    judged = [entry.case for fold in split.folds for entry in split.test(fold)]
    assert sorted(judged) == sorted(entry.case for entry in split.entries)
    for fold in split.folds:
        assert not {e.patient for e in split.test(fold)} & {e.patient for e in split.training(fold)}


def test_the_same_seed_gives_the_same_folds_in_any_order_and_another_seed_others() -> None:
    found = list(entries({f"p{n}": 1 for n in range(30)}))
    first = {e.case: e.fold for e in with_folds(manifest(*found), 5, 3).entries}
    random.Random(0).shuffle(found)
    assert {e.case: e.fold for e in with_folds(manifest(*found), 5, 3).entries} == first
    assert {e.case: e.fold for e in with_folds(manifest(*found), 5, 4).entries} != first


def test_a_published_split_can_be_kept_as_two_folds() -> None:
    sides = ("train", "val", "test", "test")
    found = [replace(e, split=side) for e, side in zip(entries({"p": 1, "q": 1, "r": 1, "s": 1}), sides, strict=True)]
    split = with_published_split(manifest(*found))
    assert [entry.fold for entry in split.entries] == [1, 1, 0, 0]
    with pytest.raises(InputError, match="1 cases have no published split"):
        with_published_split(manifest(*found, *entries({"z": 1}, "b")))


def test_each_fold_holds_its_share_of_each_set() -> None:
    both = entries({f"p{n}": 1 for n in range(20)}) + entries({f"q{n}": 1 for n in range(10)}, "b")
    split = with_folds(manifest(*both))
    for fold in split.folds:
        assert [sum(e.dataset == name for e in split.test(fold)) for name in "ab"] == [4, 2]


def test_what_is_excluded_has_no_fold_and_is_neither_trained_on_nor_judged() -> None:
    found = entries({f"p{n}": 1 for n in range(6)})
    split = with_folds(manifest(replace(found[0], excluded="the mask is cut"), *found[1:]), 5)
    assert split.entries[0].fold == -1
    assert all(split.entries[0] not in (*split.test(fold), *split.training(fold)) for fold in split.folds)


def test_a_patient_in_two_folds_is_found_beside_an_excluded_scan() -> None:
    scans = entries({"p": 3})
    placed = replace(scans[0], excluded="cut"), replace(scans[1], fold=0), replace(scans[2], fold=1)
    with pytest.raises(InputError, match="a-p-1 and a-p-2 are of one patient and lie in folds 0 and 1"):
        manifest(*placed)
    manifest(placed[0], placed[1], replace(scans[2], fold=0))


def test_folds_that_cannot_be_are_refused() -> None:
    few = manifest(*entries({"p": 3, "q": 1}))
    for folds in (1, 3):
        with pytest.raises(InputError, match=f"folds is {folds}; it must be 2 or more and at most 2"):
            with_folds(few, folds)
    with pytest.raises(InputError, match="split it first"):
        few.test(0)
    with pytest.raises(InputError, match="fold is 7; the manifest's folds are 0, 1"):
        with_folds(few, 2).test(7)


def test_weights_are_chosen_by_patients_who_are_not_trained_on() -> None:
    found = entries({f"p{n}": 2 for n in range(20)})
    train, choose = set_aside(found, 0)
    assert not {e.patient for e in train} & {e.patient for e in choose}
    assert len(choose) == 4 and len(train) == 36
    assert set_aside(found, 0) == (train, choose)
    alone = entries({"p": 2})
    assert set_aside(alone, 0) == (list(alone), list(alone))


def test_a_manifest_comes_back_as_it_was_written_with_paths_that_still_lead_there(tmp_path: Path) -> None:
    inside = Entry("a", "s", "s:a", "images/a.nii", "masks/a.nii", kinds=("IPH",), by_index=True)
    outside = Entry("b", "s", "s:b", str(tmp_path / "far" / "b.nii"), str(tmp_path / "far" / "bm.nii"))
    made = Manifest((inside, outside), tmp_path / "home", seed=3, notes=("a note",))
    made.write(tmp_path / "home" / "manifest.json")
    read = read_manifest(tmp_path / "home" / "manifest.json")
    assert read == made
    read.write(tmp_path / "other" / "manifest.json")
    moved = read_manifest(tmp_path / "other" / "manifest.json")
    for before, after in zip(made.entries, moved.entries, strict=True):
        assert made.path(before.image).resolve() == moved.path(after.image).resolve()


def test_manifests_are_merged_and_a_patient_of_both_stays_one_patient(tmp_path: Path) -> None:
    first = Manifest((Entry("s200-a", "s200", "rsna:p", "a", "b", fold=1),), tmp_path / "x")
    second = Manifest((Entry("s500-a", "s500", "rsna:p", "a", "b", fold=2), *entries({"q": 1})), tmp_path / "y")
    both = with_folds(merge([first, second], tmp_path), 2)
    assert both.entries[0].fold == both.entries[1].fold
    assert both.path(both.entries[0].image) == tmp_path / "x" / "a"
    with pytest.raises(InputError, match="stands in the manifest twice"):
        merge([first, first], tmp_path)
    with pytest.raises(InputError, match="nothing to merge"):
        merge([], tmp_path)


def test_manifests_with_relative_paths_are_merged_into_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("x", "y"):
        Manifest(entries({name: 1}, name), Path(name)).write(Path(name) / "manifest.json")
    found = [read_manifest(Path(name) / "manifest.json") for name in ("x", "y")]
    merge(found, Path("both")).write(Path("both") / "manifest.json")
    both = read_manifest(Path("both") / "manifest.json")
    places = [both.path(entry.image).resolve() for entry in both.entries]
    assert places == [tmp_path / "x" / "i" / "x0.nii", tmp_path / "y" / "i" / "y0.nii"]


def test_a_file_that_is_no_manifest_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    with pytest.raises(InputError, match=r"manifest.json cannot be read"):
        read_manifest(path)
    for content, says in (
        ("{", "is not JSON"),
        ("[]", "no manifest of this version"),
        (json.dumps({"format": FORMAT, "seed": 0, "notes": [], "cases": [{"case": "a"}]}), "is damaged"),
        (json.dumps({"format": FORMAT, "seed": 0, "notes": [], "cases": []}), "holds no case"),
    ):
        path.write_text(content)
        with pytest.raises(InputError, match=says):
            read_manifest(path)


def test_a_patient_in_two_folds_is_refused() -> None:
    first, second = entries({"p": 2})
    with pytest.raises(InputError, match="are of one patient and lie in folds 0 and 1"):
        manifest(replace(first, fold=0), replace(second, fold=1))


@pytest.mark.parametrize("case", ["", "..", "../../evil", "a/b", "a\\b", "a|b", "a\nb", "x" * 151])
def test_a_case_whose_name_cannot_name_a_file_is_refused(case: str) -> None:
    with pytest.raises(InputError, match="cannot name a file"):
        manifest(Entry(case, "a", "a:p", "i.nii", "m.nii"))


@pytest.mark.parametrize(
    "change", [{"fold": "0"}, {"fold": 1.5}, {"case": 7}, {"image": None}, {"kinds": [3]}, {"excluded": False}]
)
def test_a_field_of_another_type_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "m.json"
    manifest(*entries({"p": 1})).write(file)
    content = json.loads(file.read_text())
    content["cases"][0] |= change
    file.write_text(json.dumps(content), encoding="utf-8-sig")
    with pytest.raises(InputError, match="damaged"):
        read_manifest(file)


def test_what_is_no_manifest_is_not_written_over(tmp_path: Path) -> None:
    one, file, other = manifest(*entries({"p": 1})), tmp_path / "m.json", tmp_path / "ct.nii.gz"
    one.write(file)
    one.write(file)  # a manifest may be
    other.write_bytes(b"voxels")
    for path, words in ((other, "is no manifest"), (tmp_path, "is a folder")):
        with pytest.raises(InputError, match=words):
            one.write(path)
    assert other.read_bytes() == b"voxels" and sorted(p.name for p in tmp_path.iterdir()) == ["ct.nii.gz", "m.json"]


def test_a_seed_below_0_is_refused() -> None:
    with pytest.raises(InputError, match="seed is -1"):
        with_folds(manifest(*entries({"p": 1, "q": 1})), 2, -1)
