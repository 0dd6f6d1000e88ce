"""/v1/storage: what is held and for whom, pruning, what was removed, what was refused."""

from __future__ import annotations

from aiohttp import web

from appliance.api.http import answer, read_body, read_query
from appliance.media.holdings import Holdings
from appliance.media.store import StoreError
from appliance.media.vault import Vault
from appliance.model_storage import PruneRequest, RefusalList, RemovalList, StorageListQuery
from appliance.problems import unavailable


class StorageResource:
    def __init__(self, vault: Vault, holdings: Holdings) -> None:
        self._vault = vault
        self._holdings = holdings

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/storage", self.usage),
            web.post("/v1/storage/prune", self.prune),
            web.get("/v1/storage/removals", self.removals),
            web.get("/v1/storage/refusals", self.refusals),
        ]

    async def usage(self, _request: web.Request) -> web.Response:
        return answer(await self._vault.usage())

    async def prune(self, request: web.Request) -> web.Response:
        wanted = await read_body(request, PruneRequest)
        try:
            return answer(await self._vault.prune(wanted))
        except StoreError as error:
            raise unavailable(str(error), "Try again: what was chosen already goes when the store is back.") from error

    async def removals(self, request: web.Request) -> web.Response:
        query = read_query(request, StorageListQuery)
        return answer(RemovalList(items=await self._holdings.removals(query.limit)))

    async def refusals(self, request: web.Request) -> web.Response:
        query = read_query(request, StorageListQuery)
        return answer(RefusalList(items=await self._holdings.refusals(query.limit)))
