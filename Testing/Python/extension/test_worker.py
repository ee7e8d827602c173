"""The engine in a process of its own: the same rounds, cancel, progress, one job at a time, death and start again."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from extension.scenes import DirectWorker, add_volume, ct_with_air, paint, refine, wait
from ichhpinet.errors import Cancelled, InputError
from ichhpinet.predictor import Predictor
from ichhpinet.volume import CTVolume
from ICHHPINetSlicer import rounds
from ICHHPINetSlicer import worker as worker_module
from ICHHPINetSlicer.engine import Done, Engine, Failed, Knock, Look, Open, Refine, serve
from ICHHPINetSlicer.logic import ICHHPINetLogic
from ICHHPINetSlicer.nodes import FOREGROUND_ID
from ICHHPINetSlicer.worker import SHORT_WAITS, Worker

FIRST, SECOND = (2, 5, 5), (3, 8, 8)


def labels(*voxels: tuple[int, int, int]) -> Any:
    """A label map with foreground strokes."""
    out = np.zeros((5, 16, 16), np.uint8)
    for voxel in voxels:
        out[voxel] = 1
    return out


def never() -> bool:
    """No cancel."""
    return False


def silent(fraction: float, what: str) -> None:
    """No progress."""


# -- the process -----------------------------------------------------------------------------------------------------


@pytest.fixture
def in_process(scene: Any, weights: Path) -> Iterator[ICHHPINetLogic]:
    """The logic of the scene, with a real engine process."""
    one = ICHHPINetLogic(scene, Worker(str(weights), "cpu"))
    yield one
    one.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the environment of a process from /proc")
def test_the_engines_threads_soon_sleep_while_they_wait_and_those_here_do_as_before(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SHORT_WAITS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KMP_BLOCKTIME", "7")  # the user's own
    worker = Worker(str(weights), "cpu")
    try:
        worker.warm_up()
        assert worker._process is not None
        file, end = Path(f"/proc/{worker._process.pid}/environ"), time.monotonic() + 20
        while not (text := file.read_bytes()) and time.monotonic() < end:  # it is not there before the program is
            time.sleep(0.01)
        environment = text.split(b"\0")
        assert f"GOMP_SPINCOUNT={SHORT_WAITS['GOMP_SPINCOUNT']}".encode() in environment
        assert b"KMP_BLOCKTIME=7" in environment
        assert "GOMP_SPINCOUNT" not in os.environ and os.environ["KMP_BLOCKTIME"] == "7"
    finally:
        worker.close()


def test_a_process_gives_the_rounds_that_the_same_engine_gives_here(
    in_process: ICHHPINetLogic, logic: ICHHPINetLogic, volume: Any, scene: Any
) -> None:
    told: list[tuple[float, str]] = []
    here = add_volume(scene, name="here")
    for voxel in (FIRST, SECOND):
        paint(in_process, volume, FOREGROUND_ID, voxel)
        in_process.refine(
            volume, lambda one: None, lambda kind, sentence: pytest.fail(sentence), lambda *what: told.append(what)
        )
        wait(in_process)
        paint(logic, here, FOREGROUND_ID, voxel)
        refine(logic, here)
    assert told and all(0 <= fraction <= 1 for fraction, _ in told)
    for number, one in rounds.rounds_of(volume).items():
        same = rounds.rounds_of(here)[number]
        assert np.array_equal(rounds.round_mask(one, volume), rounds.round_mask(same, here))


def kill_after_a_round(in_process: ICHHPINetLogic, volume: Any) -> None:
    """A round, another stroke, and the engine's process is gone."""
    paint(in_process, volume, FOREGROUND_ID, FIRST)
    refine(in_process, volume)
    paint(in_process, volume, FOREGROUND_ID, SECOND)
    in_process.worker._process.kill()
    in_process.worker._process.join()


