"""Work on the store that takes longer than a request may: one at a time, with its progress for whoever asks."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
import uuid
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from appliance.media.audit import Progress
from appliance.media.store import ContentChangedError, StoreError
from appliance.model_storage import CheckReport, CleanupReport, JobState, MoveReport, PruneReport, StorageJob
from appliance.problems import conflict

Report = CheckReport | CleanupReport | MoveReport | PruneReport
_FIELDS: dict[type[Report], str] = {
    CheckReport: "check",
    CleanupReport: "cleanup",
    MoveReport: "move",
    PruneReport: "prune",
}

_log = structlog.get_logger(__name__)


class StorageJobs:
    """Close it with `close()`: a job that is under way ends where it is, and may be started again."""

    def __init__(self, command: str) -> None:
        """`command`: what shows how far it is."""
        self._command = command
        self._task: asyncio.Task[None] | None = None
        self.last: StorageJob | None = None
        """The one that is under way, or the last one; None: there was none since the daemon started."""

    def start(
        self, kind: str, total: int, step: Callable[[Progress], Awaitable[Report]], session: str | None = None
    ) -> StorageJob:
        """Begin. `session`: the only one that it is about. Raises ProblemError 409 if another one is under way."""
        if self._task is not None and not self._task.done() and self.last is not None:
            raise conflict(f"A {self.last.kind} of the storage is under way.", f"Wait for it: {self._command}")
        self.last = StorageJob(id=uuid.uuid4().hex, kind=kind, session=session, total=total, started_at=time.time())
        self._task = asyncio.create_task(self._run(step), name=f"storage {kind}")
        return self.last

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self, step: Callable[[Progress], Awaitable[Report]]) -> None:
        try:
            report = await step(self._progress)
        except (StoreError, ContentChangedError, OSError, sqlite3.Error) as error:
            _log.error("work on the storage failed", reason=str(error))
            self._change(state=JobState.FAILED, error=str(error), ended_at=time.time())
        except asyncio.CancelledError:
            self._change(state=JobState.FAILED, error="the daemon was stopped; start it again", ended_at=time.time())
            raise
        else:
            self._change(state=JobState.DONE, ended_at=time.time(), **{_FIELDS[type(report)]: report})

    def tell(self, *, done: int, total: int, size_done: int, size_total: int) -> None:
        """How far it is, of a job that learns only on its way how much it has to do."""
        self._change(done=done, total=total, size_done=size_done, size_total=size_total)

    def _progress(self, done: int) -> None:
        self._change(done=done)

    def _change(self, **changes: object) -> None:
        if self.last is not None:
            self.last = msgspec.structs.replace(self.last, **changes)
