"""The front door: one address for every page. Lets in who may come, gives each tab a process, carries what they say."""

from __future__ import annotations

import hmac
import time
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from . import proxy
from .seats import Full, NotStarted, Seat, Seats
from .settings import is_loopback

STATIC = Path(__file__).with_name("static")
# Vue compiles the page's template in the browser, which needs 'unsafe-eval'; nothing is loaded from anywhere else.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self' ws: wss:; object-src 'none'; frame-ancestors 'none'; "
    "base-uri 'self'; form-action 'self'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",  # the address may hold a secret
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
FULL = "All {most} places of this server are taken. This page opens when one is free: close one that is not needed."
NOT_STARTED = "A page could not be started on this computer. What went wrong stands in the terminal of the server."


class Gateway:
    """secret: the first part of every address; None: loopback alone, nothing to know."""

    def __init__(self, seats: Seats, secret: str | None) -> None:
        self.seats, self._secret = seats, secret
        self._client: aiohttp.ClientSession | None = None
        self.app = web.Application(middlewares=[self._only_who_may])
        start = "" if secret is None else "/{secret}"
        self.app.add_routes(
            [
                web.get(f"{start}/", self._landing),
                web.get(f"{start}/icon.svg", self._icon),
                web.post(f"{start}/new", self._new),
                web.post(start + "/s/{name}/left", self._left),
                web.post(start + "/s/{name}/paraview/", self._where),
                web.route("*", start + "/s/{name}/{path:.*}", self._page),
            ]
        )
        self.app.on_response_prepare.append(_add_headers)
        self.app.on_startup.append(self._begin)
        self.app.on_shutdown.append(self._say_goodbye)
        self.app.on_cleanup.append(self._end)

    async def _begin(self, app: web.Application) -> None:
        self._client = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None), auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        )
        self.seats.open()

    async def _say_goodbye(self, app: web.Application) -> None:
        """Pages are told at once, and the end does not wait for them."""
        for seat in self.seats.taken():
            if seat.socket is not None:
                await seat.socket.close(code=aiohttp.WSCloseCode.GOING_AWAY)

    async def _end(self, app: web.Application) -> None:
        await self.seats.close()
        if self._client is not None:
            await self._client.close()

    @web.middleware
    async def _only_who_may(self, request: web.Request, handler: web.Handler) -> web.StreamResponse:  # type: ignore[name-defined]
        if self._secret is not None:
            given = request.match_info.get("secret", "")
            if not hmac.compare_digest(given.encode(), self._secret.encode()):
                return web.Response(status=404, text="There is nothing here. The address must be the whole one.")
        elif not is_loopback(urlsplit(f"//{request.host}").hostname or ""):  # another name that was made to lead here
            return web.Response(status=403, text="This page is served to this computer alone.")
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            return web.Response(status=403, text="Another site may not use this page.")
        return await handler(request)

    async def _landing(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(STATIC / "opening.html")

    async def _icon(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(STATIC / "icon.svg")

    async def _new(self, request: web.Request) -> web.StreamResponse:
        try:
            seat = await self.seats.take()
        except Full:
            return web.json_response({"sentence": FULL.format(most=self.seats.most)}, status=503)
        except NotStarted:
            return web.json_response({"sentence": NOT_STARTED}, status=500)
        return web.json_response({"page": f"s/{seat.name}/index.html"})

    async def _left(self, request: web.Request) -> web.StreamResponse:
        seat = self._seat(request)
        if seat is not None:
            seat.left_at = time.monotonic()
        return web.Response(status=204)

    async def _where(self, request: web.Request) -> web.StreamResponse:
        """trame's client asks for the address of its connection, and takes a refusal for an error in the console.

        It puts in the host and, behind a server that encrypts, `wss`: this one does not know what the browser sees.
        """
        address = f"ws://USE_HOST{request.path.removesuffix('paraview/')}ws"
        return web.json_response({"sessionURL": address, "secret": "wslink-secret"})

    async def _page(self, request: web.Request) -> web.StreamResponse:
        seat, path = self._seat(request), request.match_info["path"]
        if seat is None:
            return web.FileResponse(STATIC / "ended.html", status=404)
        client = self._client
        if client is None:
            return web.Response(status=503)
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await proxy.connect(request, seat, path, client)
        return await proxy.carry(request, seat, path, client)

    def _seat(self, request: web.Request) -> Seat | None:
        return self.seats.find(request.match_info["name"])


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers[name] = value
