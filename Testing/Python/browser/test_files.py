"""What is uploaded and what is saved: limits, forged headers and zips, sessions there and back, the report's words."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import zipfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.ct_files import head_hu, stacked, write_series
from extension.scenes import DirectWorker, ct_with_air, new_scene, paint, refine
from ichhpinet.errors import InputError
from ichhpinet.writing import write_volume
from ichhpinet_browser import cases, reports, sessionarchive, uploads
from ichhpinet_browser.keyimages import key_slices
from ichhpinet_browser.offers import reader
from ichhpinet_browser.settings import PageSettings
from ICHHPINetSlicer import rounds
from ICHHPINetSlicer.logic import ICHHPINetLogic
from ICHHPINetSlicer.nodes import BACKGROUND_ID, FOREGROUND_ID, node_from_volume

MOST = 1 << 20


class Part:
    """A part of a multipart body."""

    def __init__(self, content: bytes) -> None:
        self._stream = io.BytesIO(content)

    async def read_chunk(self, size: int) -> bytes:
        """As aiohttp's."""
        return self._stream.read(size)


def received(folder: Path, *files: tuple[str, bytes], most: int = MOST) -> Path:
    """What `receive` makes of an upload."""

    async def parts() -> AsyncIterator[tuple[str, Any]]:
        for name, content in files:
            yield name, Part(content)

    return asyncio.run(uploads.receive(parts(), folder, most))


