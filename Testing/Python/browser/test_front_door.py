"""Who may come in, what a page process answers, and what is left behind: with requests alone, no browser."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from browser.serving import Served, get, page_processes, serve
from ichhpinet.errors import InputError
from ichhpinet_browser import pageprocess, seats
from ichhpinet_browser.command import _until_told

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are found in /proc")


def new_page(address: str, **headers: str) -> tuple[int, Any]:
    """POST new: status and answer."""
    request = urllib.request.Request(f"{address}new", data=b"", headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_on_loopback_only_this_computer_and_this_page_may_come(served: Served) -> None:
    assert get(served.address)[0] == 200
    assert get(served.address, Host="evil.example:80")[0] == 403, "a name that was made to lead here"
    assert get(served.address, Host="127.0.0.2:80")[0] == 200, "this computer under another of its addresses"
    assert new_page(served.address, Origin="http://evil.example")[0] == 403, "another site"
    assert get(f"{served.address}s/nobody/index.html")[0] == 404


def test_every_answer_forbids_foreign_content_and_keeps_the_address_to_itself(served: Served) -> None:
    with urllib.request.urlopen(served.address) as answer:
        headers = answer.headers
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert (headers["Referrer-Policy"], headers["X-Content-Type-Options"]) == ("no-referrer", "nosniff")


@linux
def test_a_page_process_answers_the_front_door_alone(served: Served) -> None:
    status, answer = new_page(served.address)
    assert status == 200
    assert get(f"{served.address}{answer['page']}")[0] == 200
    ports = set()
    for pid in page_processes(served.process.pid):
        ports |= _listening(pid)
    assert ports and all(get(f"http://127.0.0.1:{port}/index.html")[0] == 403 for port in ports)
    name = answer["page"].split("/")[1]
    urllib.request.urlopen(urllib.request.Request(f"{served.address}s/{name}/left", data=b"", method="POST"))
    served.all_free()


def _listening(pid: int) -> set[int]:
    """TCP ports that a process listens on."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        found = re.match(r"socket:\[(\d+)\]", str(link.readlink()))
        inodes |= {found[1]} if found else set()
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].split(":")[1], 16) for row in rows if row[3] == "0A" and row[9] in inodes}


def test_elsewhere_the_address_holds_a_secret(weights: Path, tmp_path: Path) -> None:
    with serve("--host", "0.0.0.0", "--checkpoint", weights, log=tmp_path / "log.txt") as one:
        found = re.fullmatch(r"http://0\.0\.0\.0:(\d+)/([0-9a-f]{48})/", one.address)
        assert found is not None
        start = f"http://127.0.0.1:{found[1]}/"
        assert get(start)[0] == 404 and get(f"{start}{'0' * 48}/")[0] == 404
        assert get(f"{start}{found[2]}/")[0] == 200
        shown = rf"From others: http://{re.escape(socket.gethostname())}:{found[1]}/{found[2]}/\n"
        assert re.search(shown, one.log.read_text(encoding="utf-8"))


def test_the_address_of_the_connection_leaves_host_and_encryption_to_the_browser(served: Served) -> None:
    seat = new_page(served.address)[1]["page"].split("/")[1]
    told = urllib.request.Request(f"{served.address}s/{seat}/paraview/", data=b"{}", method="POST")
    with urllib.request.urlopen(told, timeout=30) as answer:
        assert json.loads(answer.read())["sessionURL"] == f"ws://USE_HOST/s/{seat}/ws"


@linux
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_no_patients_file_is_left_however_the_server_ends(end: signal.Signals, weights: Path, tmp_path: Path) -> None:
    with serve("--checkpoint", weights, log=tmp_path / "log.txt") as one:
        new_page(one.address)
        (folder,) = (folder for folder in tmp_path.iterdir() if folder.name.startswith("ichhpinet-"))
        (seat,) = (seat for seat in folder.iterdir() if seat.is_dir())
        (seat / "DOE^JANE.dcm").touch()
        processes = page_processes(one.process.pid)
        one.process.send_signal(end)
        one.process.wait(30)
        until = time.monotonic() + 30
        while any(Path(f"/proc/{pid}").exists() for pid in processes) and time.monotonic() < until:
            time.sleep(0.1)
    assert not list(tmp_path.rglob("DOE*"))


@linux
def test_what_nohup_has_ignored_does_not_end_the_server() -> None:
    async def hung_up() -> bool:
        waiting = asyncio.ensure_future(_until_told())
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(0.1)
        ended = waiting.done()
        waiting.cancel()
        return ended

    for before, ends in ((signal.SIG_DFL, True), (signal.SIG_IGN, False)):
        old = signal.signal(signal.SIGHUP, before)
        try:
            assert asyncio.run(hung_up()) == ends
        finally:
            signal.signal(signal.SIGHUP, old)


