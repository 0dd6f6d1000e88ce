"""/v1/alerts, /v1/silences and the person of a session: what is alarming, and who is told."""

from __future__ import annotations

import time
from collections.abc import Sequence

from appliance.api.routes import Call, Creates, Route, delete, get, post, put
from appliance.history.alerts import AlertService, rule_views
from appliance.history.persons import Persons
from appliance.history.settings import DAY_S
from appliance.model_api import ResourceId, SessionId
from appliance.model_history import (
    AlertList,
    AlertQuery,
    AlertView,
    PersonRequest,
    PersonView,
    RuleList,
    SilenceList,
    SilenceRequest,
    SilenceView,
    TrialOutcomes,
    TrialRequest,
)
from appliance.problems import not_found


class AlertsResource:
    def __init__(self, alerts: AlertService, persons: Persons) -> None:
        self._alerts = alerts
        self._persons = persons

    def routes(self) -> Sequence[Route]:
        creates = Creates[SilenceView](name=lambda view: view.id, recall=self._silence_named)
        return (
            get("/v1/alerts", self.list),
            get("/v1/alerts/rules", self.rules),
            post("/v1/alerts/test", self.test),
            post("/v1/alerts/{alert}/acknowledge", self.acknowledge),
            get("/v1/silences", self.list_silences),
            post("/v1/silences", self.silence, status=201, creates=creates),
            delete("/v1/silences/{silence}", self.end_silence),
            get("/v1/sessions/{session}/person", self.person),
            put("/v1/sessions/{session}/person", self.set_person),
            delete("/v1/sessions/{session}/person", self.remove_person),
        )

    async def list(self, query: AlertQuery) -> AlertList:
        """What is alarming, open ones first, and what ended lately."""
        since = time.time() - DAY_S if query.ended_since is None else query.ended_since
        found = await self._alerts.alerts(since)
        return AlertList(alerts=[view for view in found if query.session in (None, view.session)])

    async def rules(self) -> RuleList:
        """What is watched."""
        return RuleList(rules=rule_views())

    async def test(self, body: TrialRequest) -> TrialOutcomes:
        """Send a test message to the operators, or to a session's person.

        Whether each target could be reached is part of the answer, not an error of it.
        """
        return TrialOutcomes(outcomes=await self._alerts.test(body.session))

    async def acknowledge(self, call: Call, alert: ResourceId) -> AlertView:
        """Somebody takes care of it: it is not repeated any more."""
        return await self._alerts.acknowledge(alert, call.caller.who)

    async def list_silences(self) -> SilenceList:
        """What nobody is told of for a while."""
        return SilenceList(silences=self._alerts.silences())

    async def silence(self, body: SilenceRequest) -> SilenceView:
        """Tell nobody of what matches for a while; alerts are shown all the same."""
        return await self._alerts.silence(body)

    async def end_silence(self, silence: ResourceId) -> None:
        """End a silence now."""
        await self._alerts.end_silence(silence)

    async def person(self, session: SessionId) -> PersonView:
        """Who is told when this session needs a human."""
        return await self._persons.get(session)

    async def set_person(self, session: SessionId, body: PersonRequest) -> PersonView:
        """Name the person who is told when this session needs a human."""
        return await self._persons.set(session, body)

    async def remove_person(self, session: SessionId) -> None:
        """Tell nobody any more."""
        await self._persons.remove(session)

    async def _silence_named(self, name: str) -> SilenceView:
        for view in self._alerts.silences():
            if view.id == name:
                return view
        raise not_found("silence", name, "It has ended.")
