"""A web server on loopback that takes what is delivered, and misbehaves on request."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from aiohttp import web


class Received(msgspec.Struct, frozen=True):
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Receiver:
    """`status`, `headers`: what it answers; `hang`: it never does."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.taken: list[Received] = []
        """Those of them that were answered with 200."""
        self.arrived = asyncio.Condition()
        self.status = 200
        self.headers: dict[str, str] = {}
        self.hang = False
        self.url = ""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)

    async def start(self) -> None:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    @property
    def apprise_url(self) -> str:
        return self.url.replace("http://", "json://")

    async def wait(self, number: int, timeout: float = 20) -> list[Received]:
        """Until so many requests have come."""
        async with asyncio.timeout(timeout), self.arrived:
            await self.arrived.wait_for(lambda: len(self.received) >= number)
        return self.received

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        async with self.arrived:
            self.received.append(Received(request.path, dict(request.headers), body))
            self.taken += self.received[-1:] if self.status == 200 else []
            self.arrived.notify_all()
        if self.hang:
            await asyncio.Event().wait()
        headers = {"Location": f"{self.url}/elsewhere"} if self.status in (301, 302, 307, 308) else {}
        return web.Response(status=self.status, headers={**headers, **self.headers})
