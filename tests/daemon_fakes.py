"""Stand-ins for the sessions' room: what it promises in `appliance.interfaces`, driven by the test."""

from __future__ import annotations

import asyncio
import collections
import time
from collections.abc import AsyncIterator

import msgspec

from appliance.database import Database
from appliance.interfaces import EventCallback, LinkAttempt, PromotionGuard, RemovalCallback
from appliance.model import ADVICE, SessionState, SessionView
from appliance.model_backup import RestoreSession
from appliance.model_capture import CaptureChange, CaptureSettings, CaptureView
from appliance.problems import ProblemError, conflict, not_found
from appliance.protocol import CommandBody, Event, EventBody, ForkHello, Heartbeat, Reply


class FakeWorker:
    """A linking attempt's worker: the test says what it reports."""

    def __init__(self, owner: FakeSessions, session: str, attempt_id: str) -> None:
        self.session = session
        self.attempt_id = attempt_id
        self.commands: list[CommandBody] = []
        self.outcome = ""
        self.reply = Reply(id=1)
        self.refusal: ProblemError | None = None
        self.guarded_by: Database | None = None
        """Where `promote` asks its guard; None: it does not."""
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.may_promote = asyncio.Event()
        self.may_promote.set()
        self.promoting = asyncio.Event()
        self._owner = owner
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._seq = 0

    def report(self, body: EventBody) -> None:
        self._seq += 1
        self._events.put_nowait(Event(seq=self._seq, at=time.time(), body=body))

    def end(self) -> None:
        self._events.put_nowait(None)

    async def command(self, body: CommandBody, timeout: float) -> Reply:  # noqa: ARG002
        self.commands.append(body)
        await self.may_answer.wait()
        if self.refusal is not None:
            raise self.refusal
        return self.reply

    async def events(self) -> AsyncIterator[Event]:
        while (event := await self._events.get()) is not None:
            yield event

    async def promote(self, guard: PromotionGuard | None = None) -> None:
        self.promoting.set()
        await self.may_promote.wait()
        if guard is not None and self.guarded_by is not None:
            async with self.guarded_by.transaction() as connection:
                await guard(connection)
        assert self.outcome == ""
        self.outcome = "promoted"
        self._owner.change(self.session, state=SessionState.ONLINE, generation=1)
        del self._owner.held[self.session]

    async def discard(self) -> None:
        assert self.outcome == ""
        self.outcome = "discarded"
        del self._owner.held[self.session]


class FakeSessions:
    """Sessions that exist, one PAIR worker at a time each; `begun` tells the test about every new attempt."""

    def __init__(self) -> None:
        self.views: dict[str, SessionView] = {}
        self.held: dict[str, str] = {}
        self.begun: asyncio.Queue[FakeWorker] = asyncio.Queue()
        self.removed: list[tuple[str, bool]] = []
        self.commands: list[tuple[str, CommandBody]] = []
        self.fork_server_trouble = ""
        self.may_begin = asyncio.Event()
        self.may_begin.set()
        self.beats: dict[str, Heartbeat] = {}
        self.linking: list[tuple[str, SessionState | None]] = []
        self.captures: dict[str, CaptureChange] = {}
        self._removals: list[RemovalCallback] = []

    def change(self, session: str, **changes: object) -> None:
        self.views[session] = msgspec.structs.replace(self.views[session], **changes)

    async def load(self) -> None:
        pass

    async def create(self, session: str, name: str) -> SessionView:
        if session in self.views:
            raise conflict(f"There is a session {session} already.", "Choose another id.")
        advice = ADVICE[SessionState.NEW]
        now = time.time()
        self.views[session] = SessionView(
            id=session,
            name=name,
            state=SessionState.NEW,
            meaning=advice.meaning,
            remedy=advice.remedy,
            since=now,
            created_at=now,
            wanted=True,
            generation=0,
            node_id="node",
        )
        return self.views[session]

    def heartbeats(self) -> dict[str, Heartbeat]:
        return self.beats

    def states(self) -> dict[SessionState, int]:
        return dict(collections.Counter(view.state for view in self.views.values()))

    async def list(self) -> list[SessionView]:
        return [self.views[session] for session in sorted(self.views)]

    async def get(self, session: str) -> SessionView:
        if session not in self.views:
            raise not_found("session", session, "List them: amda session list")
        return self.views[session]

    async def start(self, session: str) -> SessionView:
        await self.get(session)
        self.change(session, state=SessionState.CONNECTING)
        return self.views[session]

    async def stop(self, session: str) -> SessionView:
        await self.get(session)
        self.change(session, state=SessionState.STOPPED)
        return self.views[session]

    async def restart(self, session: str) -> SessionView:
        return await self.start(session)

    async def move(self, session: str) -> SessionView:
        return await self.get(session)

    def forks(self) -> ForkHello | None:
        return None

    async def rename(self, session: str, name: str) -> SessionView:
        await self.get(session)
        self.change(session, name=name)
        return self.views[session]

    async def restore(self, session: str, order: RestoreSession) -> SessionView:
        view = await self.get(session)
        self.change(session, generation=view.generation + 1, state=SessionState.CONNECTING, detail=order.store)
        return await self.get(session)

    async def set_proxy(self, session: str, proxy: str | None) -> SessionView:
        await self.get(session)
        self.change(session, proxy="none" if proxy == "" else proxy)
        return self.views[session]

    async def capture(self, session: str) -> CaptureView:
        await self.get(session)
        own = self.captures.get(session, CaptureChange())
        return CaptureView(settings=own.applied(CaptureSettings()), own=sorted(own.own()))

    async def set_capture(self, session: str, change: CaptureChange) -> CaptureView:
        await self.get(session)
        self.captures[session] = self.captures.get(session, CaptureChange()).then(change)
        return await self.capture(session)

    async def remove(self, session: str, *, purge: bool) -> str | None:
        await self.get(session)
        for callback in self._removals:
            await callback(session, purge)
        self.removed.append((session, purge))
        del self.views[session]
        return None

    async def command(self, session: str, body: CommandBody, timeout: float) -> Reply:  # noqa: ARG002
        await self.get(session)
        self.commands.append((session, body))
        return Reply(id=1)

    def on_event(self, callback: EventCallback) -> None:
        pass

    def on_remove(self, callback: RemovalCallback) -> None:
        self._removals.append(callback)

    async def show_linking(self, session: str, state: SessionState | None) -> None:
        self.linking.append((session, state))

    async def begin_pairing(self, session: str, attempt_id: str) -> LinkAttempt:
        if holder := self.held.get(session):
            raise conflict(f"Session {session} is held by {holder}.", "Wait.")
        self.held[session] = "pairing"
        try:
            await self.may_begin.wait()
        except asyncio.CancelledError:
            del self.held[session]
            raise
        worker = FakeWorker(self, session, attempt_id)
        self.begun.put_nowait(worker)
        return worker
