"""A folder is held by one command at a time, and let go of however that ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ichhpinet.errors import InputError
from ichhpinet_workbench import alone
from ichhpinet_workbench.alone import alone_in

pytest.importorskip("fcntl")

HOLDER = """
import sys, time
from pathlib import Path
from ichhpinet_workbench.alone import alone_in
with alone_in(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_folder_is_held_by_one_and_free_again_after_it(tmp_path: Path) -> None:
    with alone_in(tmp_path / "out" / "run"):
        with pytest.raises(InputError, match="another command is at work in run; wait for its end"):
            with alone_in(tmp_path / "out" / "run"):
                pass
        with alone_in(tmp_path / "out" / "other"):
            pass
        (tmp_path / "out" / "run" / "kept").touch()
    with alone_in(tmp_path / "out" / "run"):
        pass
    assert (tmp_path / "out" / "run" / "kept").exists()
    assert not (tmp_path / "out" / "other").exists()  # made for nothing


def test_another_process_holds_it_too_and_no_longer_once_it_is_killed(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="another command is at work"), alone_in(tmp_path):
            pass
    finally:
        holder.kill()
        holder.wait()
    with alone_in(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="the folder file cannot be made"), alone_in(tmp_path / "file"):
        pass


def test_a_drive_without_locks_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(alone.fcntl, "flock", refused)
    with alone_in(tmp_path), alone_in(tmp_path):
        pass
