"""Sessions on disk: bit for bit what they were, the same next round, and damage refused by name."""

from __future__ import annotations

import json
import os
import random
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ichhpinet as hp
from core.engine import background, foreground, small_ct, tiny_predictor
from ichhpinet import sessionfile
from ichhpinet.predictor import Predictor
from ichhpinet.session import Session
from ichhpinet.sessionfile import SavedSession, read_session
from ichhpinet.volume import CTVolume

ARRAYS = ("mask", "probability", "uncertainty", "added", "removed")


@pytest.fixture
def played(session: Session) -> Session:
    """Rounds 1, 2 undone, 3 on a branch, one more undone: something to undo, to redo and to return to."""
    session.refine(foreground((2, 5, 5)))
    session.refine(background((3, 9, 9)))
    session.undo()
    session.refine(hp.Scribbles(foreground((0, 2, 2)).foreground, background((4, 4, 4)).background))
    session.refine(foreground((1, 7, 7)))
    session.undo()
    return session


@pytest.fixture
def path(played: Session, tmp_path: Path) -> Path:
    played.save(tmp_path / "case.session")
    return tmp_path / "case.session"


def read(path: Path) -> SavedSession:
    """What `restore` reads and checks, without opening the CT."""
    saved = read_session(path)
    saved.check((5, 16, 16), (5, 32, 32))
    return saved


