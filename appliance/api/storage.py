"""/v1/storage: what is held and for whom, pruning, what was removed, what was refused."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.api.routes import Route, get, post
from appliance.media.holdings import Holdings
from appliance.media.store import StoreError
from appliance.media.vault import Vault
from appliance.model_storage import PruneReport, PruneRequest, RefusalList, RemovalList, StorageListQuery, StorageUsage
from appliance.problems import unavailable


class StorageResource:
    def __init__(self, vault: Vault, holdings: Holdings) -> None:
        self._vault = vault
        self._holdings = holdings

    def routes(self) -> Sequence[Route]:
        return (
            get("/v1/storage", self.usage),
            post("/v1/storage/prune", self.prune),
            get("/v1/storage/removals", self.removals),
            get("/v1/storage/refusals", self.refusals),
        )

    async def usage(self) -> StorageUsage:
        """What is stored by session, category and age, the trend, and the days left."""
        return await self._vault.usage()

    async def prune(self, body: PruneRequest) -> PruneReport:
        """Make room now; with `dry_run` only say what would go."""
        try:
            return await self._vault.prune(body)
        except StoreError as error:
            raise unavailable(str(error), "Try again: what was chosen already goes when the store is back.") from error

    async def removals(self, query: StorageListQuery) -> RemovalList:
        """What is no longer stored, and why; newest first."""
        return RemovalList(items=await self._holdings.removals(query.limit))

    async def refusals(self, query: StorageListQuery) -> RefusalList:
        """What was captured and could not be stored, newest first."""
        return RefusalList(items=await self._holdings.refusals(query.limit))
