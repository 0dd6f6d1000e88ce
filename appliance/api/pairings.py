"""/v1/pairings: ask for a code or a QR code, follow an attempt, cancel it, lift a limit, see how it went day by day."""

from __future__ import annotations

import http

from aiohttp import web

from appliance.api.http import answer, read_body, read_query
from appliance.model_api import (
    DaysQuery,
    LiftRequest,
    LiftResult,
    PairingDays,
    PairingList,
    PairingQuery,
    PairRequest,
    WaitQuery,
)
from appliance.pairing.service import PairingService


class PairingsResource:
    def __init__(self, pairing: PairingService) -> None:
        self._pairing = pairing

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/pairings", self.list_pairings),
            web.post("/v1/pairings", self.request),
            web.get("/v1/pairings/days", self.days),
            web.post("/v1/pairings/lift", self.lift),
            web.get("/v1/pairings/{id}", self.show),
            web.post("/v1/pairings/{id}/cancel", self.cancel),
        ]

    async def list_pairings(self, request: web.Request) -> web.Response:
        query = read_query(request, PairingQuery)
        return answer(PairingList(pairings=await self._pairing.recent(query.session, query.limit)))

    async def request(self, request: web.Request) -> web.Response:
        """Asking again while an attempt is under way returns that attempt, with the code that it shows."""
        body = await read_body(request, PairRequest)
        view = await self._pairing.request(body.session, body.method, body.phone, relink=body.relink)
        return answer(view, http.HTTPStatus.ACCEPTED)

    async def show(self, request: web.Request) -> web.Response:
        query = read_query(request, WaitQuery)
        return answer(await self._pairing.wait(request.match_info["id"], query.since, query.wait_s))

    async def cancel(self, request: web.Request) -> web.Response:
        return answer(await self._pairing.cancel(request.match_info["id"]))

    async def lift(self, request: web.Request) -> web.Response:
        """For operators: the next request of this session is let in, whatever was counted."""
        body = await read_body(request, LiftRequest)
        return answer(LiftResult(lifted=await self._pairing.lift(body.session, body.phone)))

    async def days(self, request: web.Request) -> web.Response:
        query = read_query(request, DaysQuery)
        return answer(PairingDays(days=await self._pairing.days(query.days)))