def test_an_engine_that_dies_is_reported_and_the_next_round_goes_on_from_the_last(
    in_process: ICHHPINetLogic, volume: Any
) -> None:
    kill_after_a_round(in_process, volume)
    one = refine(in_process, volume)
    assert (one.number, one.parent) == (2, 1) and in_process.worker.starts == 2


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system cannot hold a process")
def test_an_engine_that_dies_mid_round_fails_that_round_alone(in_process: ICHHPINetLogic, volume: Any) -> None:
    paint(in_process, volume, FOREGROUND_ID, FIRST)
    refine(in_process, volume)
    paint(in_process, volume, FOREGROUND_ID, SECOND)
    os.kill(in_process.worker._process.pid, signal.SIGSTOP)
    said: list[str] = []
    in_process.refine(volume, lambda one: said.append("done"), lambda kind, sentence: said.append(sentence))
    in_process.worker._process.kill()
    wait(in_process)
    assert said == ["the engine stopped; nothing is lost, and it starts again with the next round"]
    assert len(in_process.table(volume)) == 1
    assert refine(in_process, volume).number == 2


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system cannot hold a process")
def test_nobody_waits_for_an_engine_that_was_killed_as_it_looked_for_a_cancel(
    in_process: ICHHPINetLogic, volume: Any
) -> None:
    paint(in_process, volume, FOREGROUND_ID, FIRST)
    refine(in_process, volume)
    paint(in_process, volume, FOREGROUND_ID, SECOND)
    worker = in_process.worker
    os.kill(worker._process.pid, signal.SIGSTOP)
    said: list[str] = []
    in_process.refine(volume, lambda one: said.append("done"), lambda kind, sentence: said.append(kind))
    holder = threading.Thread(target=worker._stop._cond.acquire)  # what it held is never given back
    holder.start()
    holder.join()
    worker._process.kill()
    worker._process.join()

    def end() -> None:
        worker.cancel()
        while worker.poll(0.05):
            pass
        worker.close()

    ending = threading.Thread(target=end, daemon=True)
    ending.start()
    ending.join(20)
    assert not ending.is_alive() and said == ["error"]


