"""/v1/tokens: make, list and revoke them."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.api.routes import Call, Route, delete, get, post
from appliance.api.token_store import TokenStore
from appliance.model_access import NewToken, TokenList, TokenQuery, TokenRequest, TokenView
from appliance.model_api import ResourceId, Scope


class TokensResource:
    def __init__(self, tokens: TokenStore) -> None:
        self._tokens = tokens

    def routes(self) -> Sequence[Route]:
        return (
            get("/v1/tokens", self.list, Scope.ADMIN),
            post("/v1/tokens", self.create, Scope.ADMIN, status=201),
            get("/v1/tokens/{token}", self.show, Scope.ADMIN),
            delete("/v1/tokens/{token}", self.revoke, Scope.ADMIN),
        )

    async def list(self, query: TokenQuery) -> TokenList:
        """The tokens that work, newest first; never their secrets."""
        return TokenList(tokens=await self._tokens.list(everything=query.all))

    async def create(self, call: Call, body: TokenRequest) -> NewToken:
        """Make a token; it is shown this once.

        Its name is unique, so that a repeated call makes no second one; hence no `Idempotency-Key` is needed.
        """
        return await self._tokens.create(body, call.caller.who)

    async def show(self, token: ResourceId) -> TokenView:
        """One token, by its id."""
        return await self._tokens.get(token)

    async def revoke(self, token: ResourceId) -> TokenView:
        """It is refused from now on, and its streams end."""
        return await self._tokens.revoke(token)
