"""/v1/alerts, /v1/silences and the person of a session: what is alarming, and who is told."""

from __future__ import annotations

import http
import time
from typing import Final

from aiohttp import web

from appliance.api.http import answer, read_body, read_query
from appliance.history.alerts import AlertService, rule_views
from appliance.history.persons import Persons
from appliance.history.settings import DAY_S
from appliance.model_history import (
    AlertList,
    AlertQuery,
    PersonRequest,
    RuleList,
    SilenceList,
    SilenceRequest,
    TrialOutcomes,
    TrialRequest,
)

_NOTHING: Final = http.HTTPStatus.NO_CONTENT
_LOCAL: Final = "operator"
"""Who acknowledges over the unix socket, where everybody has the same rights."""


class AlertsResource:
    def __init__(self, alerts: AlertService, persons: Persons) -> None:
        self._alerts = alerts
        self._persons = persons

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/alerts", self.list_alerts),
            web.get("/v1/alerts/rules", self.rules),
            web.post("/v1/alerts/test", self.test),
            web.post("/v1/alerts/{id}/acknowledge", self.acknowledge),
            web.get("/v1/silences", self.list_silences),
            web.post("/v1/silences", self.silence),
            web.delete("/v1/silences/{id}", self.end_silence),
            web.get("/v1/sessions/{id}/person", self.person),
            web.put("/v1/sessions/{id}/person", self.set_person),
            web.delete("/v1/sessions/{id}/person", self.remove_person),
        ]

    async def list_alerts(self, request: web.Request) -> web.Response:
        query = read_query(request, AlertQuery)
        since = time.time() - DAY_S if query.ended_since is None else query.ended_since
        return answer(AlertList(alerts=await self._alerts.alerts(since)))

    async def rules(self, _request: web.Request) -> web.Response:
        return answer(RuleList(rules=rule_views()))

    async def test(self, request: web.Request) -> web.Response:
        """Whether each target could be reached is part of the answer, not an error of it."""
        body = await read_body(request, TrialRequest)
        return answer(TrialOutcomes(outcomes=await self._alerts.test(body.session)))

    async def acknowledge(self, request: web.Request) -> web.Response:
        return answer(await self._alerts.acknowledge(request.match_info["id"], _LOCAL))

    async def list_silences(self, _request: web.Request) -> web.Response:
        return answer(SilenceList(silences=self._alerts.silences()))

    async def silence(self, request: web.Request) -> web.Response:
        body = await read_body(request, SilenceRequest)
        return answer(await self._alerts.silence(body), http.HTTPStatus.CREATED)

    async def end_silence(self, request: web.Request) -> web.Response:
        await self._alerts.end_silence(request.match_info["id"])
        return web.Response(status=_NOTHING)

    async def person(self, request: web.Request) -> web.Response:
        return answer(await self._persons.get(request.match_info["id"]))

    async def set_person(self, request: web.Request) -> web.Response:
        body = await read_body(request, PersonRequest)
        return answer(await self._persons.set(request.match_info["id"], body))

    async def remove_person(self, request: web.Request) -> web.Response:
        await self._persons.remove(request.match_info["id"])
        return web.Response(status=_NOTHING)
