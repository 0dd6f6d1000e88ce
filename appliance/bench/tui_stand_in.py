"""The API over a simulated fleet, in a process of its own: what `amda bench tui` shows more sessions of than a machine
for sixty can run. Every answer has the shape and size of the daemon's; only the sessions behind it do not exist.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web

from appliance.model_api import PairingList, SessionList
from appliance.model_history import AlertList, UptimeList
from appliance.sockets import bind_unix
from tui.demo import DemoApi
from tui.demo_fleet import Fleet

STEP_S: Final = 1.0


class StandIn:
    """`changing`: share of the sessions that lose their connection each second."""

    def __init__(self, sessions: int, changing: float) -> None:
        self._api = DemoApi(Fleet(sessions, now=time.time()))
        self._losses = round(sessions * changing)

    def app(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.get("/v1/status", self._status),
                web.get("/v1/sessions", self._sessions),
                web.get("/v1/pairings", self._pairings),
                web.get("/v1/alerts", self._alerts),
                web.get("/v1/uptime", self._uptime),
                web.get("/v1/history/stats", self._stats),
                web.get("/v1/events", self._events),
            ]
        )
        return app

    async def shake(self) -> None:
        """Without end."""
        while True:
            await asyncio.sleep(STEP_S)
            await self._api.pass_time()
            await self._api.tell(self._api.fleet.shake(self._losses))

    async def _status(self, _request: web.Request) -> web.Response:
        return _json(await self._api.status())

    async def _sessions(self, _request: web.Request) -> web.Response:
        return _json(SessionList(sessions=await self._api.sessions()))

    async def _pairings(self, _request: web.Request) -> web.Response:
        return _json(PairingList(pairings=await self._api.pairings()))

    async def _alerts(self, _request: web.Request) -> web.Response:
        return _json(AlertList(alerts=await self._api.alerts()))

    async def _uptime(self, request: web.Request) -> web.Response:
        return _json(UptimeList(strips=await self._api.uptime(parts=int(request.query.get("parts", "24")))))

    async def _stats(self, request: web.Request) -> web.Response:
        return _json(await self._api.history_stats(since=float(request.query.get("since", "0"))))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        async for event in self._api.events(after=int(request.query["after"])):
            await response.write(b"id: %d\ndata: %s\n\n" % (event.seq, msgspec.json.encode(event)))
        return response


def _json(body: msgspec.Struct) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")


async def serve(socket: Path, sessions: int, changing: float) -> None:
    stand_in = StandIn(sessions, changing)
    runner = web.AppRunner(stand_in.app(), access_log=None)
    await runner.setup()
    await web.SockSite(runner, bind_unix(socket, mode=0o600)).start()
    await stand_in.shake()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--socket", type=Path, required=True)
    options.add_argument("--sessions", type=int, required=True)
    options.add_argument("--changing", type=float, required=True)
    given = options.parse_args()
    asyncio.run(serve(given.socket, given.sessions, given.changing))


if __name__ == "__main__":
    main()
