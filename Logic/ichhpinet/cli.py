"""`ichhpinet` on the command line: segment, info, and the subcommands that other distributions' parts add.

Exit codes: 0 done, 2 bad usage or input, 1 anything else; an error is one line on stderr.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

from ichhpinet.errors import Cancelled, InputError

COMMANDS_GROUP = "ichhpinet.commands"  # entry points: name -> register(subparsers), which sets run(arguments) -> int
DONE, FAILED, BAD_INPUT = 0, 1, 2
BAR_AFTER_SECONDS, BAR_EVERY_SECONDS, BAR_WIDTH = 1.0, 0.1, 30
CT_ENDINGS = {"seg.nrrd": ".nrrd", "nii.gz": ".nii.gz"}  # the CT beside masks of that format

_log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; argv: without the program's name, None: the process's own. Returns the exit code."""
    try:
        arguments = build_parser().parse_args(argv)
        run: Callable[[argparse.Namespace], int] = arguments.run
        return run(arguments)
    except SystemExit as stop:  # argparse has said why
        return stop.code if isinstance(stop.code, int) else FAILED if stop.code else DONE
    except InputError as error:
        return _fail(str(error), BAD_INPUT)
    except (KeyboardInterrupt, Cancelled):
        return _fail("stopped", FAILED)
    except OSError as error:
        return _fail(_refusal(error), _code_of(error))
    except Exception as error:
        _log.debug("the command failed: %s", type(error).__name__)
        return _fail(_unexpected(error), FAILED)


def _refusal(error: OSError) -> str:
    """What the system, or a reader or writer of files, refused, without the path: it may name a patient."""
    if error.strerror is None:
        return _unexpected(error, named=False)
    known = error.filename2 or error.filename  # where a rename failed, the file that was to be written
    name = Path(known).name if isinstance(known, str) else "what was given"
    return f"{name} cannot be used: {error.strerror}"


def _unexpected(error: Exception, named: bool = True) -> str:
    said = str(error)
    shown = "" if any(mark in said for mark in "/\\") else said
    return ": ".join([*([type(error).__name__] if named or not shown else []), *([shown] if shown else [])])


def _code_of(error: OSError) -> int:
    """A full disk is no bad input."""
    bad = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)
    return BAD_INPUT if isinstance(error, bad) else FAILED