def forge(path: Path, change: Callable[[dict[str, Any], dict[str, bytes]], Any]) -> None:
    """Rewrite a session file with its index and its arrays changed, all checksums right."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    index = json.loads(contents.pop("session.json"))
    replaced = change(index, contents)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("session.json", json.dumps(index if replaced is None else replaced))
        for name, content in contents.items():
            archive.writestr(name, content)


# -- what comes back ---------------------------------------------------------------------------------------------------


def test_past_rounds_come_back_bit_for_bit_and_so_does_the_way_back_and_forth(
    played: Session, path: Path, predictor: Predictor, ct: CTVolume
) -> None:
    restored = Session.restore(path, predictor, ct)
    for old, new in zip(played.all_rounds, restored.all_rounds, strict=True):
        assert (old.number, old.parent, old.seconds, old.volume_ml) == (
            new.number, new.parent, new.seconds, new.volume_ml,
        )  # fmt: skip
        assert old.corrected_slices == new.corrected_slices
        assert np.array_equal(old.scribbles.labels(), new.scribbles.labels())
        for name in ARRAYS:
            assert np.array_equal(getattr(old, name), getattr(new, name)), name
    steps = (Session.undo, Session.undo, Session.undo, Session.undo, Session.redo, Session.redo, Session.redo)
    for step in (*steps, Session.redo, Session.redo, Session.redo):
        assert step(played) == step(restored)
        assert [r.number for r in played.rounds] == [r.number for r in restored.rounds]


def test_the_next_round_is_the_same_as_if_the_session_had_never_been_closed(
    played: Session, path: Path, ct: CTVolume
) -> None:
    restored = Session.restore(path, tiny_predictor(), ct)
    for strokes in (foreground((4, 8, 8)), background((2, 5, 5))):
        live, again = played.refine(strokes), restored.refine(strokes)
        assert live.number == again.number
        for name in ARRAYS:
            assert np.array_equal(getattr(live, name), getattr(again, name)), name


def test_a_session_without_rounds_can_be_kept_too(
    session: Session, predictor: Predictor, ct: CTVolume, tmp_path: Path
) -> None:
    session.save(tmp_path / "empty")
    restored = Session.restore(tmp_path / "empty", predictor, ct)
    assert restored.rounds == [] and restored.undo() is False
    assert restored.propose().number == 1


def test_a_number_is_not_used_again_after_restoring(path: Path, predictor: Predictor, ct: CTVolume) -> None:
    restored = Session.restore(path, predictor, ct)
    assert restored.refine(foreground((1, 1, 1))).number == 5


def test_saving_again_replaces_the_file_and_leaves_no_other(played: Session, path: Path) -> None:
    played.redo()
    played.save(str(path))
    assert read(path).history.current == 4
    assert [p.name for p in path.parent.iterdir()] == ["case.session"]


def test_the_file_holds_no_ct_and_no_path(path: Path, ct: CTVolume) -> None:
    content = path.read_bytes()
    assert str(path.parent).encode() not in content
    assert ct.hu.tobytes()[:64] not in content


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_another_ct_and_other_weights_are_refused_by_name(path: Path, predictor: Predictor, ct: CTVolume) -> None:
    with pytest.raises(hp.InputError, match="another CT"):
        Session.restore(path, predictor, small_ct(seed=9))
    moved = CTVolume.from_array(ct.hu, ct.spacing_mm, origin=(1.0, 0.0, 0.0))
    with pytest.raises(hp.InputError, match="another CT"):
        Session.restore(path, predictor, moved)
    with pytest.raises(hp.InputError, match="with weights 000000000000"):
        Session.restore(path, tiny_predictor(seed=3), ct)
    with pytest.raises(hp.InputError, match="must be a CTVolume"):
        Session.restore(path, predictor, ct.hu)  # type: ignore[arg-type]


def test_a_missing_file_is_refused_by_its_base_name(tmp_path: Path, predictor: Predictor, ct: CTVolume) -> None:
    with pytest.raises(hp.InputError, match="no file none") as caught:
        Session.restore(tmp_path / "none", predictor, ct)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("place", ["no/such/folder", ".", "a file/below"])
def test_a_place_that_cannot_be_written_is_refused_and_nothing_is_left(
    played: Session, tmp_path: Path, place: str
) -> None:
    (tmp_path / "a file").write_text("kept")
    with pytest.raises(hp.InputError):
        played.save(tmp_path / place)
    assert [p.name for p in tmp_path.iterdir()] == ["a file"]


def test_a_full_disk_leaves_the_file_of_before(played: Session, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "no space left on device")

    for name, owner in (("replace", os), ("_write_round", sessionfile)):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, full)
            with pytest.raises(hp.InputError, match=r"case\.session"):
                played.save(path)
        assert path.read_bytes() == before
        assert [p.name for p in path.parent.iterdir()] == ["case.session"]


def test_a_truncated_file_is_refused(path: Path) -> None:
    content = path.read_bytes()
    for length in (0, 1, 30, len(content) // 4, len(content) // 2, len(content) - 30, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(hp.InputError):
            read(path)


def test_a_flipped_bit_is_refused_or_changes_nothing(path: Path) -> None:
    content, whole = path.read_bytes(), read(path)
    rng = random.Random(1)
    refused = 0
    for _ in range(250):
        damaged = bytearray(content)
        damaged[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(damaged))
        try:
            found = read(path)
        except hp.InputError:
            refused += 1
            continue
        assert found == whole
    assert refused > 100


def test_a_damaged_file_is_refused_before_the_ct_is_opened(
    path: Path, predictor: Predictor, ct: CTVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge(path, lambda index, contents: contents.update({"3/masks": b"damaged"}))
    monkeypatch.setattr(Predictor, "encode", None)
    with pytest.raises(hp.InputError, match="damaged"):
        Session.restore(path, predictor, ct)


def shape_lie(name: str, shape: list[Any]) -> Callable[[dict[str, Any], dict[str, bytes]], Any]:
    """An array of round 1 says another shape."""
    return lambda index, contents: index["rounds"][0][name].update({"shape": shape})


def entry(**values: Any) -> Callable[[dict[str, Any], dict[str, bytes]], Any]:
    """Plain values of round 1 are others."""
    return lambda index, contents: index["rounds"][0].update(values)


def bomb(index: dict[str, Any], contents: dict[str, bytes]) -> None:
    """A mask that says how large it is, and is enormous."""
    contents["1/probability"] = zlib.compress(bytes(1 << 24), 9)
    index["rounds"][0]["probability"]["shape"] = [1, 1 << 12, 1 << 12]


@pytest.mark.parametrize(
    "change",
    [
        shape_lie("probability", [5, 32]),
        shape_lie("probability", [5, 16, 64]),
        shape_lie("probability", [-5, -32, 32]),
        shape_lie("probability", [10**9, 10**9, 10**9]),
        shape_lie("probability", [5.0, 32, 32]),
        shape_lie("probability", []),
        shape_lie("foreground", [5, 16, 17]),
        shape_lie("foreground", [5, 16, 15]),
        shape_lie("painted", [5, 32, 32]),
        shape_lie("masks", [2, 32, 32]),
        shape_lie("uncertainty", [5, 32, 32]),
        bomb,
        entry(number="1"),
        entry(number=1.5),
        entry(number=True),
        entry(number=7),
        entry(parent=1),
        entry(parent=4),
        entry(parent="none"),
        entry(seconds="long"),
        entry(seconds=True),
        entry(seconds=float("nan")),
        entry(seconds=float("inf")),
        entry(boldness="bold"),
        entry(boldness=2.5),
        entry(boldness=float("nan")),
        entry(boldness=True),
        entry(volume_ml=None),
        entry(volume_ml=-1.0),
        entry(corrected=[5]),
        entry(corrected=[-1]),
        entry(corrected=[]),
        entry(corrected=2),
        entry(foreground={"shape": [5, 16, 16], "kind": "uint8"}),
        entry(probability={"shape": [5, 32, 32], "kind": "bool"}),
        entry(probability={"shape": [5, 32, 32], "kind": "object"}),
        lambda index, contents: index.update(current=9),
        lambda index, contents: index.update(current="1"),
        lambda index, contents: index.update(past=[None, 9]),
        lambda index, contents: index.update(future=3),
        lambda index, contents: index.update(format="ichhpinet session 99"),
        lambda index, contents: index.update(rounds={}),
        lambda index, contents: index.update(rounds=[3]),
        lambda index, contents: index.pop("volume") and None,
        lambda index, contents: contents.pop("1/painted") and None,
        lambda index, contents: contents.update({"1/painted": b""}),
        lambda index, contents: contents.update({"1/painted": contents["1/painted"] + b"more"}),
        lambda index, contents: [],
        lambda index, contents: 3,
        lambda index, contents: "text",
    ],
)
def test_a_forged_file_is_refused(path: Path, change: Callable[[dict[str, Any], dict[str, bytes]], Any]) -> None:
    forge(path, change)
    with pytest.raises(hp.InputError) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_entries_that_swell_when_they_are_read_are_refused(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    for swollen in ("session.json", "1/masks"):
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in contents.items():
                kind = zipfile.ZIP_DEFLATED if name == swollen else zipfile.ZIP_STORED
                archive.writestr(name, content, compress_type=kind)
        with pytest.raises(hp.InputError, match="compressed entry"):
            read(path)


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip at all", b"{}" * 100])
def test_what_is_no_session_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(hp.InputError, match="other is damaged or no session"):
        read(tmp_path / "other")
    with pytest.raises(hp.InputError):
        read(tmp_path)
