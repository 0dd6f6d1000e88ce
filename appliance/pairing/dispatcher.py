"""Takes jobs from the queue while there are slots, and keeps Redis, record and this daemon in agreement."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from appliance.pairing import texts
from appliance.pairing.attempt import Attempt
from appliance.pairing.board import Board
from appliance.pairing.fences import Fences
from appliance.pairing.hold import Hold
from appliance.pairing.job import Linker
from appliance.pairing.redis_client import REDIS_ERRORS, explain
from appliance.pairing.redis_queue import Job, PairingQueue, Verdict

TICK_S: Final = 2.0
"""How long a job whose holder died, a slot that grew with free memory, or a Redis that came back can go unnoticed. A
tick costs three short questions on a unix socket."""
IDLE_TICK_S: Final = 10.0
"""The same while this daemon has no attempt at all: only those of other machines can be concerned."""
CLOSE_S: Final = 1.0
"""A step of the loop is a few questions to Redis; one that takes longer is given up with Redis itself."""

_log = structlog.get_logger(__name__)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """Attempts that wait, since when the oldest does, and the slots that others hold."""

    waiting: int
    oldest_at: float | None
    under_way: int
    slots: int


class Dispatcher:
    """`start`, then `close`. `slots`: how many jobs may be under way just now."""

    def __init__(
        self, board: Board, queue: PairingQueue, fences: Fences, linker: Linker, slots: Callable[[], int]
    ) -> None:
        self._board = board
        self._queue = queue
        self._fences = fences
        self._linker = linker
        self._slots = slots
        self._work: dict[str, asyncio.Task[None]] = {}
        self._wanted = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._moved: asyncio.Task[None] | None = None
        self._away = False
        self._closing = False

    @property
    def slots(self) -> int:
        """At this moment."""
        return self._slots()

    @property
    def under_way(self) -> int:
        """Jobs of this daemon that hold a slot."""
        return len(self._work)

    def line(self) -> Line:
        """How full it is."""
        waiting = self._board.waiting()
        oldest_at = min((one.times.created_at for one in waiting), default=None)
        return Line(waiting=len(waiting), oldest_at=oldest_at, under_way=self.under_way, slots=self.slots)

    def start(self) -> None:
        self._loop = asyncio.create_task(self._run(), name="pairing dispatcher")

    async def close(self) -> None:
        """Let go of what is under way, as quickly as a crash would: the next daemon goes on with it."""
        self._linker.letting_go = True
        self._closing = True
        self.wake()
        if self._loop is not None:
            await asyncio.wait([self._loop], timeout=CLOSE_S)  # a job that it takes just now must not be lost
        tasks = [task for task in (self._loop, self._moved, *self._work.values()) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def wake(self) -> None:
        """A job may be waiting, or a slot may be free."""
        self._wanted.set()

    async def cancel(self, attempt_id: str) -> bool:
        """End a job that this daemon works on, and wait for its clean end; False if it does not."""
        task = self._work.get(attempt_id)
        if task is None:
            return False
        task.cancel()
        await asyncio.wait([task])
        return True

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        agreed_at = 0.0
        while not self._closing:
            self._wanted.clear()
            try:
                await self._board.tell_ends()
                if loop.time() - agreed_at >= TICK_S:
                    await self._board.agree()
                    agreed_at = loop.time()
                while not self._closing and await self._take():
                    pass
                self._away = False
            except REDIS_ERRORS as error:
                if not self._away:
                    _log.warning("linking waits for Redis", reason=explain(error))
                self._away = True
            except sqlite3.Error as error:  # a full disk, which may have room again at the next look
                _log.error("linking waits for the database", reason=str(error))
            try:
                async with asyncio.timeout(TICK_S if self._board.attempts else IDLE_TICK_S):
                    await self._wanted.wait()
            except TimeoutError:
                continue

    async def _take(self) -> bool:
        job = await self._queue.take(self._slots(), await self._fences.highest())
        if job is None:
            return False
        if job.id in self._work:  # Redis has forgotten that it is under way; its holder will notice, and stop
            await self._queue.finish(job.id, job.fence, Verdict.FREE)
            return True
        attempt = self._board.attempt(job.id) or self._board.from_job(job)
        self.lead(attempt, job)
        if self._moved is None or self._moved.done():
            self._moved = asyncio.create_task(self._tell_places(), name="pairing places")
        return True

    def lead(self, attempt: Attempt, job: Job) -> None:
        """Work on a job that is ours."""
        attempt.hold = Hold(self._queue, job)
        task = asyncio.create_task(self._lead(attempt, attempt.hold), name=f"pairing {attempt.session}")
        self._work[attempt.id] = task

    async def _lead(self, attempt: Attempt, hold: Hold) -> None:
        ending: texts.Ending | None = texts.CANCELLED
        try:
            ending = await self._linker.run(attempt, hold)
        finally:
            try:
                if not self._linker.letting_go or ending is None:
                    await asyncio.shield(self._board.end(attempt, ending))
            finally:
                self._work.pop(attempt.id, None)
                self.wake()

    async def _tell_places(self) -> None:
        """Those in line have moved up; once for all that were taken together."""
        await asyncio.sleep(0)
        for attempt in self._board.waiting():
            await attempt.moved_up()
