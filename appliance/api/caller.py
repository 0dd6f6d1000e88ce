"""/v1/caller: who somebody is to the API, and what they may do."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.api.gatekeeper import unauthorised
from appliance.api.routes import Call, Route, get
from appliance.model_access import CallerView, Door


class CallerResource:
    def routes(self) -> Sequence[Route]:
        return (get("/v1/caller", self.show, own_session_check=True),)

    async def show(self, call: Call) -> CallerView:
        """Who makes this call and what they may do, so that a screen does not offer what would be refused."""
        caller = call.caller
        if caller.scope is None:
            raise unauthorised("This needs a token.")
        return CallerView(who=caller.who, door=Door(caller.door), scope=caller.scope, session=caller.session)