def test_an_engine_that_dies_as_it_is_written_to_fails_that_round_alone(
    in_process: ICHHPINetLogic, volume: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_after_a_round(in_process, volume)
    with monkeypatch.context() as nobody_knows_yet:
        nobody_knows_yet.setattr(Worker, "alive", True)
        in_process.worker.forget("another")
        said: list[str] = []
        in_process.refine(volume, lambda one: said.append("done"), lambda kind, sentence: said.append(sentence))
    wait(in_process)
    assert said == ["the engine stopped; nothing is lost, and it starts again with the next round"]
    assert refine(in_process, volume).number == 2


def test_a_cancel_reaches_the_process(in_process: ICHHPINetLogic, volume: Any) -> None:
    paint(in_process, volume, FOREGROUND_ID, FIRST)
    said: list[str] = []
    in_process.refine(volume, lambda one: said.append("done"), lambda kind, sentence: said.append(kind))
    in_process.cancel()
    wait(in_process)
    assert said == ["cancelled"]
    assert refine(in_process, volume).number == 1


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system cannot hold a process")
def test_an_engine_that_does_not_answer_a_cancel_is_ended_and_the_next_round_works(
    in_process: ICHHPINetLogic, volume: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "PATIENCE_SECONDS", 0.3)
    paint(in_process, volume, FOREGROUND_ID, FIRST)
    refine(in_process, volume)
    paint(in_process, volume, FOREGROUND_ID, SECOND)
    os.kill(in_process.worker._process.pid, signal.SIGSTOP)
    said: list[tuple[str, str]] = []
    in_process.refine(volume, lambda one: said.append(("done", "")), lambda *why: said.append(why))
    in_process.poll(1.0)
    assert said == [], "nobody has cancelled: a round may take long"
    in_process.cancel()
    wait(in_process)
    assert [kind for kind, _ in said] == ["cancelled"] and "did not answer" in said[0][1]
    assert len(in_process.table(volume)) == 1
    assert refine(in_process, volume).number == 2


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system cannot hold a process")
def test_a_ct_larger_than_a_pipe_holds_is_not_sent_to_an_engine_that_hung_while_it_was_idle(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "PATIENCE_SECONDS", 0.3)
    worker, said = Worker(str(weights), "cpu"), []
    large = CTVolume.from_array(np.zeros((3, 512, 512), np.float32), (5.0, 0.5, 0.5))
    try:
        worker.submit(Open("a", ct_with_air()), lambda one: said.append("opened"), lambda why: said.append(why.kind))
        while worker.poll(0.05):
            pass
        os.kill(worker._process.pid, signal.SIGSTOP)
        asking = threading.Thread(
            target=worker.submit, args=(Open("b", large), said.append, lambda why: said.append(why.kind)), daemon=True
        )
        asking.start()
        asking.join(20)
        if asking.is_alive():
            os.kill(worker._process.pid, signal.SIGKILL)  # the pipe ends, and with it what waits for it
        assert not asking.is_alive(), "whoever clicks waits for an engine that hangs"
        worker.cancel()
        while worker.poll(0.05):
            pass
        assert said == ["opened", "cancelled"]
        worker.submit(Open("b", large), lambda one: said.append("opened"), lambda why: said.append(why.kind))
        while worker.poll(0.05):
            pass
        assert said[2:] == ["opened"] and worker.starts == 2
    finally:
        worker.close()


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system cannot hold a process")
def test_closing_does_not_wait_for_an_engine_that_hangs(in_process: ICHHPINetLogic, volume: Any) -> None:
    paint(in_process, volume, FOREGROUND_ID, FIRST)
    refine(in_process, volume)
    process = in_process.worker._process
    os.kill(process.pid, signal.SIGSTOP)
    in_process.worker.close()
    assert not process.is_alive()


def test_closing_ends_the_process_and_calls_nobody(in_process: ICHHPINetLogic, volume: Any) -> None:
    paint(in_process, volume, FOREGROUND_ID, FIRST)
    said: list[str] = []
    in_process.refine(volume, lambda one: said.append("done"), lambda kind, sentence: said.append(kind))
    process = in_process.worker._process
    in_process.worker.close()
    assert not process.is_alive() and not in_process.worker.busy and said == []


def test_a_second_job_is_refused(weights: Path) -> None:
    worker = Worker(str(weights), "cpu")
    try:
        worker.submit(Look("nobody", 1), print, print)
        with pytest.raises(InputError, match="a round is under way"):
            worker.submit(Look("nobody", 1), print, print)
    finally:
        worker.close()


def test_an_error_in_the_engine_is_one_sentence_for_the_user_and_a_traceback_in_the_log(
    weights: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(Engine, "answer", broken)
    mine, theirs = multiprocessing.Pipe()
    mine.send(Knock())
    mine.send(Look("a", 1))
    thread = threading.Thread(target=serve, args=(theirs, threading.Event(), str(weights), "cpu"))
    thread.start()
    assert mine.recv() == ("ready", os.getpid())
    assert mine.recv() == ("answer", Failed("error", "the engine failed (RuntimeError); nothing has changed"))
    mine.close()
    thread.join()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "shapes do not match" in caplog.text and "Traceback" in caplog.text


def test_an_engine_whose_owner_is_gone_ends_without_a_word(weights: Path, caplog: pytest.LogCaptureFixture) -> None:
    mine, theirs = multiprocessing.Pipe()
    mine.close()
    serve(theirs, threading.Event(), str(weights), "cpu")
    mine, theirs = multiprocessing.Pipe()
    mine.send(Open("a", ct_with_air()))
    mine.send(Refine("a", None, labels(FIRST)))
    mine.close()
    serve(theirs, threading.Event(), str(weights), "cpu")
    assert not caplog.records


# -- the engine ------------------------------------------------------------------------------------------------------


def test_an_interpreter_that_cannot_be_started_is_said_by_the_first_job(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def blocked(process: Any) -> None:
        raise PermissionError(13, "blocked by an antivirus")

    worker = Worker(str(weights), "cpu")
    with monkeypatch.context() as patched:
        patched.setattr(worker._context.Process, "start", blocked)
        worker.warm_up()
        for _ in range(2):
            with pytest.raises(InputError, match="the engine's process cannot be started"):
                worker.submit(Open("a", ct_with_air()), pytest.fail, pytest.fail)
            assert not worker.busy and not worker.alive
    done: list[Any] = []
    worker.submit(Open("a", ct_with_air()), done.append, pytest.fail)
    while worker.poll(0.1):
        pass
    worker.close()
    assert done and done[0].current is None


def test_strokes_and_masks_cross_the_pipe_as_the_box_of_what_is_set() -> None:
    mask = np.zeros((40, 256, 256), bool)
    mask[20:22, 100:110, 30:60] = True
    for message in (Refine("a", None, mask.astype(np.uint8)), Done(1, None, 1.0, 2.0, mask, b"saved")):
        sent = pickle.dumps(message)
        got = pickle.loads(sent)
        assert len(sent) < 2000 and type(got) is type(message) and vars(got).keys() == vars(message).keys()
        for name, value in vars(message).items():
            assert np.array_equal(getattr(got, name), value) and type(getattr(got, name)) is type(value)
    assert pickle.loads(pickle.dumps(Refine("a", 3, None))) == Refine("a", 3, None)


def test_features_above_the_cap_are_let_go_and_the_rounds_go_on_as_if_they_had_not_been(weights: Path) -> None:
    tight, roomy = Engine(str(weights), "cpu", features_cap_bytes=0), Engine(str(weights), "cpu")
    for engine in (tight, roomy):
        for key, seed in (("a", 1), ("b", 2)):
            engine.answer(Open(key, ct_with_air(seed=seed)), silent, never)
            engine.answer(Refine(key, None, labels(FIRST)), silent, never)
    assert tight._volumes["a"].session is None and roomy._volumes["a"].session is not None
    answers = [engine.answer(Refine("a", 1, labels(SECOND)), silent, never) for engine in (tight, roomy)]
    assert np.array_equal(answers[0].mask, answers[1].mask) and answers[0].number == 2
    assert tight._volumes["b"].session is None


def test_a_cancelled_opening_leaves_nothing_open(weights: Path) -> None:
    engine = Engine(str(weights), "cpu")
    with pytest.raises(Cancelled):
        engine.answer(Open("a", ct_with_air()), silent, lambda: True)
    with pytest.raises(InputError, match="the volume is not open"):
        engine.answer(Refine("a", None, labels(FIRST)), silent, never)


def test_the_uncertainty_of_a_round_can_be_asked_for(weights: Path) -> None:
    engine = Engine(str(weights), "cpu")
    engine.answer(Open("a", ct_with_air()), silent, never)
    engine.answer(Refine("a", None, labels(FIRST)), silent, never)
    uncertainty = engine.answer(Look("a", 1), silent, never)
    assert uncertainty.dtype == np.uint8 and uncertainty.shape == (5, 16, 16)
    assert uncertainty[FIRST] == 0 and uncertainty.any()
    with pytest.raises(InputError, match="there is no round 9"):
        engine.answer(Look("a", 9), silent, never)


# -- a GPU that fails --------------------------------------------------------------------------------------------------


def with_a_gpu_that_fails(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """The first predictor is one on a GPU: each of its rounds raises the error. Those after it are on the CPU."""
    load, loaded = Predictor.load, []

    def fails(*_: Any) -> None:
        raise error

    def first_fails(weights: Any, device: str) -> Predictor:
        loaded.append(load(weights, "cpu"))
        if len(loaded) == 1:
            monkeypatch.setattr(loaded[0], "compute_round", fails)
        else:
            assert device == "cpu"
        return loaded[-1]

    monkeypatch.setattr(Predictor, "load", first_fails)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate"), "the memory of the GPU ran out"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "the memory of the GPU ran out"),
        (RuntimeError("CUDA error: unspecified launch failure"), "the GPU failed"),
    ],
)
def test_where_the_gpu_fails_the_round_is_made_on_the_cpu_with_a_notice(
    weights: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    here = Engine(str(weights), "cpu")
    here.answer(Open("a", ct_with_air()), silent, never)
    expected = here.answer(Refine("a", None, labels(FIRST)), silent, never)
    with_a_gpu_that_fails(monkeypatch, error)
    engine = Engine(str(weights), "auto")
    engine.answer(Open("a", ct_with_air()), silent, never)
    made = engine.answer(Refine("a", None, labels(FIRST)), silent, never)
    assert np.array_equal(made.mask, expected.mask) and engine.device == "cpu"
    assert made.notice == f"{said}; rounds are computed on the CPU from now on"
    after = engine.answer(Refine("a", 1, labels(SECOND)), silent, never)
    assert after.parent == 1 and after.notice == ""


def test_another_error_than_the_gpus_is_not_tried_again(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_a_gpu_that_fails(monkeypatch, RuntimeError("shapes do not match"))
    engine = Engine(str(weights), "auto")
    engine.answer(Open("a", ct_with_air()), silent, never)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        engine.answer(Refine("a", None, labels(FIRST)), silent, never)
    assert engine.device == "auto"


def test_the_user_is_told_that_the_gpu_failed(
    weights: Path, scene: Any, volume: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_a_gpu_that_fails(monkeypatch, torch.cuda.OutOfMemoryError("CUDA out of memory"))
    worker = DirectWorker(weights)
    worker.engine.device = "auto"
    logic = ICHHPINetLogic(scene, worker)
    paint(logic, volume, FOREGROUND_ID, FIRST)
    refine(logic, volume)
    assert [note for note in logic.notes(volume) if "GPU" in note] == [
        "the memory of the GPU ran out; rounds are computed on the CPU from now on"
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="it is looked up in /proc whether the interpreter runs")
@pytest.mark.parametrize("ending", ["cancelled", "closed"])
def test_an_engine_behind_a_launcher_is_ended_with_it(
    scene: Any, volume: Any, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """As PythonSlicer is: it starts the interpreter, and waits for it."""
    launcher = tmp_path / "launcher"
    launcher.write_text(f'#!/bin/sh\n"{sys.executable}" "$@"\nexit $?\n')
    launcher.chmod(0o700)
    monkeypatch.setattr(worker_module, "PATIENCE_SECONDS", 0.3)
    one = ICHHPINetLogic(scene, Worker(str(weights), "cpu", str(launcher)))
    paint(one, volume, FOREGROUND_ID, FIRST)
    refine(one, volume)
    paint(one, volume, FOREGROUND_ID, SECOND)
    engine = one.worker._pid
    assert engine is not None and engine != one.worker._process.pid
    os.kill(engine, signal.SIGSTOP)
    if ending == "cancelled":
        said: list[str] = []
        one.refine(volume, lambda done: said.append("done"), lambda kind, sentence: said.append(kind))
        one.cancel()
        wait(one)
        assert said == ["cancelled"]
    one.close()
    end = time.monotonic() + 10
    while _runs(engine):
        assert time.monotonic() < end, "the interpreter is left behind"
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return state.rpartition(")")[2].split()[0] not in "ZX"
