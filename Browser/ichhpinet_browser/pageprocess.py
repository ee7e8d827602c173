"""The process behind one tab: a trame server on loopback that answers its front door alone.

Heavy imports stand inside `main`: the engine's process, which is started from this one, imports this file too.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import hmac
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

KEY_HEADER = "X-ICHHPINet-Key"
READY = "ready "  # the first line on standard output: READY and the port


def main() -> int:
    """Read PageSettings from the first line of standard input, serve, and end when standard input closes."""
    from ichhpinet_browser.settings import PageSettings

    settings = PageSettings.from_line(sys.stdin.readline())
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    tempfile.tempdir = settings.folder
    os.environ.update(dict.fromkeys(("TMPDIR", "TEMP", "TMP"), settings.folder))  # the engine's process too
    sys.argv = sys.argv[:1]  # trame reads the command line too
    from trame_server import Server

    server = Server(name="ichhpinet")
    server.client_type = "vue3"
    asyncio.run(_serve(server, settings))
    return 0


async def _serve(server: Any, settings: Any) -> None:
    from ichhpinet_browser.page import Page

    page = Page(server, settings)
    server.controller.on_server_bind.add(lambda web: _add_routes(web, page, settings))
    server.controller.on_server_ready.add(lambda **_: _tell(server.port))
    if settings.ct is not None:
        page.opening.open_path(Path(settings.ct), settings.series)
    end = asyncio.get_running_loop().create_task(_until_orphaned())
    run = server.start(
        port=0,
        host="127.0.0.1",
        open_browser=False,
        show_connection_info=False,
        disable_logging=True,
        exec_mode="coroutine",
        timeout=0,
    )
    serving = asyncio.ensure_future(run)
    await asyncio.wait({serving, end}, return_when=asyncio.FIRST_COMPLETED)
    page.close()
    gc.collect()
    shutil.rmtree(settings.folder, ignore_errors=True)  # the front door does too, unless it was killed
    os._exit(0)  # VTK and the encoder's threads have nothing left to save


def _tell(port: int) -> None:
    sys.stdout.write(f"{READY}{port}\n")
    sys.stdout.flush()


async def _until_orphaned() -> None:
    """Until the front door closes our standard input, or is gone."""
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


# -- routes ----------------------------------------------------------------------------------------------------------


def _add_routes(web_server: Any, page: Any, settings: Any) -> None:
    from aiohttp import web

    @web.middleware
    async def only_the_front_door(request: Any, handler: Any) -> Any:
        if not hmac.compare_digest(request.headers.get(KEY_HEADER, ""), settings.key):
            raise web.HTTPForbidden
        return await handler(request)

    async def index(request: Any) -> Any:
        return web.Response(text=_index(Path(page.server._www)), content_type="text/html")

    async def loading(request: Any) -> Any:
        return web.FileResponse(Path(__file__).with_name("static") / "loading.html")

    web_server.app.middlewares.append(only_the_front_door)
    web_server.app.router.add_get("/index.html", index)
    web_server.app.router.add_get("/loading.tpl", loading)
    web_server.app.router.add_post("/upload", lambda request: _upload(request, page, settings))
    web_server.app.router.add_get("/download/{what}", lambda request: _download(request, page))


def _index(www: Path) -> str:
    """trame's own index page, in our name."""
    text = (www / "index.html").read_text(encoding="utf-8")
    return (
        text.replace("<title>trame is built by Kitware</title>", "<title>ICHHPINet</title>")
        .replace(
            "Application built with trame, a product from Kitware",
            "Intracranial haemorrhage in head CT, stroke by stroke",
        )
        .replace(",maximum-scale=1,minimum-scale=1", "")
    )


async def _upload(request: Any, page: Any, settings: Any) -> Any:
    from aiohttp import web

    from ichhpinet_browser import uploads

    folder = Path(tempfile.mkdtemp(dir=settings.folder))
    most_bytes = settings.most_upload_mb << 20
    try:
        if (request.content_length or 0) > most_bytes + (1 << 20):
            raise uploads.too_large(most_bytes)
        path = await uploads.receive(_parts(await request.multipart()), folder, most_bytes)
        page.opening.open_path(path, uploaded=folder)
    except Exception as error:
        shutil.rmtree(folder, ignore_errors=True)
        if request.transport is None:  # the upload was cancelled, or broke off: the page knows which
            return web.Response(status=400)
        refused = _in_words(error, "an upload", "the upload could not be taken; nothing else has changed, try again")
        page.say("error", _sentence(refused))
        return web.json_response({"refused": str(refused)}, status=400)
    except BaseException:  # the page went while it sent: nothing of it stays
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return web.json_response({})


def _in_words(error: Exception, what: str, otherwise: str) -> Exception:
    """The error as an InputError. What is not expected is logged, without names."""
    from ichhpinet.errors import InputError
    from ichhpinet_browser import uploads

    if isinstance(error, InputError):
        return error
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return uploads.no_room()
    logging.getLogger(__name__).error("%s failed: %s", what, type(error).__name__)
    return InputError(otherwise)


def _sentence(error: Exception) -> str:
    return str(error)[:1].upper() + str(error)[1:] + "."


async def _parts(reader: Any) -> AsyncIterator[tuple[str, Any]]:
    while (part := await reader.next()) is not None:
        if part.filename:
            yield part.filename, part


async def _download(request: Any, page: Any) -> Any:
    from aiohttp import web

    try:
        made, sent = await page.download(request.match_info["what"])
    except Exception as error:
        refused = _in_words(error, "a download", "the file could not be made; nothing is lost, try again")
        page.say("error", _sentence(refused))  # a link that is saved shows nobody what came
        return web.Response(status=409, text=str(refused))
    disposition = {"Content-Disposition": f'attachment; filename="{made.name}"'}
    response = web.StreamResponse(headers={"Content-Type": made.kind, **disposition})
    response.content_length = len(made.content)
    await response.prepare(request)
    await response.write(made.content)
    await response.write_eof()
    sent()  # a download that broke off has saved nothing
    return response


if __name__ == "__main__":
    raise SystemExit(main())
