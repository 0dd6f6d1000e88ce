"""/v1/storage: what is held and for whom, pruning, what was removed, what was refused."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.api.routes import Route, delete, get, post
from appliance.media.room import MediaRoom
from appliance.media.settings import StorageKind
from appliance.media.store import StoreError
from appliance.model_api import Scope
from appliance.model_storage import (
    CheckRequest,
    CleanupRequest,
    JobView,
    MoveRequest,
    PruneReport,
    PruneRequest,
    RefusalList,
    RemovalList,
    StorageJob,
    StorageListQuery,
    StorageUsage,
)
from appliance.problems import unavailable


class StorageResource:
    def __init__(self, room: MediaRoom) -> None:
        self._room = room

    def routes(self) -> Sequence[Route]:
        return (
            get("/v1/storage", self.usage),
            post("/v1/storage/prune", self.prune),
            post("/v1/storage/prune/job", self.begin_prune, status=202),
            get("/v1/storage/prune/job", self.prune_job),
            delete("/v1/storage/prune/job", self.stop_prune),
            post("/v1/storage/check", self.check, Scope.ADMIN, status=202),
            post("/v1/storage/cleanup", self.cleanup, Scope.ADMIN, status=202),
            post("/v1/storage/move", self.move, Scope.ADMIN, status=202),
            get("/v1/storage/job", self.job),
            get("/v1/storage/removals", self.removals),
            get("/v1/storage/refusals", self.refusals),
        )

    async def usage(self) -> StorageUsage:
        """What is stored by session, category and age, the trend, and the days left."""
        return await self._room.report.usage()

    async def prune(self, body: PruneRequest) -> PruneReport:
        """Make room now; with `dry_run` only say what would go."""
        try:
            return await self._room.vault.prune(body)
        except StoreError as error:
            raise unavailable(str(error), "Try again: what was chosen already goes when the store is back.") from error

    async def begin_prune(self, body: PruneRequest) -> StorageJob:
        """Begin to make room, and be told how far it is: the same as a prune, however long it takes."""
        return self._room.begin_prune(body)

    async def prune_job(self) -> JobView:
        """The prune that is under way, or the last one that was begun so, with its report."""
        return JobView(job=self._room.prunes.last)

    async def stop_prune(self) -> JobView:
        """Have the prune that is under way leave the rest; what has gone is gone.

        The job ends with its report as soon as the batch that it is at has gone.
        """
        return JobView(job=self._room.stop_prune())

    async def check(self, body: CheckRequest) -> StorageJob:
        """Begin to compare the index with the store itself; with `repair`, put right what is wrong."""
        return await self._room.begin_check(repair=body.repair, hashes=body.hashes)

    async def cleanup(self, body: CleanupRequest) -> StorageJob:
        """Begin to put everything right that needs no decision, then to make room as age and quota ask for.

        What nothing refers to and unfinished uploads are deleted, what is lost or damaged leaves the index on record.
        With `dry_run` nothing is changed.
        """
        return await self._room.begin_cleanup(dry_run=body.dry_run)

    async def move(self, body: MoveRequest) -> StorageJob:
        """Begin to move all media to another store; the appliance goes on working."""
        return await self._room.begin_move(StorageKind(body.to), remove_old=body.remove_old)

    async def job(self) -> JobView:
        """The check, cleanup or move that is under way, or the last one, with its report."""
        return JobView(job=self._room.jobs.last)

    async def removals(self, query: StorageListQuery) -> RemovalList:
        """What is no longer stored, and why; newest first."""
        return RemovalList(items=await self._room.holdings.removals(query.limit))

    async def refusals(self, query: StorageListQuery) -> RefusalList:
        """What was captured and could not be stored, newest first."""
        return RefusalList(items=await self._room.holdings.refusals(query.limit))