def build_parser() -> argparse.ArgumentParser:
    """The whole command line, with what other distributions' parts add."""
    parser = _OneLineParser(
        prog="ichhpinet",
        description="Intracranial haemorrhage in a head CT, stroke by stroke. Research use, not a medical device.",
    )
    parser.add_argument("--version", action="version", version=f"ichhpinet {version()}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_segment(subparsers)
    _add_info(subparsers)
    for entry in sorted(importlib.metadata.entry_points(group=COMMANDS_GROUP), key=lambda entry: entry.name):
        _add_command(subparsers, entry)
    return parser


def version() -> str:
    """The installed version."""
    try:
        return importlib.metadata.version("ichhpinet")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {message} ({self.prog} --help lists what can be given)\n")


def _fail(message: str, code: int) -> int:
    print(f"ichhpinet: {' '.join(message.split())}", file=sys.stderr)
    return code


def _add_command(subparsers: Any, entry: importlib.metadata.EntryPoint) -> None:
    """Let an entry point add its command; one that cannot be loaded becomes a command that says why."""
    try:
        entry.load()(subparsers)
    except Exception as error:  # somebody else's code must not take the other commands down
        _log.debug("the command %s could not be loaded: %s", entry.name, type(error).__name__)
        if entry.name in subparsers.choices:
            return
        reason = f"{entry.name} is not available: {type(error).__name__}: {error}"
        broken = subparsers.add_parser(entry.name, help="not available in this installation")
        broken.set_defaults(run=lambda arguments: _fail(reason, FAILED))


def _add_segment(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "segment",
        help="strokes in, masks and a report out",
        description="Segment a CT. Each scribble file is one round; without any, there is one proposed round.",
    )
    parser.add_argument("ct", metavar="CT", type=Path, nargs="?", help="NIfTI, NRRD or MHA file, or a DICOM folder")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder for the masks and report.json")
    parser.add_argument(
        "--scribbles",
        metavar="FILE",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        help="label maps on the CT's grid, 1 foreground, 2 background; several files are several rounds",
    )
    parser.add_argument("--propose", action="store_true", help="begin with a round without strokes")
    parser.add_argument("--format", choices=tuple(CT_ENDINGS), default="seg.nrrd", help="of the masks (seg.nrrd)")
    parser.add_argument("--hu", action="store_true", help="the CT's values are HU; overrules what is guessed")
    parser.add_argument(
        "--window",
        metavar=("L", "W"),
        type=float,
        nargs=2,
        help="the CT is a picture of this window, level and width in HU; overrules what is guessed",
    )
    parser.add_argument("--series", metavar="UID", help="which DICOM series: its UID, the end of it, or its number")
    parser.add_argument("--checkpoint", metavar="FILE", type=Path, help="weights (the bundled ones)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (auto: CUDA, else the CPU)")
    parser.set_defaults(run=_run_segment)


def _add_info(subparsers: Any) -> None:
    parser = subparsers.add_parser("info", help="the network, module by module, beside the published figures")
    parser.add_argument("--model", choices=("compact", "paper"), default="compact", help="which size (compact)")
    parser.add_argument("--checkpoint", metavar="FILE", type=Path, help="whose record is printed (the bundled weights)")
    parser.set_defaults(run=_run_info)


def _run_info(arguments: argparse.Namespace) -> int:
    from ichhpinet.networks import summary

    print(summary(arguments.model))
    if arguments.checkpoint is not None or arguments.model == "compact":
        from ichhpinet.checkpoint import load_checkpoint

        path = _weights(arguments.checkpoint)
        weights = load_checkpoint(path)
        print(f"\n{path.name}, SHA-256 {weights.digest}")
        print(json.dumps({"configuration": weights.config.to_dict(), "training": weights.training}, indent=1))
    return DONE


def _run_segment(arguments: argparse.Namespace) -> int:
    """Read and check everything, then compute round after round, writing each as it is done."""
    from ichhpinet.reading import read_volume
    from ichhpinet.report import Report, files_of

    window = tuple(arguments.window) if arguments.window else None
    ct, scribble_files = _ct_and_scribbles(arguments)
    with ProgressBar() as bar:
        volume = read_volume(ct, window=window, hounsfield=arguments.hu, series=arguments.series, progress=bar)
        strokes = [_read_scribbles(path, volume) for path in scribble_files]
        steps: list[Any] = [None, *strokes] if arguments.propose or not strokes else strokes
        out = _made_folder(arguments.out)
        ct_copy = f"ct{CT_ENDINGS[arguments.format]}" if ct.is_dir() else None
        masks = [f"round-{number}.{arguments.format}" for number in range(1, len(steps) + 1)]
        older = {name for name in files_of(out / "report.json") if not _is_same(out / name, ct)}
        _check_inputs_stay(out, {*masks, *older, *([ct_copy] if ct_copy else [])}, [ct, *scribble_files])

        from ichhpinet.predictor import Predictor

        bar(0.0, "loading the weights")
        predictor = Predictor.load(arguments.checkpoint, device=arguments.device)
        session = predictor.open(volume, progress=bar)
        notes = tuple(dict.fromkeys((*volume.notes, *session.notes)))
        for note in notes:
            bar.say(f"note: {note}")
        report = Report.begun(volume, predictor, _weights(arguments.checkpoint), version(), notes, ct_copy)
        bar.end()
        print(f"{'round':>5} {'ml':>8} {'change':>8} {'seconds':>8}  mask")
        for scribbles, name in zip(steps, masks, strict=True):
            result = session.propose(progress=bar) if scribbles is None else session.refine(scribbles, progress=bar)
            bar.end()
            row = report.add(result, scribbles, name)
            if ct_copy and not report.rounds[1:]:
                _write_ct(out / ct_copy, volume)
            _write_round(out / name, result, volume)
            report.write(out / "report.json")
            for stale in older - report.files:  # they would seem to belong to this report
                (out / stale).unlink(missing_ok=True)
            print(
                f"{result.number:>5} {row['volume_ml']:>8.2f} {row['delta_ml']:>+8.2f} {row['seconds']:>8.2f}  {name}"
            )
    return DONE


def _check_inputs_stay(out: Path, names: set[str], given: Sequence[Path]) -> None:
    """No file in `out` that is written or removed may be one that is read. Raises InputError."""
    for name in sorted(names):
        if any(_is_same(out / name, path) for path in given):
            raise InputError(f"{name} in {out.name} is given, and would be replaced; --out must be another folder")


def _is_same(one: Path, other: Path) -> bool:
    return one.exists() and one.samefile(other)


def _ct_and_scribbles(arguments: argparse.Namespace) -> tuple[Path, list[Path]]:
    """Where the CT stands last, behind the scribbles, argparse takes it for one of them. Raises InputError: none."""
    if arguments.ct is not None:
        return arguments.ct, arguments.scribbles
    if not arguments.scribbles:
        raise InputError("no CT is given; it must be a file or a DICOM folder")
    return arguments.scribbles[-1], arguments.scribbles[:-1]


def _read_scribbles(path: Path, volume: Any) -> Any:
    from ichhpinet.reading import read_labels
    from ichhpinet.scribbles import Scribbles

    try:
        scribbles = Scribbles.from_labels(read_labels(path, volume))
    except InputError as error:
        named = path.name in str(error)
        raise error if named else InputError(f"{path.name}: {error}") from None
    if scribbles.is_empty:
        raise InputError(f"{path.name} holds no strokes; it must have voxels of 1 (foreground) or 2 (background)")
    return scribbles


def _made_folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError:
        raise InputError(f"the folder {path.name} cannot be made; --out must be a folder, or not there yet") from None
    try:
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError:
        raise InputError(f"the folder {path.name} cannot be written to; --out must be one that can") from None
    return path


def _weights(checkpoint: Path | None) -> Path:
    from ichhpinet.resources import bundled_weights

    return bundled_weights() if checkpoint is None else checkpoint


def _write_ct(path: Path, volume: Any) -> None:
    from ichhpinet.writing import write_volume

    write_volume(path, volume)


def _write_round(path: Path, result: Any, volume: Any) -> None:
    from ichhpinet.writing import write_mask

    write_mask(path, result.mask, volume, name=f"Haemorrhage, round {result.number}")


class ProgressBar:
    """Called with (fraction in [0, 1], what). Once a step takes a second: on a terminal a bar, elsewhere a line."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._what, self._began, self._drawn_at, self._drawn = "", time.monotonic(), 0.0, False
        self._told = ""  # the step that has its line

    def __call__(self, fraction: float, what: str) -> None:
        now = time.monotonic()
        if what != self._what:
            self._what, self._began, self._told = what, now, ""
        if now - self._began < BAR_AFTER_SECONDS:
            return
        if not self._stream.isatty():
            if self._told != what:
                self._stream.write(f"{what}\n")
            self._told = what
        elif now - self._drawn_at >= BAR_EVERY_SECONDS:
            filled = round(BAR_WIDTH * min(max(fraction, 0.0), 1.0))
            self._stream.write(f"\r[{'#' * filled:<{BAR_WIDTH}}] {fraction:4.0%} {what[:40]:<40}")
            self._stream.flush()
            self._drawn_at, self._drawn = now, True

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def say(self, line: str) -> None:
        """A line of its own on the same stream."""
        self.end()
        self._stream.write(f"{line}\n")

    def end(self) -> None:
        """Wipe the bar, so that the next line begins clean."""
        if self._drawn:
            self._stream.write("\r" + " " * (BAR_WIDTH + 50) + "\r")
            self._stream.flush()
        self._what, self._drawn = "", False


if __name__ == "__main__":
    raise SystemExit(main())
