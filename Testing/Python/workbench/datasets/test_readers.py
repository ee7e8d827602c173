"""Readers of the published layouts: what is found, what is filtered, what is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from ichhpinet.errors import InputError
from ichhpinet_workbench.datasets import hemseg as hemseg_module
from ichhpinet_workbench.datasets import series
from ichhpinet_workbench.datasets.folder import read_folder
from ichhpinet_workbench.datasets.hemseg import convert_hemseg, read_list
from ichhpinet_workbench.datasets.instance import read_instance
from ichhpinet_workbench.datasets.loading import lesion_slices, load_entry
from ichhpinet_workbench.datasets.manifest import Manifest
from ichhpinet_workbench.datasets.physionet import read_physionet
from workbench.published_layouts import SHAPE, hemseg, instance, pair, physionet, write_pair

SCANS = {"aa01": ("ID_p1", "train"), "aa02": ("ID_p1", "test"), "bb01": ("ID_p2", "val"), "cc01": ("ID_p3", "test")}


def converted(root: Path, out: Path, **options: bool) -> Manifest:
    listed, labels, rsna = hemseg(root, SCANS, **options)
    return convert_hemseg("hemseg-200", listed, labels, rsna, out)


# -- PhysioNet ---------------------------------------------------------------------------------------------------------


def test_physionet_is_read_with_its_kinds_and_the_papers_filter_of_three_lesion_slices(tmp_path: Path) -> None:
    manifest = read_physionet(physionet(tmp_path, {49: 4, 50: 2, 51: 0, 130: 3}))
    assert [entry.case for entry in manifest.used] == ["physionet-ct-ich-049", "physionet-ct-ich-130"]
    assert {entry.excluded for entry in manifest.entries if entry.excluded} == {
        "2 slices with lesion; 3 or more are asked for",
        "0 slices with lesion; 3 or more are asked for",
    }
    first = manifest.entries[0]
    assert first.patient == "physionet:049" and first.kinds == ("IPH", "SDH") and first.declared_blood_slices == 4


def test_physionet_masks_of_0_and_255_become_the_truth(tmp_path: Path) -> None:
    manifest = read_physionet(physionet(tmp_path, {49: 3}))
    loaded = load_entry(manifest, manifest.entries[0])
    hu, truth = pair(49)
    assert np.array_equal(loaded.truth, truth) and np.array_equal(loaded.volume.hu, hu)
    assert loaded.brain.any() and not (loaded.brain & truth).any()


def test_the_filter_can_be_left_out(tmp_path: Path) -> None:
    assert len(read_physionet(physionet(tmp_path, {49: 4, 51: 0}), least_lesion_slices=0).used) == 2


def test_a_physionet_folder_that_is_not_whole_is_refused_by_name(tmp_path: Path) -> None:
    root = physionet(tmp_path, {49: 3})
    (root / "Patient_demographics.csv").unlink()
    with pytest.raises(InputError, match=r"Patient_demographics.csv is missing"):
        read_physionet(root)
    (root / "hemorrhage_diagnosis_raw_ct.csv").write_text("PatientNumber,SliceNumber\n49,1\n")
    with pytest.raises(InputError, match="has no column No_Hemorrhage"):
        read_physionet(root)
    with pytest.raises(InputError, match="has no folder ct_scans"):
        read_physionet(tmp_path / "masks")


def test_a_scan_without_a_mask_and_one_without_its_patient_are_told(tmp_path: Path) -> None:
    root = physionet(tmp_path, {49: 3, 50: 3})
    (root / "masks" / "050.nii").unlink()
    (root / "Patient_demographics.csv").write_text("Patient Number,Age\n,\n50,44\n")
    manifest = read_physionet(root)
    assert len(manifest.entries) == 1
    assert manifest.notes == (
        "1 scan without a mask: left out",
        "1 scan of a patient who is not in Patient_demographics.csv: used",
    )


# -- HemSeg ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("five_hundred", [False, True])
def test_hemseg_slices_are_stacked_by_place_and_meet_their_labels(tmp_path: Path, five_hundred: bool) -> None:
    manifest = converted(tmp_path / "in", tmp_path / "out", five_hundred=five_hundred)
    assert len(manifest.used) == 4
    for seed, entry in enumerate(manifest.entries):
        loaded = load_entry(manifest, entry)
        hu, truth = pair(seed)
        assert np.array_equal(loaded.volume.hu, hu) and np.array_equal(loaded.truth, truth)
        assert loaded.volume.spacing_mm == pytest.approx((5.0, 0.5, 0.5))


def test_a_patient_on_several_published_sides_is_put_on_one_and_never_into_the_test_set(tmp_path: Path) -> None:
    manifest = converted(tmp_path / "in", tmp_path / "out")
    assert [entry.split for entry in manifest.entries] == ["train", "train", "val", "test"]
    assert [entry.patient for entry in manifest.entries][:2] == ["rsna:ID_p1"] * 2
    assert manifest.notes == ("1 patients had scans in more than one published split: each was put in one",)


def test_a_conversion_that_was_stopped_goes_on_and_does_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed, labels, rsna = hemseg(tmp_path / "in", SCANS)
    out, read, stops = tmp_path / "out", [], iter([False, False, True])

    def reading(slices: tuple[Path, ...]) -> object:
        if next(stops, False):
            raise KeyboardInterrupt
        read.append(slices)
        return whole(slices)

    whole = series.read_series
    monkeypatch.setattr(series, "read_series", reading)
    with pytest.raises(KeyboardInterrupt):
        convert_hemseg("hemseg-200", listed, labels, rsna, out)
    assert len(read) == 2
    seen: list[float] = []
    manifest = convert_hemseg("hemseg-200", listed, labels, rsna, out, progress=lambda f, _: seen.append(f))
    assert len(read) == 4 and len(manifest.used) == 4 and seen == [0.25, 0.5, 0.75, 1.0]
    assert not [path for path in out.rglob("*") if path.name.startswith(".")]


def test_conversion_in_several_processes_gives_the_same_files(tmp_path: Path) -> None:
    listed, labels, rsna = hemseg(tmp_path / "in", dict(list(SCANS.items())[:2]))
    for workers in (0, 2):
        convert_hemseg("hemseg-200", listed, labels, rsna, tmp_path / str(workers), workers=workers)
    for path in (tmp_path / "0").rglob("*.nii.gz"):
        other = tmp_path / "2" / path.relative_to(tmp_path / "0")
        arrays = [sitk.GetArrayFromImage(sitk.ReadImage(str(file))) for file in (path, other)]
        assert np.array_equal(*arrays)


def test_a_scan_that_cannot_be_converted_is_excluded_with_the_reason(tmp_path: Path) -> None:
    listed, labels, rsna = hemseg(tmp_path / "in", SCANS)
    next(iter((rsna / "stage_2_train").glob("ID_aa01*.dcm"))).unlink()
    lines = [json.loads(line) for line in listed.read_text().splitlines()]
    lines[2]["slice_list"].pop()
    lines.append({"patient": "ID_p9", "scan_": "dd01", "slice_list": lines[3]["slice_list"]})
    listed.write_text("\n".join(map(json.dumps, lines)))
    manifest = convert_hemseg("hemseg-200", listed, labels, rsna, tmp_path / "out")
    reasons = {entry.case: entry.excluded for entry in manifest.entries if entry.excluded}
    assert reasons["hemseg-200-aa01"].startswith("1 of 6 slices are missing, ID_aa01")
    assert reasons["hemseg-200-bb01"] == "the label is (6, 24, 20); the series is (5, 24, 20)"
    assert reasons["hemseg-200-dd01"] == "there is no label of this scan"
    assert len(manifest.used) == 2


def test_a_file_that_is_damaged_excludes_its_scan_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed, labels, rsna = hemseg(tmp_path / "in", SCANS)
    content = bytearray(labels.read_bytes())
    content[content.find(b"aa02.nii.gz") + 60] ^= 0xFF  # within the label itself: its checksum is wrong
    labels.write_bytes(content)
    whole = series._pixels

    def unreadable(path: Path) -> object:
        if path.name.startswith("ID_bb01"):
            raise RuntimeError("Exception thrown in ReadImage:\n  sitk::ERROR")
        return whole(path)

    monkeypatch.setattr(series, "_pixels", unreadable)
    manifest = convert_hemseg("hemseg-200", listed, labels, rsna, tmp_path / "out")
    reasons = {entry.case.removeprefix("hemseg-200-"): entry.excluded for entry in manifest.entries if entry.excluded}
    assert set(reasons) == {"aa02", "bb01"} and reasons["aa02"].startswith("a file cannot be read: Bad CRC-32")
    assert reasons["bb01"] == "a file cannot be read: Exception thrown in ReadImage: sitk::ERROR"


def test_a_list_or_labels_that_are_not_as_published_are_refused(tmp_path: Path) -> None:
    listed, labels, rsna = hemseg(tmp_path / "in", SCANS)
    for line in (
        '{"scan_": "a"}',
        "x",
        '{"patient": "p", "scan_": "../up", "slice_list": ["a"]}',
        '{"patient": "p", "scan_": "a", "slice_list": []}',
        '{"patient": "p", "scan_": "a", "slice_list": {"one": "a"}}',
    ):
        listed.write_text(line)
        with pytest.raises(InputError, match="line 1"):
            read_list(listed)
    with pytest.raises(InputError, match="no zip and no folder"):
        hemseg_module.label_places(listed)
    with pytest.raises(InputError, match="none of the listed slices"):
        hemseg_module.slice_folder(tmp_path, [hemseg_module.Scan("a", "p", ("b",))])


def test_two_slices_in_one_place_and_slices_of_two_sizes_are_refused(tmp_path: Path) -> None:
    from core.ct_files import write_slice

    plane = np.zeros((8, 8), np.int16)
    paths = tuple(tmp_path / f"{index}.dcm" for index in range(3))
    for path, place in zip(paths, (0.0, 5.0, 5.0), strict=True):
        write_slice(path, plane, (0.0, 0.0, place))
    with pytest.raises(InputError, match="two slices lie in one place"):
        series.read_series(paths)
    write_slice(paths[2], np.zeros((8, 9), np.int16), (0.0, 0.0, 10.0))
    with pytest.raises(InputError, match=r"2.dcm is \(8, 9\) pixels"):
        series.read_series(paths)


def test_a_tilted_or_uneven_stack_is_left_as_it_was_labelled_and_says_so(tmp_path: Path) -> None:
    from core.ct_files import write_slice

    paths = tuple(tmp_path / f"{index}.dcm" for index in range(3))
    for path, place in zip(paths, (0.0, 4.0, 10.0), strict=True):
        write_slice(path, np.full((8, 8), 40, np.int16), (0.0, place / 4, place))
    volume = series.read_series(paths)
    assert volume.spacing_mm[0] == pytest.approx(5.0)  # along the normal: the millilitres are right
    assert volume.notes == (
        "slices are 4.0 to 6.0 mm apart: taken as 5.00 mm",
        "gantry tilt of 14 degrees: the stack is left as it was labelled",
    )


# -- INSTANCE 2022 and one's own ---------------------------------------------------------------------------------------


def test_instance_is_read_from_its_folder_or_the_one_above(tmp_path: Path) -> None:
    root = instance(tmp_path, 3)
    (root / "train_2" / "label" / "003.nii.gz").unlink()
    for place in (root, root / "train_2"):
        manifest = read_instance(place)
        assert [entry.case for entry in manifest.entries] == ["instance-2022-001", "instance-2022-002"]
        assert manifest.notes == ("1 files without a partner: left out",)
        assert load_entry(manifest, manifest.entries[0]).volume.shape == SHAPE
    with pytest.raises(InputError, match="holds no train_2/data"):
        read_instance(root / "evaluation")


def test_pairs_are_found_in_two_folders_side_by_side_and_under_nnunets_names(tmp_path: Path) -> None:
    write_pair(tmp_path / "a" / "images" / "x1.nii.gz", tmp_path / "a" / "masks" / "x1.nii.gz", 1)
    write_pair(tmp_path / "b" / "x1.nrrd", tmp_path / "b" / "x1_mask.nii.gz", 1)
    write_pair(tmp_path / "b" / "x2.nii.gz", tmp_path / "b" / "x2.seg.nrrd", 2)
    write_pair(tmp_path / "c" / "imagesTr" / "x1_0000.nii.gz", tmp_path / "c" / "labelsTr" / "x1.nii.gz", 1)
    for folder, cases in (("a", ["x1"]), ("b", ["x1", "x2"]), ("c", ["x1"])):
        manifest = read_folder(tmp_path / folder, "own")
        assert [entry.case for entry in manifest.entries] == [f"own-{case}" for case in cases]
        assert load_entry(manifest, manifest.entries[0]).truth.any()


def test_an_image_without_a_mask_is_told(tmp_path: Path) -> None:
    write_pair(tmp_path / "x1.nrrd", tmp_path / "x1_mask.nii.gz", 1)
    assert read_folder(tmp_path, "own").notes == ()
    write_pair(tmp_path / "x2.nrrd", tmp_path / "x2_tumour.nii.gz", 1)
    assert read_folder(tmp_path, "own").notes == ("2 images without a mask, x2.nrrd first: left out",)


def test_a_csv_names_pairs_patients_and_kinds_and_a_missing_file_by_its_line(tmp_path: Path) -> None:
    write_pair(tmp_path / "i.nii.gz", tmp_path / "m.nii.gz", 1)
    table = tmp_path / "pairs.csv"
    table.write_text("image,mask,patient,kinds\ni.nii.gz,m.nii.gz,p1,IPH+IVH\n")
    (entry,) = read_folder(table, "own").entries
    assert entry.patient == "own:p1" and entry.kinds == ("IPH", "IVH")
    table.write_text("image,mask\ni.nii.gz,gone.nii.gz\n")
    with pytest.raises(InputError, match=r"pairs.csv, line 2: the mask does not exist"):
        read_folder(table, "own")
    (tmp_path / "empty").mkdir()
    for row, says in (
        ("i.nii.gz", "line 2 names no mask"),
        ("i.nii.gz,", "line 2 names no mask"),
        (",m.nii.gz", "line 2 names no image"),
        ("i.nii.gz,empty", "line 2: the mask is a folder; it must be a file"),
        ("empty,m.nii.gz", "line 2: the image is a folder; it must be a file, or a folder of DICOM files"),
    ):
        table.write_text(f"image,mask\n{row}\n")
        with pytest.raises(InputError, match=f"pairs.csv, {says}"):
            read_folder(table, "own")
    table.write_text("picture,mask\n")
    with pytest.raises(InputError, match="has no column image"):
        read_folder(table, "own")


def test_the_first_letters_of_a_name_can_be_the_patient(tmp_path: Path) -> None:
    for name in ("p1-a", "p1-b"):
        write_pair(tmp_path / "images" / f"{name}.nii.gz", tmp_path / "masks" / f"{name}.nii.gz", 1)
    assert {entry.patient for entry in read_folder(tmp_path, "own", patient_letters=2).entries} == {"own:p1"}


def test_a_folder_without_a_pair_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no pair"):
        read_folder(tmp_path, "own")
    with pytest.raises(InputError, match="no folder and no CSV"):
        read_folder(tmp_path / "nowhere", "own")


def test_blanks_about_a_patients_name_do_not_make_another_patient(tmp_path: Path) -> None:
    for name in "ab":
        write_pair(tmp_path / f"{name}.nii.gz", tmp_path / f"{name}_mask.nii.gz", 1)
    (tmp_path / "t.csv").write_text("image,mask,patient\na.nii.gz,a_mask.nii.gz,P01 \nb.nii.gz,b_mask.nii.gz, P01\n")
    assert {entry.patient for entry in read_folder(tmp_path / "t.csv", "own").entries} == {"own:P01"}
    (tmp_path / "latin.csv").write_bytes("image,mask,patient\na,b,M\xfcller\n".encode("latin-1"))
    with pytest.raises(InputError, match="not in UTF-8"):
        read_folder(tmp_path / "latin.csv", "own")


def test_a_mask_that_is_cut_short_is_refused_and_not_filled_with_nothing(tmp_path: Path) -> None:
    write_pair(tmp_path / "a.nii.gz", tmp_path / "m.nii.gz", 1)
    file = tmp_path / "m.nii.gz"
    assert lesion_slices(file) > 0
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(InputError, match="cut short"):
        lesion_slices(file)


def test_what_macos_puts_beside_images_and_links_in_a_circle_are_no_cases(tmp_path: Path) -> None:
    write_pair(tmp_path / "a.nii.gz", tmp_path / "a_mask.nii.gz", 1)
    (tmp_path / "._a.nii.gz").write_bytes(b"finder")
    (tmp_path / "b.nii.gz").symlink_to(tmp_path / "b.nii.gz")
    assert [entry.case for entry in read_folder(tmp_path, "own").entries] == ["own-a"]