def zipped(**files: bytes) -> bytes:
    """A zip; keys with '__' for '/'."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return stream.getvalue()


def spoiled(archive: bytes) -> bytes:
    """A zip whose deflated bytes make no sense, its lists whole."""
    return archive[:40] + b"\xff" * 20 + archive[60:]


# -- uploads ---------------------------------------------------------------------------------------------------------


def test_an_image_is_kept_under_a_name_of_ours(tmp_path: Path) -> None:
    write_volume(tmp_path / "ct.nrrd", ct_with_air())
    content = (tmp_path / "ct.nrrd").read_bytes()
    folder = tmp_path / "in"
    folder.mkdir()
    path = received(folder, ("../../DOE^JANE.NRRD", content))
    assert path == folder / "00001.nrrd" and path.read_bytes() == content
    assert cases.read(path, lambda fraction, what: None).shape == (5, 16, 16)


def test_slices_become_a_folder_and_a_zip_of_them_too(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    beside = ("index.HTML", "CT/.DS_Store", "__MACOSX/CT/._IM0", "Thumbs.db")
    slices = [*((name, b"<html>") for name in beside), *((f"IM{n}", b"DICM" * 9) for n in range(3))]
    assert len(list(received(tmp_path / "a", *slices).iterdir())) == 3
    inside = received(
        tmp_path / "b",
        ("series.zip", zipped(**{f"deep__IM{n}": b"x" for n in range(3)}, **{"a.xml": b"x", "__MACOSX__._IM0": b"x"})),
    )
    assert [file.name for file in sorted(inside.iterdir())] == ["00001-IM0", "00002-IM1", "00003-IM2"]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], "no file arrived"),
        ([("a.nii", b"1"), ("b.nii", b"2")], "several files"),
        ([("a.nrrd", b"x" * (MOST + 1))], "more than 1 MB"),
        ([("scene.mrml", b"<MRML/>")], "no file that can be opened here"),
        ([("a.mhd", b"ElementDataFile = /etc/passwd")], "no file that can be opened here"),
        ([("a.nrrd", b"NRRD0004\ntype: short\ndata file: /etc/passwd\n\n")], "another file for its voxels"),
        ([("a.nrrd", b"NRRD0004\r\ndatafile: x.raw\r\n\r\n")], "another file for its voxels"),
        ([("a.mha", b"ObjectType = Image\nElementDataFile = secret.raw\n")], "another file for its voxels"),
        ([("a.nrrd", b"NRRD0004\n" + b"# x\n" * 20000 + b"data file: /etc/passwd\n\n")], "it must hold them itself"),
        ([("a.nrrd", b"NRRD0004\ncontent: a\rdata file: /etc/passwd\n\n")], "it must hold them itself"),
        (
            [("a.mha", b"Comment = a\rElementDataFile = LOCAL\nElementDataFile = /etc/passwd\n")],
            "must hold them itself",
        ),
        ([("a.mha", b"Comment =\nElementDataFile = LOCAL\nElementDataFile = /etc/passwd\n")], "hold them itself"),
        ([("a.mha", b"NDims\nElementDataFile = LOCAL\nElementDataFile = /etc/passwd\n")], "hold them itself"),
        ([("a.zip", b"PK no zip")], "damaged or locked"),
        ([("a.zip", spoiled(zipped(c=bytes(range(256)) * 99)))], "damaged or locked"),
        ([("a.zip", zipped(**{"b.zip": zipped(c=b"d")}))], "a zip in the zip"),
        ([("a.zip", zipped(**{"a.nii": b"0" * (2 * MOST)}))], "more than 1 MB"),
        ([("a.zip", zipped(**{"evil.py": b"import os"}))], "no file that can be opened here"),
        ([("a.zip", zipped())], "no file that can be opened here"),
        ([("a.zip", zipped(**{"series/": b""}))], "no file that can be opened here"),
    ],
)
def test_what_cannot_be_an_image_is_refused_by_name(tmp_path: Path, files: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        received(tmp_path, *files)


def test_voxels_that_look_like_a_header_do_not_refuse_an_image(tmp_path: Path) -> None:
    local = b"ObjectType = Image\n0008|0060 = CT\nElementDataFile = LOCAL\n" + b"\nElementDataFile = x\n"
    assert received(tmp_path, ("a.mha", local)).name == "00001.mha"


def test_what_lies_on_a_cd_beside_the_slices_is_left_out(tmp_path: Path) -> None:
    slices = [(f"IM{n}", b"DICM" * 9) for n in range(3)]
    beside = [("viewer.zip", zipped(viewer=b"exe")), ("logo.img", b"x"), ("scene.mrml", b"x")]
    for name in ("folder", "zip"):
        (tmp_path / name).mkdir()
    assert [file.name for file in sorted(received(tmp_path / "folder", *slices, *beside).iterdir())] == [
        "00001-IM0",
        "00002-IM1",
        "00003-IM2",
    ]
    packed = zipped(**dict([*slices, *beside]))
    assert len(list(received(tmp_path / "zip", ("cd.zip", packed)).iterdir())) == 3


def test_a_damaged_slice_is_named_as_it_was_uploaded(tmp_path: Path) -> None:
    write_series(tmp_path / "series", head_hu(), stacked(6))
    files = sorted((tmp_path / "series").iterdir())
    contents = [(file.name, file.read_bytes()) for file in files]
    contents[3] = (f"DOE JANE/{files[3].name}", contents[3][1][:900])
    folder = tmp_path / "in"
    folder.mkdir()
    path = received(folder, *contents)
    with pytest.raises(InputError) as refused:
        reader(path, folder, {"series": None})(lambda fraction, what: None)
    said = str(refused.value)
    assert files[3].name in said and "00004" not in said and "DOE" not in said and not folder.exists()


def test_a_zip_never_writes_outside_its_folder(tmp_path: Path) -> None:
    inner = tmp_path / "in"
    inner.mkdir()
    received(inner, ("a.zip", zipped(**{"..__..__evil": b"1", "__etc__evil": b"2"})))
    assert {file.name for file in tmp_path.rglob("*") if file.is_file()} == {"00001-evil", "00002-evil"}


# -- sessions --------------------------------------------------------------------------------------------------------


@pytest.fixture
def kept(weights: Path) -> sessionarchive.KeptSession:
    """Two rounds, the first current, and a stroke on top."""
    scene = new_scene()
    logic = ICHHPINetLogic(scene, DirectWorker(weights))
    volume = node_from_volume(scene, ct_with_air(), "CT")
    paint(logic, volume, FOREGROUND_ID, (2, 5, 5))
    refine(logic, volume)
    paint(logic, volume, BACKGROUND_ID, (3, 8, 8))
    refine(logic, volume)
    logic.return_to(volume, 1)
    paint(logic, volume, FOREGROUND_ID, (1, 3, 3))
    return cases.out_of_scene(logic, volume, ("a note",))


def reopened(kept: sessionarchive.KeptSession, folder: Path) -> sessionarchive.KeptSession:
    """Written, uploaded and read."""
    packed, there = folder / "packed", folder / "there"
    packed.mkdir()
    there.mkdir()
    sessionarchive.write_archive(folder / "session.zip", kept, packed)
    path = received(there, ("session.zip", (folder / "session.zip").read_bytes()), most=1 << 26)
    found = cases.read(path, lambda fraction, what: None)
    assert isinstance(found, sessionarchive.KeptSession)
    return found


def test_a_session_comes_back_as_it_was_and_goes_on_the_same(
    kept: sessionarchive.KeptSession, weights: Path, tmp_path: Path
) -> None:
    found = reopened(kept, tmp_path)
    assert found.ct.digest() == kept.ct.digest() and found.ct.notes == ("a note",)
    assert (found.current, found.memory) == (1, kept.memory) and np.array_equal(
        found.pending.whole(), kept.pending.whole()
    )
    for one, other in zip(found.rounds, kept.rounds, strict=True):
        assert (one.number, one.parent, one.seconds) == (other.number, other.parent, other.seconds)
        assert np.array_equal(one.mask, other.mask) and np.array_equal(one.strokes, other.strokes)
    third = []
    for session in (kept, found):
        scene = new_scene()
        logic = ICHHPINetLogic(scene, DirectWorker(weights))
        volume = cases.into_scene(scene, logic, session)
        assert [(row.number, row.current) for row in logic.table(volume)] == [(1, True), (2, False)]
        assert logic.has_strokes(volume) and rounds.shown_round(volume) == 1
        third.append(rounds.round_mask(refine(logic, volume), volume))
    assert np.array_equal(*third)


@pytest.mark.parametrize("how", ["a folder", "a zip of the folder", "a zip of a Mac"])
def test_a_session_that_was_unpacked_comes_back_too(kept: sessionarchive.KeptSession, tmp_path: Path, how: str) -> None:
    """Some browsers unpack a zip that they have saved by themselves."""
    packed, there = tmp_path / "packed", tmp_path / "there"
    packed.mkdir()
    there.mkdir()
    sessionarchive.write_archive(tmp_path / "session.zip", kept, packed)
    with zipfile.ZipFile(tmp_path / "session.zip") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    again = {f"haemorrhage-session__{name}": content for name, content in files.items()}
    if how == "a zip of a Mac":
        again |= {f"__MACOSX__haemorrhage-session__._{name}": b"x" for name in files} | {"x__.DS_Store": b"x"}
    upload = list(files.items())
    if how != "a folder":
        upload = [("haemorrhage-session.zip", zipped(**again))]
    else:
        upload.insert(0, (".DS_Store", b"x"))
    found = cases.read(received(there, *upload, most=1 << 26), lambda fraction, what: None)
    assert isinstance(found, sessionarchive.KeptSession) and found.memory == kept.memory
    assert [one.number for one in found.rounds] == [1, 2] and found.ct.digest() == kept.ct.digest()


def test_a_session_whose_ct_is_missing_or_elsewhere_is_refused(
    kept: sessionarchive.KeptSession, tmp_path: Path
) -> None:
    packed = tmp_path / "packed"
    packed.mkdir()
    sessionarchive.write_archive(tmp_path / "session.zip", kept, packed)
    index = (packed / "page.json").read_bytes()
    for number, (files, words) in enumerate(
        (
            ([("page.json", index)], "no session of this page"),
            (
                [("page.json", index), ("ct.nrrd", b"NRRD0004\ndata file: /etc/passwd\n\n")],
                "another file for its voxels",
            ),
            ([("s.zip", zipped(**{"page.json": index}))], "no session of this page"),
        )
    ):
        (tmp_path / str(number)).mkdir()
        with pytest.raises(InputError, match=words):
            received(tmp_path / str(number), *files)


def test_a_session_without_a_round_comes_back_too(weights: Path, tmp_path: Path) -> None:
    scene = new_scene()
    logic = ICHHPINetLogic(scene, DirectWorker(weights))
    volume = node_from_volume(scene, ct_with_air(), "CT")
    found = reopened(cases.out_of_scene(logic, volume, ()), tmp_path)
    assert found.rounds == () and found.memory is None and found.current is None and not found.pending.whole().any()


@pytest.mark.parametrize(
    "what", ["format", "current", "parent", "number", "seconds", "array", "arrays", "pickle", "label", "json"]
)
def test_a_forged_session_is_refused(kept: sessionarchive.KeptSession, tmp_path: Path, what: str) -> None:
    packed = tmp_path / "packed"
    packed.mkdir()
    sessionarchive.write_archive(tmp_path / "session.zip", kept, packed)
    index = json.loads((packed / "page.json").read_text())
    arrays = dict(np.load(packed / "rounds.npz"))
    if what in ("format", "current"):
        index[what] = 7
    elif what in ("parent", "number"):
        index["rounds"][0][what] = 9 if what == "parent" else "one"
    elif what == "seconds":
        index["rounds"][0][what] = float("nan")
    elif what == "array":
        arrays["1"] = np.zeros((900, 900, 9), np.uint8)
    elif what == "arrays":
        del arrays["1"]
    elif what == "pickle":
        arrays["1"] = np.array([{"a": 1}], dtype=object)
    elif what == "label":
        arrays["pending"] = np.full_like(arrays["pending"], 3)
    (packed / "page.json").write_text("{" if what == "json" else json.dumps(index))
    np.savez_compressed(packed / "rounds.npz", **arrays)
    with pytest.raises(InputError):
        sessionarchive.read_archive(packed)


# -- the report ------------------------------------------------------------------------------------------------------


def test_the_report_says_the_rounds_and_lets_no_note_become_html(
    kept: sessionarchive.KeptSession, weights: Path, tmp_path: Path
) -> None:
    noted = replace(kept, ct=cases.with_notes(kept.ct, ("<script>alert(1)</script>",)))
    made = reports.report(noted, str(weights), "cpu")
    rows = json.loads(reports.as_json(made, tmp_path))["rounds"]
    assert [(row["number"], row["parent"]) for row in rows] == [(1, None), (2, 1)]
    assert rows[0]["volume_ml"] == pytest.approx(kept.rounds[0].mask.sum() * 0.02, rel=1e-3)
    html = reports.as_html(made, noted, 1, [(2, "data:image/png;base64,AAAA")]).decode()
    assert "<script>" not in html and "&lt;script&gt;" in html and "slice 3 of 5" in html
    assert "Not a medical device" in html and f"{rows[0]['volume_ml']:.1f} <small>ml" in html


def test_the_report_names_the_weights_that_made_the_rounds(
    kept: sessionarchive.KeptSession, weights: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.pt"
    other.write_bytes(b"an update")
    made_with, has = (hashlib.sha256(file.read_bytes()).hexdigest() for file in (weights, other))
    for memory, named in ((kept.memory, made_with), (None, has), (b"damaged", has)):
        made = reports.report(replace(kept, memory=memory), str(other), "cpu")
        assert made.head["model"]["weights_sha256"] == named
    assert made.rounds[0]["mask"] == "haemorrhage-round-1.seg.nrrd"


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.integers(1, 6))
def test_key_slices_show_the_largest_and_only_slices_with_haemorrhage(areas: list[int], most: int) -> None:
    mask = np.zeros((len(areas), 3, 3), bool)
    for index, area in enumerate(areas):
        mask[index].ravel()[:area] = True
    chosen = key_slices(mask, 0, most)
    assert len(chosen) <= most and chosen == sorted(set(chosen)) and all(areas[index] for index in chosen)
    assert not any(areas) or max(areas) in [areas[index] for index in chosen]


def test_settings_survive_the_line_they_travel_on() -> None:
    settings = PageSettings("key", "folder", "samples", ct="a 'b' \"c\"\n", most_upload_mb=7, local=False)
    assert PageSettings.from_line(settings.to_line()) == settings and "\n" not in settings.to_line()
