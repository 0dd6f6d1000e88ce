"""The client's calls about tokens, the audit and the doctor; `client.ApplianceClient` has them all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final, TypedDict, Unpack

from appliance.client_wire import Calls, query_of
from appliance.model_access import (
    AuditEntry,
    AuditPage,
    CallerView,
    Door,
    NewToken,
    TokenList,
    TokenRequest,
    TokenView,
)
from appliance.model_api import Scope
from appliance.model_doctor import DoctorReport

_PAGE: Final = 1000


class AuditConditions(TypedDict, total=False):
    """As in `AuditQuery`; None: any."""

    since: float | None
    session: str | None
    who: str | None
    action: str | None
    door: Door | None
    refused: bool | None


class AccessCalls(Calls):
    """Mixed into the client, which says how a request is made."""

    async def caller(self) -> CallerView:
        """Who we are to the API, and what we may do."""
        return await self._call("GET", "/v1/caller", CallerView)

    async def create_token(
        self, name: str, scope: Scope = Scope.READ, *, session: str | None = None, expires_in_s: float | None = None
    ) -> NewToken:
        """The token is in this answer and nowhere else."""
        body = TokenRequest(name=name, scope=scope, session=session, expires_in_s=expires_in_s)
        return await self._call("POST", "/v1/tokens", NewToken, body)

    async def tokens(self, *, everything: bool = False) -> list[TokenView]:
        """Those that work, or all; newest first."""
        query = {"all": str(everything).lower()}
        return (await self._call("GET", "/v1/tokens", TokenList, None, query)).tokens

    async def revoke_token(self, token: str) -> TokenView:
        """By its id."""
        return await self._call("DELETE", f"/v1/tokens/{token}", TokenView)

    async def doctor(self, only: Sequence[str] = ()) -> DoctorReport:
        """What the daemon finds when it looks at itself and its machine; takes some seconds. `only`: these checks."""
        query = [("only", name) for name in only]
        return await self._call("GET", "/v1/doctor", DoctorReport, None, query)

    async def audit(
        self, *, before: int | None = None, limit: int = 100, **conditions: Unpack[AuditConditions]
    ) -> AuditPage:
        """Who did what, newest first; every condition must hold."""
        values = {**conditions, "before": before, "limit": limit}
        if (refused := conditions.get("refused")) is not None:
            values["refused"] = str(refused).lower()
        return await self._call("GET", "/v1/audit", AuditPage, None, query_of(**values))

    async def all_audit(self, **conditions: Unpack[AuditConditions]) -> AsyncIterator[AuditEntry]:
        """Every entry that matches, newest first, page by page."""
        before = None
        while True:
            page = await self.audit(before=before, limit=_PAGE, **conditions)
            for item in page.items:
                yield item
            if (before := page.next) is None:
                return
