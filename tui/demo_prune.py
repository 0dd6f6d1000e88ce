"""Making room in the simulated fleet: it takes some seconds, as that of a large store does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from appliance.model_storage import JobState, PruneReport, PruneRequest, StorageJob
from tui import demo_facts
from tui.demo_fleet import Fleet
from tui.demo_machine import refused

TAKES_S: Final = 8.0


class DemoPrune:
    """One at a time; its time is the fleet's."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._plan: PruneReport | None = None
        self._job: StorageJob | None = None
        self._gone: dict[str, int] = {}

    def begin(self, request: PruneRequest) -> StorageJob:
        latest = self._advanced()
        if latest is not None and latest.state is JobState.RUNNING:
            raise refused("A prune of the storage is under way.", 409)
        plan = demo_facts.prune(self._fleet)
        self._plan, self._gone = plan, {}
        self._job = StorageJob(
            id=f"prune-{self._fleet.now}",
            kind="prune",
            total=plan.objects,
            size_total=plan.size,
            started_at=self._fleet.now,
        )
        return self._job

    def job(self) -> StorageJob | None:
        return self._advanced()

    def stop(self) -> StorageJob | None:
        job = self._advanced()
        if job is not None and job.state is JobState.RUNNING:
            self._end(job)
        return self._job

    def _advanced(self) -> StorageJob | None:
        """As far as it is by now; what has gone by then goes from the sessions."""
        job, plan = self._job, self._plan
        if job is None or plan is None or job.state is not JobState.RUNNING:
            return job
        share = min(1.0, max(0.0, (self._fleet.now - job.started_at) / TAKES_S))
        for session, size in plan.by_session.items():
            self._take(session, round(size * share) - self._gone.get(session, 0))
        done, size_done = round(job.total * share), sum(self._gone.values())
        self._job = msgspec.structs.replace(job, done=done, size_done=size_done)
        if share >= 1:
            self._end(self._job)
        return self._job

    def _take(self, session: str, size: int) -> None:
        self._gone[session] = self._gone.get(session, 0) + size
        if (member := self._fleet.members.get(session)) is not None:
            left = max(0, member.view.media_bytes - size)
            member.view = msgspec.structs.replace(member.view, media_bytes=left)

    def _end(self, job: StorageJob) -> None:
        report = PruneReport(
            dry_run=False,
            objects=job.done,
            size=job.size_done,
            by_reason={"expired": job.done} if job.done else {},
            by_session=dict(self._gone),
            used=sum(self._sizes()),
            stopped=job.done < job.total,
        )
        self._job = msgspec.structs.replace(job, state=JobState.DONE, ended_at=self._fleet.now, prune=report)

    def _sizes(self) -> Iterator[int]:
        yield from (member.view.media_bytes for member in self._fleet.members.values())
