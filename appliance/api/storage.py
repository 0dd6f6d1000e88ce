"""/v1/storage: what is held and for whom, pruning, what was removed, what was refused."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.api.routes import Call, Caller, Route, delete, get, post
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
from appliance.problems import problem, unavailable


class StorageResource:
    def __init__(self, room: MediaRoom) -> None:
        self._room = room
        self._begun = ("", "")
        """The last prune that was begun as a job: its id, and who began it."""

    def routes(self) -> Sequence[Route]:
        return (
            get("/v1/storage", self.usage),
            post("/v1/storage/prune", self.prune),
            post("/v1/storage/prune/job", self.begin_prune, status=202),
            get("/v1/storage/prune/job", self.prune_job, own_session_check=True),
            delete("/v1/storage/prune/job", self.stop_prune, own_session_check=True),
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

    async def begin_prune(self, call: Call, body: PruneRequest) -> StorageJob:
        """Begin to make room, and be told how far it is: the same as a prune, however long it takes."""
        begun = self._room.begin_prune(body)
        self._begun = (begun.id, call.caller.key)
        return begun

    async def prune_job(self, call: Call) -> JobView:
        """The prune that is under way, or the last one that was begun so, with its report.

        A token of one session gets what it has begun itself, as long as nobody has begun another: otherwise 404.
        """
        self._must_be_its_own(call.caller)
        return JobView(job=self._room.prunes.last)

    async def stop_prune(self, call: Call) -> JobView:
        """Have the prune that is under way leave the rest; what has gone is gone.

        The job ends with its report as soon as the batch that it is at has gone. A token of one session stops only what
        it has begun itself: otherwise 404.
        """
        self._must_be_its_own(call.caller)
        return JobView(job=self._room.stop_prune())

    def _must_be_its_own(self, caller: Caller) -> None:
        """Raises ProblemError 404 for another's prune, if the caller is of one session: that one is not told of it."""
        if caller.session is None:
            return
        job = self._room.prunes.last
        if job is None or job.session != caller.session or self._begun != (job.id, caller.key):
            raise problem(
                "not-found",
                "No such prune",
                404,
                "There is no prune that this token has begun.",
                remedy="Begin one: POST /v1/storage/prune/job",
            )

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
