"""Carries requests and connections from the front door to a page process. Adds its key; keeps nothing."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
from aiohttp import web

from .pageprocess import KEY_HEADER
from .seats import Seat

HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailers",
    "transfer-encoding",
    "upgrade",
    "host",
    "content-encoding",
    "content-length",
}
LARGEST_MESSAGE_BYTES = 16 << 20  # of a page to its process; uploads do not come this way
GONE = "This page's process has ended."


async def carry(request: web.Request, seat: Seat, path: str, client: aiohttp.ClientSession) -> web.StreamResponse:
    """One request, its body streamed both ways."""
    headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
    headers[KEY_HEADER] = seat.settings.key
    if request.content_length is not None:
        headers["Content-Length"] = str(request.content_length)
    url = f"http://127.0.0.1:{seat.port}/{path}"
    body = request.content if request.can_read_body else None
    seat.requests += 1
    try:
        async with client.request(
            request.method, url, headers=headers, data=body, params=request.query, allow_redirects=False
        ) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            async for chunk in answer.content.iter_chunked(1 << 16):
                await response.write(chunk)
            await response.write_eof()
            return response
    except aiohttp.ClientError:
        return web.Response(status=502, text=GONE)
    finally:
        seat.requests -= 1
        seat.since = time.monotonic()


async def connect(request: web.Request, seat: Seat, path: str, client: aiohttp.ClientSession) -> web.StreamResponse:
    """A page's connection, until either end closes it."""
    page = web.WebSocketResponse(max_msg_size=LARGEST_MESSAGE_BYTES, compress=False, heartbeat=20.0)
    url = f"ws://127.0.0.1:{seat.port}/{path}"
    try:
        async with client.ws_connect(url, headers={KEY_HEADER: seat.settings.key}, max_msg_size=0) as process:
            await page.prepare(request)
            before, seat.socket = seat.socket, page
            if before is not None:  # the same address in another tab: the newest has the case
                await before.close()
            seat.connected()
            try:
                pumps = [asyncio.ensure_future(_pump(*ends)) for ends in ((page, process), (process, page))]
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                for pump in pumps:
                    pump.cancel()
            finally:
                seat.disconnected()
                if seat.socket is page:
                    seat.socket = None
                await page.close()
    except aiohttp.ClientError:
        return page if page.prepared else web.Response(status=502, text=GONE)
    return page


async def _pump(source: Any, target: Any) -> None:
    async for message in source:
        if message.type == aiohttp.WSMsgType.BINARY:
            await target.send_bytes(message.data)
        elif message.type == aiohttp.WSMsgType.TEXT:
            await target.send_str(message.data)
