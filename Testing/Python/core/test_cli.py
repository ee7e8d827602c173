"""The command line with a stand-in for the engine: what it reads, writes, says and returns."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import types
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from core.engine import tiny_checkpoint
from ichhpinet import cli, networks, resources
from ichhpinet.checkpoint import save_checkpoint
from ichhpinet.errors import Cancelled, InputError
from ichhpinet.reading import read_labels, read_volume
from ichhpinet.report import files_of
from ichhpinet.scribbles import Scribbles
from ichhpinet.volume import CTVolume
from ichhpinet.writing import write_mask, write_volume


@dataclass
class Round:
    number: int
    parent: int | None
    mask: np.ndarray
    seconds: float = 0.25


class StandInSession:
    """Adds foreground strokes to the mask, takes background strokes away."""

    def __init__(self, volume: CTVolume) -> None:
        self.mask = np.zeros(volume.shape, bool)
        self.notes = (*volume.notes, "the slices are coronal")
        self.number = 0

    def propose(self, progress: object = None) -> Round:
        self.mask[1, 2:4, 2:4] = True
        return self._round()

    def refine(self, strokes: Scribbles, progress: object = None) -> Round:
        self.mask = (self.mask | strokes.foreground) & ~strokes.background
        progress(1.0, "round")  # type: ignore[operator]
        return self._round()

    def _round(self) -> Round:
        self.number += 1
        return Round(self.number, self.number - 1 or None, self.mask.copy())


class StandInPredictor:
    device = "cpu"
    fails: BaseException | None = None

    @classmethod
    def load(cls, checkpoint: Path | None = None, device: str = "auto") -> StandInPredictor:
        if cls.fails is not None:
            raise cls.fails
        return cls()

    def open(self, volume: CTVolume, progress: object = None, cancel: object = None) -> StandInSession:
        return StandInSession(volume)


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[StandInPredictor]:
    module = types.ModuleType("ichhpinet.predictor")
    module.Predictor = StandInPredictor  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ichhpinet.predictor", module)
    weights = tmp_path / "weights.pt"
    weights.write_bytes(b"weights")
    monkeypatch.setattr(resources, "bundled_weights", lambda: weights)
    monkeypatch.setattr(StandInPredictor, "fails", None)
    return StandInPredictor


@pytest.fixture
def ct(tmp_path: Path, head: CTVolume) -> Path:
    write_volume(tmp_path / "ct.nii.gz", head)
    return tmp_path / "ct.nii.gz"


def strokes_file(path: Path, head: CTVolume, foreground: tuple[int, ...], background: tuple[int, ...] = ()) -> Path:
    import SimpleITK as sitk

    from ichhpinet.volume import image_on_grid

    labels = np.zeros(head.shape, np.uint8)
    labels[list(foreground), 5, 5] = 1
    labels[list(background), 6, 6] = 2
    sitk.WriteImage(image_on_grid(labels, head), str(path))
    return path


def test_each_scribble_file_is_a_round_with_a_mask_and_a_row(tmp_path: Path, ct: Path, head: CTVolume) -> None:
    files = [strokes_file(tmp_path / "a.nrrd", head, (2, 3)), strokes_file(tmp_path / "b.nrrd", head, (4,), (1,))]
    out = tmp_path / "out"
    assert cli.main(["segment", str(ct), "--scribbles", *map(str, files), "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["report.json", "round-1.seg.nrrd", "round-2.seg.nrrd"]
    assert read_labels(out / "round-2.seg.nrrd", head).sum() == 3
    report = json.loads((out / "report.json").read_text())
    assert report["purpose"] == "research use, not a medical device"
    assert report["ct"]["sha256"] == read_volume(ct).digest() and report["ct"]["notes"] == ["the slices are coronal"]
    assert len(report["model"]["weights_sha256"]) == 64 and report["model"]["device"] == "cpu"
    first, second = report["rounds"]
    assert (first["number"], first["parent"], second["parent"]) == (1, None, 1)
    assert first["strokes"] == {"foreground_voxels": 2, "background_voxels": 0, "slices": [2, 3]}
    assert second["strokes"] == {"foreground_voxels": 1, "background_voxels": 1, "slices": [1, 4]}
    assert second["delta_ml"] == pytest.approx(second["volume_ml"] - first["volume_ml"], abs=1e-3)
    assert second["seconds"] == 0.25 and second["mask"] == "round-2.seg.nrrd"


def test_scribbles_given_one_by_one_are_rounds_too(tmp_path: Path, ct: Path, head: CTVolume) -> None:
    files = [strokes_file(tmp_path / "a.nrrd", head, (2, 3)), strokes_file(tmp_path / "b.nrrd", head, (4,))]
    given = [word for file in files for word in ("--scribbles", str(file))]
    assert cli.main(["segment", str(ct), *given, "--out", str(tmp_path / "out")]) == 0
    assert [row["mask"] for row in json.loads((tmp_path / "out" / "report.json").read_text())["rounds"]] == [
        "round-1.seg.nrrd",
        "round-2.seg.nrrd",
    ]


def test_the_ct_may_stand_behind_its_scribbles_and_none_at_all_is_said(
    tmp_path: Path, ct: Path, head: CTVolume, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(strokes_file(tmp_path / f"{name}.nrrd", head, (2,))) for name in "ab"]
    assert cli.main(["segment", "--out", str(tmp_path / "out"), "--scribbles", *files, str(ct)]) == 0
    assert len(json.loads((tmp_path / "out" / "report.json").read_text())["rounds"]) == 2
    for line, says in ([], "no CT is given"), (["--scribbles", *files], "b.nrrd is a label map, not a CT"):
        assert cli.main(["segment", "--out", str(tmp_path / "none"), *line]) == 2
        assert says in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_values_that_are_said_to_be_hu_are_not_guessed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stripped = np.zeros((3, 16, 16), np.float32)
    stripped[:, 4:12, 4:12] = np.linspace(1.0, 119.5, 64).reshape(8, 8)
    sitk.WriteImage(sitk.GetImageFromArray(stripped), str(tmp_path / "brain.nrrd"))
    command = ["segment", str(tmp_path / "brain.nrrd"), "--out", str(tmp_path / "out")]
    assert cli.main(command) == 2 and "or say that they are" in capsys.readouterr().err
    assert cli.main([*command, "--hu"]) == 0
    notes = json.loads((tmp_path / "out" / "report.json").read_text())["ct"]["notes"]
    assert notes == ["values 0 to 119.5 were read as HU, as asked", "the slices are coronal"]
    assert cli.main([*command, "--hu", "--window", "40", "80"]) == 2
    assert "one or the other" in capsys.readouterr().err


def test_the_report_names_no_file_that_the_user_gave(tmp_path: Path, head: CTVolume) -> None:
    write_volume(tmp_path / "Doe^John.nrrd", head)
    strokes = strokes_file(tmp_path / "Doe strokes.nrrd", head, (2,))
    cli.main(["segment", str(tmp_path / "Doe^John.nrrd"), "--scribbles", str(strokes), "--out", str(tmp_path / "out")])
    assert "Doe" not in (tmp_path / "out" / "report.json").read_text()


def test_without_scribbles_there_is_one_proposed_round(tmp_path: Path, ct: Path, head: CTVolume) -> None:
    assert cli.main(["segment", str(ct), "--out", str(tmp_path / "out"), "--format", "nii.gz"]) == 0
    assert read_labels(tmp_path / "out" / "round-1.nii.gz", head).sum() == 4


def test_propose_comes_before_the_scribbles(tmp_path: Path, ct: Path, head: CTVolume) -> None:
    strokes = strokes_file(tmp_path / "a.nrrd", head, (2,))
    arguments = ["segment", str(ct), "--propose", "--scribbles", str(strokes), "--out", str(tmp_path / "out")]
    assert cli.main(arguments) == 0
    assert read_labels(tmp_path / "out" / "round-2.seg.nrrd", head).sum() == 5


def test_a_dicom_folder_has_its_ct_written_beside_the_masks(tmp_path: Path, real_series: Path) -> None:
    assert cli.main(["segment", str(real_series), "--out", str(tmp_path / "out")]) == 0
    straight = read_volume(tmp_path / "out" / "ct.nrrd")
    assert read_labels(tmp_path / "out" / "round-1.seg.nrrd", straight).sum() == 4
    assert "gantry tilt" in json.loads((tmp_path / "out" / "report.json").read_text())["ct"]["notes"][0]


def test_what_reading_assumed_is_said_and_a_window_overrules_it(
    tmp_path: Path, head: CTVolume, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = (np.clip(head.hu / 80, 0, 1) * 255).round()
    image = CTVolume.from_array(picture, head.spacing_mm).to_sitk()
    sitk.WriteImage(image, str(tmp_path / "picture.nrrd"))  # as others write it, without saying that it is HU
    arguments = ["segment", str(tmp_path / "picture.nrrd"), "--out", str(tmp_path / "out")]
    assert cli.main(arguments) == 0 and "taken as a brain window" in capsys.readouterr().err
    assert cli.main([*arguments, "--window", "50", "200"]) == 0
    assert "level 50, width 200 HU, as asked" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "COMMAND"),
        (["nonsense"], "invalid choice"),
        (["segment", "ct.nii"], "--out"),
        (["segment", "ct.nii", "--out", "o", "--window", "40"], "--window"),
        (["segment", "ct.nii", "--out", "o", "--format", "png"], "invalid choice"),
        (["segment", "no-such-file.nii", "--out", "o"], "no-such-file.nii does not exist"),
        (["info", "--model", "huge"], "invalid choice"),
    ],
)
def test_bad_usage_and_input_is_one_line_and_exit_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and said in error and error.startswith("ichhpinet")


def test_bad_scribbles_are_refused_before_the_engine_is_loaded_and_leave_nothing(
    tmp_path: Path, ct: Path, head: CTVolume, capsys: pytest.CaptureFixture[str], stand_in: type[StandInPredictor]
) -> None:
    stand_in.fails = AssertionError("the engine was loaded")
    other = CTVolume.from_array(head.hu, (4.0, 0.5, 0.75), head.origin, head.direction)
    for strokes, said in (
        (strokes_file(tmp_path / "grid.nrrd", other, (2,)), "grid.nrrd is on another grid than the CT: its spacing"),
        (strokes_file(tmp_path / "none.nrrd", head, ()), "none.nrrd holds no strokes"),
        (tmp_path / "missing.nrrd", "missing.nrrd is not a file"),
        (labels_of_3(tmp_path / "three.nrrd", head), "three.nrrd: the scribble labels hold 3"),
    ):
        assert cli.main(["segment", str(ct), "--scribbles", str(strokes), "--out", str(tmp_path / "out")]) == 2
        assert said in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def labels_of_3(path: Path, head: CTVolume) -> Path:
    write_mask(path, np.zeros(head.shape, bool), head)
    import SimpleITK as sitk

    sitk.WriteImage(sitk.ReadImage(str(path)) + 3, str(path))
    return path


def test_an_out_that_is_a_file_is_bad_input(tmp_path: Path, ct: Path) -> None:
    (tmp_path / "out").touch()
    assert cli.main(["segment", str(ct), "--out", str(tmp_path / "out")]) == 2


def test_an_out_that_cannot_be_written_to_is_found_before_anything_is_computed(
    tmp_path: Path,
    ct: Path,
    stand_in: type[StandInPredictor],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    stand_in.fails = AssertionError("the engine was asked")
    monkeypatch.setattr(cli.tempfile, "TemporaryFile", refuse)  # whoever tests as root can write anywhere
    assert cli.main(["segment", str(ct), "--out", str(tmp_path / "out")]) == 2
    assert "the folder out cannot be written to" in capsys.readouterr().err


def test_files_of_an_earlier_run_do_not_stay_beside_the_new_report(tmp_path: Path, ct: Path, head: CTVolume) -> None:
    out, first = tmp_path / "out", strokes_file(tmp_path / "a.nii.gz", head, (1,))
    second = strokes_file(tmp_path / "b.nii.gz", head, (2,))
    assert cli.main(["segment", str(ct), "--scribbles", str(first), str(second), "--out", str(out)]) == 0
    (out / "round-9.seg.nrrd").touch()  # the user's own
    assert cli.main(["segment", str(ct), "--scribbles", str(second), "--out", str(out)]) == 0
    assert sorted(file.name for file in out.iterdir()) == ["report.json", "round-1.seg.nrrd", "round-9.seg.nrrd"]


def test_the_ct_of_an_earlier_series_does_not_stay_beside_the_masks_of_another_ct(
    tmp_path: Path, ct: Path, real_series: Path, stand_in: type[StandInPredictor]
) -> None:
    out = tmp_path / "out"
    assert cli.main(["segment", str(real_series), "--out", str(out)]) == 0
    assert files_of(out / "report.json") == {"ct.nrrd", "round-1.seg.nrrd"}
    stand_in.fails = RuntimeError("no engine")
    before = (out / "ct.nrrd").read_bytes()
    assert cli.main(["segment", str(ct), "--out", str(out)]) == 1
    assert (out / "ct.nrrd").read_bytes() == before
    stand_in.fails = None
    assert cli.main(["segment", str(out / "ct.nrrd"), "--out", str(out)]) == 0, "its copy may be what is read"
    assert (out / "ct.nrrd").read_bytes() == before


def test_another_ct_takes_the_copy_of_the_first_away(tmp_path: Path, ct: Path, real_series: Path) -> None:
    out = tmp_path / "out"
    assert cli.main(["segment", str(real_series), "--out", str(out)]) == 0
    assert cli.main(["segment", str(ct), "--out", str(out), "--format", "nii.gz"]) == 0
    assert sorted(file.name for file in out.iterdir()) == ["report.json", "round-1.nii.gz"]


def test_no_file_that_is_read_is_replaced_or_removed(
    tmp_path: Path, ct: Path, head: CTVolume, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(read: Path, *more: str) -> None:
        kept = read.read_bytes()
        assert cli.main(["segment", *more, "--out", str(out)]) == 2
        assert f"{read.name} in out is given, and would be replaced" in capsys.readouterr().err
        assert read.read_bytes() == kept

    out = tmp_path / "out"
    out.mkdir()
    strokes = strokes_file(out / "round-1.nii.gz", head, (2,))
    run(strokes, str(ct), "--scribbles", str(strokes), "--format", "nii.gz")
    assert cli.main(["segment", str(ct), "--scribbles", str(strokes), "--out", str(out)]) == 0, "another format"
    run(out / "round-1.seg.nrrd", str(ct), "--scribbles", str(out / "round-1.seg.nrrd"), "--format", "nii.gz")
    moved = out / "round-2.nii.gz"
    moved.write_bytes(ct.read_bytes())
    elsewhere = str(strokes.rename(tmp_path / "strokes.nii.gz"))
    run(moved, str(moved), "--scribbles", elsewhere, elsewhere, "--format", "nii.gz")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"rounds": 3}',
        '{"rounds": [], "ct": {"file": "../ct.nrrd"}}',
        '{"rounds": [{"mask": "../ct.nii.gz"}, {"mask": "ct.nii.gz"}, {"mask": 4}]}',
    ],
)
def test_what_is_no_report_lists_no_files(tmp_path: Path, text: str) -> None:
    (tmp_path / "report.json").write_text(text)
    assert files_of(tmp_path / "report.json") == set()


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (RuntimeError("a\nb"), "RuntimeError: a b"),
        (RuntimeError("scans/doe^jane/ct.nii cannot be opened"), "RuntimeError"),
        (
            OSError(28, "No space left on device", "scans/doe^jane/ct.nii"),
            "ct.nii cannot be used: No space left on device",
        ),
        (OSError(18, "Not here", "scans/.1f.nrrd", None, "scans/doe^jane/ct.nii"), "ct.nii cannot be used: Not here"),
        (OSError("round-1.seg.nrrd could not be written"), "round-1.seg.nrrd could not be written"),
        (OSError("scans/doe^jane/ct.nii is odd"), "OSError"),
        (KeyboardInterrupt(), "stopped"),
        (Cancelled(), "stopped"),
    ],
)
def test_any_other_failure_is_one_line_and_exit_code_1(
    failure: BaseException,
    said: str,
    tmp_path: Path,
    ct: Path,
    stand_in: type[StandInPredictor],
    capsys: pytest.CaptureFixture[str],
) -> None:
    stand_in.fails = failure
    assert cli.main(["segment", str(ct), "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == f"ichhpinet: {said}"


def test_info_prints_the_summary(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(networks, "summary", lambda name: f"summary of {name}", raising=False)
    assert cli.main(["info", "--model", "paper"]) == 0
    assert capsys.readouterr().out == "summary of paper\n"


def test_info_prints_the_record_that_the_weights_carry(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "tiny.pt"
    digest = save_checkpoint(path, replace(tiny_checkpoint(), training={"data": "toys"}))
    assert cli.main(["info", "--checkpoint", str(path)]) == 0
    table, _, record = capsys.readouterr().out.partition(f"\ntiny.pt, SHA-256 {digest}\n")
    told = json.loads(record)
    assert told["training"] == {"data": "toys"} and told["configuration"]["name"] == "tiny"
    assert "VIM" in table and str(tmp_path) not in record


def test_version_and_help_are_exit_code_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0 and capsys.readouterr().out.startswith("ichhpinet ")
    assert cli.main(["segment", "--help"]) == 0 and "--scribbles" in capsys.readouterr().out


class Entry:
    """An entry point of another part."""

    def __init__(self, name: str, register: object) -> None:
        self.name, self._register = name, register

    def load(self) -> object:
        if isinstance(self._register, Exception):
            raise self._register
        return self._register


def test_other_parts_add_commands_and_a_broken_one_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def register(subparsers: object) -> None:
        parser = subparsers.add_parser("greet")  # type: ignore[attr-defined]
        parser.set_defaults(run=lambda arguments: 7)

    entries = [Entry("greet", register), Entry("broken", ImportError("no module scipy"))]
    monkeypatch.setattr(cli.importlib.metadata, "entry_points", lambda group: entries)
    assert cli.main(["greet"]) == 7
    assert cli.main(["broken"]) == 1
    assert "broken is not available: ImportError: no module scipy" in capsys.readouterr().err


def test_away_from_a_terminal_progress_is_a_line_a_step_that_takes_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(cli.time, "monotonic", lambda: clock[0])
    stream = io.StringIO()
    bar = cli.ProgressBar(stream)
    for now, what in ((0.0, "reading"), (0.9, "reading"), (0.9, "encoding"), (1.8, "encoding")):
        clock[0] = now
        bar(0.5, what)
    assert stream.getvalue() == "", "a file that cannot be used is said in one line"
    for now in (2.0, 2.5, 9.0):
        clock[0] = now
        bar(0.5, "encoding")
    bar.end()
    assert stream.getvalue() == "encoding\n"


def test_on_a_terminal_a_bar_is_drawn_once_a_step_is_long_and_wiped_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    clock = iter([0.0, 0.5, 2.0, 2.05])
    monkeypatch.setattr(cli.time, "monotonic", lambda: next(clock, 9.0))
    stream = Terminal()
    bar = cli.ProgressBar(stream)
    bar(0.0, "reading")
    assert stream.getvalue() == ""
    bar(0.5, "reading")
    assert " 50% reading" in stream.getvalue()
    with pytest.raises(InputError), bar:
        raise InputError("what goes wrong is said on a line of its own")
    assert stream.getvalue().endswith(" \r")


def test_the_package_runs_as_a_module() -> None:
    logic = str(Path(cli.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "ichhpinet", "--version"],
        env=os.environ | {"PYTHONPATH": logic},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and done.stdout.startswith("ichhpinet ")


@pytest.mark.parametrize("error", [FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError])
def test_a_file_where_a_folder_must_be_is_bad_input_and_its_path_is_not_said(
    error: type[OSError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def register(subparsers: object) -> None:
        def run(_: object) -> int:
            raise error(17, "File exists", "/patients/doe/out")

        subparsers.add_parser("write").set_defaults(run=run)  # type: ignore[attr-defined]

    monkeypatch.setattr(cli.importlib.metadata, "entry_points", lambda group: [Entry("write", register)])
    assert cli.main(["write"]) == 2
    assert capsys.readouterr().err == "ichhpinet: out cannot be used: File exists\n"
