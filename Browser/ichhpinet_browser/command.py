"""`ichhpinet app`: serve the page until Ctrl+C. On loopback; elsewhere on request, with a secret in the address."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import webbrowser
from pathlib import Path
from typing import Any

from ichhpinet.errors import InputError

from .settings import MOST_SESSIONS, MOST_UPLOAD_MB, PageSettings, is_loopback

NEEDED = ("trame_slicer", "slicer_core", "aiohttp", "LayerDMLib")
INSTALL = "the web page needs trame-slicer and slicer-core; install the extra 'browser' of ichhpinet"
PORT = 8642
EVERY_ADDRESS = ("0.0.0.0", "::")


def register(subparsers: Any) -> None:
    """Add `app` to the command line."""
    parser = subparsers.add_parser(
        "app",
        help="the tool in a web page",
        description="Serve the page to this computer's browser until Ctrl+C. Research use, not a medical device.",
    )
    parser.add_argument("ct", metavar="CT", type=Path, nargs="?", help="open this CT in every page: a file or a folder")
    parser.add_argument("--series", help="of a folder with several: its number or UID; without it the page asks")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1); others get a secret")
    parser.add_argument("--port", type=int, default=PORT, help=f"port ({PORT}; 0: any free one)")
    parser.add_argument("--sessions", type=int, default=MOST_SESSIONS, help=f"pages at once ({MOST_SESSIONS})")
    parser.add_argument("--most-upload-mb", type=int, default=MOST_UPLOAD_MB, help=f"of one upload ({MOST_UPLOAD_MB})")
    parser.add_argument("--checkpoint", metavar="FILE", type=Path, help="weights (the bundled ones)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (auto: CUDA, else the CPU)")
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check, serve, clean up. Raises: InputError."""
    if any(importlib.util.find_spec(name) is None for name in NEEDED):
        raise InputError(INSTALL)
    _check(arguments)
    folder = Path(tempfile.mkdtemp(prefix="ichhpinet-"))  # readable by this user alone
    try:
        asyncio.run(_serve(arguments, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    for path, what in ((arguments.ct, "a CT file or a DICOM folder"), (arguments.checkpoint, "a weights file")):
        if path is not None and not path.exists():
            raise InputError(f"{path.name} does not exist; it must be {what}")
    if arguments.series is not None and (arguments.ct is None or not arguments.ct.is_dir()):
        raise InputError("a series is chosen, but no DICOM folder is given; --series is for one")
    for name in ("sessions", "most_upload_mb"):
        if getattr(arguments, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} is {getattr(arguments, name)}; it must be 1 or more")


async def _serve(arguments: argparse.Namespace, folder: Path) -> None:
    from aiohttp import web

    from .gateway import Gateway
    from .seats import Seats

    local = is_loopback(arguments.host)
    secret = None if local else secrets.token_hex(24)
    seats = Seats(arguments.sessions, folder, _likeness(arguments, local))
    runner = web.AppRunner(Gateway(seats, secret).app, access_log=None, shutdown_timeout=2.0)  # addresses hold secrets
    await runner.setup()
    try:
        site = web.TCPSite(runner, arguments.host, arguments.port)
        try:
            await site.start()
        except (OSError, OverflowError):
            raise InputError(
                f"port {arguments.port} of {arguments.host} cannot be used; choose another --port"
            ) from None
        address = _address(arguments.host, runner.addresses[0][1], secret)
        sys.stdout.write(f"ICHHPINet is at {address}\n")
        if arguments.host in EVERY_ADDRESS:  # which no other computer could open
            sys.stdout.write(f"From others: {_address(socket.gethostname(), runner.addresses[0][1], secret)}\n")
        sys.stdout.write("Ctrl+C ends it. Research use, not a medical device.\n")
        sys.stdout.flush()
        if local and not arguments.no_browser and _has_screen():
            webbrowser.open(address)
        await _until_told()
    finally:
        await runner.cleanup()


def _likeness(arguments: argparse.Namespace, local: bool) -> PageSettings:
    return PageSettings(
        key="",
        folder="",
        samples="",
        ct=None if arguments.ct is None else str(arguments.ct.resolve()),
        series=arguments.series,
        weights=None if arguments.checkpoint is None else str(arguments.checkpoint.resolve()),
        device=arguments.device,
        most_upload_mb=arguments.most_upload_mb,
        local=local,
    )


def _address(host: str, port: int, secret: str | None) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/" + (f"{secret}/" if secret is not None else "")


def _has_screen() -> bool:
    """Without one, webbrowser would start a text browser in the terminal."""
    return sys.platform != "linux" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


async def _until_told() -> None:
    """Until Ctrl+C, a request to end, or the end of the terminal; what nohup had ignored stays ignored."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        with contextlib.suppress(NotImplementedError, AttributeError):  # Windows: Ctrl+C ends asyncio.run itself
            number = getattr(signal, name)
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, told.set)
    await told.wait()
