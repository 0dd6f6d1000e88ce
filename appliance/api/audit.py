"""/v1/audit: who did what, from which door, when."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.api.audit_log import AuditLog
from appliance.api.routes import Route, get
from appliance.model_access import AuditPage, AuditQuery
from appliance.model_api import Scope


class AuditResource:
    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit

    def routes(self) -> Sequence[Route]:
        return (get("/v1/audit", self.page, Scope.ADMIN),)

    async def page(self, query: AuditQuery) -> AuditPage:
        """What was done, tried or refused, newest first.

        Recorded are all calls that change something, wrong tokens, and clients that were refused at the door.
        """
        return await self._audit.search(query)
