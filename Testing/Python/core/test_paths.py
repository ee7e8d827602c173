"""Paths as they are given, and files that are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from ichhpinet.errors import InputError
from ichhpinet.paths import as_path, written_whole


@pytest.mark.parametrize(("given", "said"), [(3, "is a int"), (None, "is a NoneType"), ("a\0b", "null character")])
def test_what_is_no_path_is_refused_by_name(given: object, said: str) -> None:
    with pytest.raises(InputError, match=f"the mask's file .*{said}"):
        as_path(given, "the mask's file")  # type: ignore[arg-type]


def test_a_file_takes_its_place_when_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text("old")
    with written_whole(file, ".json") as beside:
        assert beside.parent == tmp_path and beside.suffix == ".json"
        beside.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new" and list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, MemoryError])
def test_whatever_stops_the_writing_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    file = tmp_path / "report.json"
    file.write_text("old")
    with pytest.raises(error), written_whole(file) as beside:
        beside.write_text("ne")
        raise error
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]


def test_two_who_write_the_same_file_do_not_meet(tmp_path: Path) -> None:
    file = tmp_path / ("n" * 251 + ".ses")  # as long as a name may be
    with written_whole(file) as first, written_whole(file) as second:
        first.write_text("first")
        second.write_text("second")
    assert file.read_text() == "first" and list(tmp_path.iterdir()) == [file]