@linux
def test_nothing_is_left_behind_and_nothing_private_is_logged(weights: Path, tmp_path: Path) -> None:
    case = tmp_path / "DOE^JANE.nrrd"
    case.write_bytes(b"NRRD0004\nnot a CT\n\n")
    with serve("--checkpoint", weights, case, log=tmp_path / "log.txt") as one:
        folders = [folder for folder in tmp_path.iterdir() if folder.name.startswith("ichhpinet-")]
        assert [folder.stat().st_mode & 0o777 for folder in folders] == [0o700]
        status, answer = new_page(one.address)
        assert status == 200 and get(f"{one.address}{answer['page']}")[0] == 200
        processes = page_processes(one.process.pid)
        assert processes
    assert not [folder for folder in tmp_path.iterdir() if folder.name.startswith("ichhpinet-")]
    assert not any(Path(f"/proc/{pid}").exists() for pid in processes)
    log = one.log.read_text(encoding="utf-8")
    assert "DOE" not in log and answer["page"].split("/")[1] not in log and "Traceback" not in log


def test_bad_arguments_are_one_line(tmp_path: Path) -> None:
    for arguments, words in (
        (["nowhere.nii"], "nowhere.nii does not exist; it must be a CT file or a DICOM folder"),
        (["--sessions", "0"], "--sessions is 0; it must be 1 or more"),
        (["--port", "99999"], "port 99999 of 127.0.0.1 cannot be used; choose another --port"),
    ):
        log = tmp_path / "log.txt"
        with pytest.raises(RuntimeError, match=words), serve(*arguments, log=log):
            pass


def test_a_port_in_use_is_said(served: Served, tmp_path: Path) -> None:
    port = served.address.rstrip("/").rsplit(":", 1)[1]
    with pytest.raises(RuntimeError, match=f"port {port} of 127.0.0.1 cannot be used"):
        with serve("--port", port, log=tmp_path / "log.txt"):
            pass


def test_a_tab_that_was_closed_long_ago_does_not_end_the_one_that_has_the_case(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(seats.time, "monotonic", lambda: now[0])
    seat = seats.Seat("name", seats.PageSettings("", "", ""), SimpleNamespace(returncode=None), 0)
    seat.connected()
    seat.left_at = now[0]  # its twin says goodbye
    now[0] += 3600
    seat.disconnected()
    assert not seat.is_over(now[0] + 1) and seat.is_over(now[0] + seats.AWAY_SECONDS + 1)


def test_a_page_that_reloads_or_still_sends_is_not_ended_for_who_asks_for_a_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1000.0]
    monkeypatch.setattr(seats.time, "monotonic", lambda: now[0])
    seat = seats.Seat("name", seats.PageSettings("", "", ""), SimpleNamespace(returncode=None), 0)
    seat.connected()
    seat.left_at = now[0]  # a reload says goodbye too
    seat.disconnected()
    now[0] += 2
    assert not seat.is_left(now[0]), "it may be back in a moment"
    now[0] += seats.RELOAD_SECONDS
    seat.requests += 1  # a session that is being saved
    assert not seat.is_left(now[0]) and not seat.is_over(now[0] + 3600)
    seat.requests -= 1
    assert seat.is_left(now[0]) and seat.is_over(now[0] + seats.LEFT_SECONDS)


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="this system has no groups of processes")
def test_ctrl_c_in_a_terminal_ends_it_without_a_word_while_a_page_starts(weights: Path, tmp_path: Path) -> None:
    """The signal goes to every process of the terminal's group."""
    with serve("--checkpoint", weights, log=tmp_path / "log.txt", start_new_session=True) as served:
        assert page_processes(served.process.pid), "the first page is being started"
        os.killpg(served.process.pid, signal.SIGINT)
        assert served.process.wait(20) == 0
    assert "Traceback" not in (tmp_path / "log.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "There is no room for this on the disk"),
        (InputError("there is no round yet; refine or propose first"), "There is no round yet"),
        (ValueError("ct/DOE^JANE"), "The file could not be made; nothing is lost, try again."),
    ],
)
def test_a_file_that_cannot_be_made_is_said_in_the_page(
    error: Exception, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The browser saves what a link answers, or shows a broken download: nobody reads it there."""

    async def download(what: str) -> Any:
        raise error

    said: list[tuple[str, str]] = []
    page = SimpleNamespace(download=download, say=lambda *what: said.append(what))
    answer = asyncio.run(pageprocess._download(SimpleNamespace(match_info={"what": "session.zip"}), page))
    assert answer.status == 409 and said[0][0] == "error" and said[0][1].startswith(words)
    assert "DOE" not in caplog.text + said[0][1]
