"""One session at work: feeds its state machine, writes down what that decides, and carries out what it asks for.

Everything of one session happens in one task, one input after the other: what an input changes is durable before its
effects are carried out and before the next input is looked at.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Coroutine
from pathlib import Path
from typing import Final, Protocol

import msgspec
import structlog

from appliance.model import SessionState
from appliance.protocol import (
    ADOPTABLE_VERSIONS,
    EngineState,
    Event,
    Exited,
    Heartbeat,
    Hello,
    Signal,
    WorkerMode,
)
from appliance.sessions import inputs as i
from appliance.sessions.clock import SteadyClock
from appliance.sessions.health import Evidence, Health, Verdict, judge
from appliance.sessions.machine import SessionMachine
from appliance.sessions.memory import Phase
from appliance.sessions.process import ProcessListener, WorkerProcess
from appliance.sessions.reasons import DisconnectReason, Severity
from appliance.sessions.registry import Registry, SessionRow
from appliance.sessions.settings import KeepaliveSettings, ReconnectSettings

SAVE_AGAIN_S: Final = 1.0
"""Pause while the database cannot be written (a full disk): the session waits, its worker goes on by itself."""
CLOSE_S: Final = 5.0
"""How long the step that is under way may take when the daemon ends; only a fork or a full disk takes long."""
PHONE_STEP_S: Final = 600.0
"""When the phone was last seen is counted in days; a note every ten minutes costs nothing."""
MIN_CHECK_S: Final = 0.2
"""A verdict that is due in a moment is not asked for in a busy loop."""

_log = structlog.get_logger(__name__)


class Fleet(Protocol):
    """What a session needs of the others."""

    registry: Registry
    clock: SteadyClock
    keepalive: KeepaliveSettings
    reconnect: ReconnectSettings

    @property
    def outage(self) -> bool: ...

    def ask_start(self, session: str) -> None: ...

    def cancel_start(self, session: str) -> None: ...

    def lost(self, session: str, reason: DisconnectReason) -> None: ...

    def logged_in(self, session: str) -> None: ...

    def alarm(self, session: str, alarm: i.Alarm) -> None: ...

    async def spawn(
        self, row: SessionRow, store: Path, generation: int, mode: WorkerMode, listener: ProcessListener
    ) -> WorkerProcess:
        """Raises SpawnError."""
        ...

    async def deliver(self, session: str, store: str, event: Event) -> None:
        """Hand an event to everybody who registered for it; raises if one of them could not take it."""
        ...

    async def changed(self, row: SessionRow) -> None:
        """Something that people see has changed."""
        ...


class SpawnError(Exception):
    """No process could be forked. `lost`: because the fork server is away; `proxy`: because of the session's proxy."""

    def __init__(self, text: str, *, lost: bool = False, proxy: bool = False) -> None:
        super().__init__(text)
        self.lost = lost
        self.proxy = proxy


class _Item(msgspec.Struct):
    """An input on its way: `done` is set when it is durable and its effects have begun."""

    what: i.Input | None
    done: asyncio.Future[None] | None = None
    seen: tuple[str, int] | None = None


_LAST: Final = _Item(None)
"""After this one the task ends."""


class SessionRunner:
    """`start` after construction; `close` lets go of the process without touching it."""

    def __init__(self, row: SessionRow, fleet: Fleet) -> None:
        self.row = row
        self.machine = SessionMachine(row.memory, fleet.keepalive, fleet.reconnect)
        self.process: WorkerProcess | None = None
        self.evidence: Evidence | None = None
        self.booted = False
        self._fleet = fleet
        self._inbox: asyncio.Queue[_Item] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._jobs: set[asyncio.Task[None]] = set()
        self._seen: dict[str, int] = {}
        self._judge_at: float | None = None
        self._warned: DisconnectReason | None = None
        self._phone_noted = False

    # ---- for the supervisor -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to take inputs."""
        self._task = asyncio.create_task(self._run(), name=f"session {self.row.id}")

    async def close(self) -> None:
        """Stop taking inputs, between two steps. The worker goes on; the next daemon finds it."""
        if self.process is not None:
            await self.process.close()
        for job in self._jobs:
            job.cancel()
        if self._jobs:
            await asyncio.wait(self._jobs)
        if self._task is not None:
            self._inbox.put_nowait(_LAST)
            await asyncio.wait([self._task], timeout=CLOSE_S)
            self._task.cancel()
            await asyncio.wait([self._task])

    def put(self, what: i.Input) -> None:
        """Feed an input, some time soon."""
        self._inbox.put_nowait(_Item(what))

    async def feed(self, what: i.Input, seen: tuple[str, int] | None = None) -> None:
        """Feed an input; returns when what it changed is durable."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._inbox.put_nowait(_Item(what, done, seen))
        await done

    async def boot(self, process: WorkerProcess | None) -> None:
        """The daemon has started and knows which process, if any, is this session's."""
        self.process = process
        self.booted = True
        await self.feed(i.Boot(pid=None if process is None else process.pid))
        if process is not None:
            process.start()

    async def take_over(self, process: WorkerProcess, engine_state: EngineState, connected_at: float | None) -> None:
        """The process of a linking attempt is the session's from now on; the row says so already."""
        self.process = process
        self.evidence = Evidence(greeted_at=self._fleet.clock.at())
        self._judge_at = None
        process.listener = self
        await self.feed(i.Promoted(pid=process.pid, engine_state=engine_state, connected_at=connected_at))

    # ---- what the process tells -------------------------------------------------------------------------------------

    async def hello(self, process: WorkerProcess, hello: Hello) -> bool:
        if process is not self.process:
            return True
        if hello.protocol not in ADOPTABLE_VERSIONS or hello.generation != process.generation:
            text = f"it speaks protocol {hello.protocol} and has generation {hello.generation}"
            await self.feed(i.Condemned(pid=process.pid, reason=DisconnectReason.START_FAILED, text=text))
            return False
        self.evidence = Evidence(greeted_at=self._fleet.clock.at())
        self._judge_at = None
        await self.feed(i.Greeted(pid=process.pid, engine_state=hello.engine_state, connected_at=hello.connected_at))
        return True

    async def event(self, process: WorkerProcess, event: Event, *, past: bool) -> None:
        store = process.store.name
        if event.seq <= await self._last_seen(store):
            return
        await self._fleet.deliver(self.row.id, store, event)
        if isinstance(event.body, Signal) and process is self.process:
            await self.feed(i.Got(pid=process.pid, event=event, past=past), (store, event.seq))
        else:
            await self._fleet.registry.mark_seen(self.row.id, store, event.seq)
        self._seen[store] = event.seq

    def heartbeat(self, process: WorkerProcess, heartbeat: Heartbeat) -> None:
        if process is self.process and self.evidence is not None:
            self.evidence.hear(heartbeat, self._fleet.keepalive, self._fleet.clock.at())
            self._inbox.put_nowait(_Item(None))
            self._note_phone(heartbeat)

    async def exited(self, process: WorkerProcess, exited: Exited | None) -> None:
        if process is not self.process:
            return
        self.evidence = self._judge_at = None
        await self.feed(
            i.Exited(
                pid=process.pid,
                status=exited.status if exited else None,
                signal=exited.signal if exited else None,
                at=exited.at if exited else None,
                lost=exited is None,
                out_of_memory=exited is not None and exited.out_of_memory,
            )
        )

    # ---- the one task -----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            item = await self._next()
            if item is _LAST:
                return
            try:
                if item.what is not None and not self._was_taken(item):
                    await self._step(item.what, item.seen)
                if (verdict := self._judge()) is not None:
                    await self._step(verdict)
                if self._phone_noted:
                    self._phone_noted = False
                    await self._save([], None)
            except Exception as error:
                _log.exception("a session's step failed", session=self.row.id)
                if item.done is not None and not item.done.done():
                    item.done.set_exception(error)
            if item.done is not None and not item.done.done():
                item.done.set_result(None)

    async def _next(self) -> _Item:
        due = [at for at in (self.machine.wake_at, self._judge_at) if at is not None]
        wait = None if not due else max(0.0, min(due) - self._fleet.clock.at())
        try:
            async with asyncio.timeout(wait):
                return await self._inbox.get()
        except TimeoutError:
            return _Item(i.Clock())

    async def _step(self, what: i.Input, seen: tuple[str, int] | None = None) -> None:
        """Feed one input, and at once whatever a fork answers."""
        self.machine.keepalive, self.machine.reconnect = self._fleet.keepalive, self._fleet.reconnect
        before = self._remembered()
        state = self.row.memory.state
        effects = self.machine.feed(what, self._fleet.clock.now(outage=self._fleet.outage))
        after = self._remembered()
        if effects or before != after or seen is not None:
            await self._save(effects, seen)
        if state is not self.row.memory.state:
            self._log_state(state)
        self._note_online()
        for effect in effects:
            await self._carry_out(effect)
        if before != after:
            await self._fleet.changed(self.row)

    def _remembered(self) -> bytes:
        return msgspec.json.encode(self.row.memory)

    async def _save(self, effects: list[i.Effect], seen: tuple[str, int] | None) -> None:
        engine = self.process.hello.engine if self.process is not None and self.process.hello is not None else ""
        while True:
            try:
                await self._fleet.registry.save(self.row, effects, engine=engine, seen=seen)
            except sqlite3.Error as error:
                _log.error("a session's state cannot be written", session=self.row.id, error=str(error))
                await asyncio.sleep(SAVE_AGAIN_S)
            else:
                if seen is not None:
                    self._seen[seen[0]] = seen[1]
                return

    def _was_taken(self, item: _Item) -> bool:
        """An event whose link ended while it was being taken comes again with the next process on the store."""
        return item.seen is not None and item.seen[1] <= self._seen.get(item.seen[0], 0)

    def _log_state(self, before: SessionState) -> None:
        memory = self.row.memory
        _log.info("session", session=self.row.id, was=before.value, state=memory.state.value, detail=memory.detail)

    async def _carry_out(self, effect: i.Effect) -> None:
        fleet, session = self._fleet, self.row.id
        match effect:
            case i.AskStart():
                fleet.ask_start(session)
            case i.CancelStart():
                fleet.cancel_start(session)
            case i.SpawnWorker():
                await self._spawn()
            case i.EndWorker():
                self._job(self._end(effect))
            case i.ProbeWorker():
                self._job(self._probe(effect.pid))
            case i.Lost():
                fleet.lost(session, effect.reason)
            case i.LoggedIn():
                fleet.logged_in(session)
            case i.Alarm():
                fleet.alarm(session, effect)

    async def _spawn(self) -> None:
        row = self.row
        try:
            if row.store is None:
                raise SpawnError("it was never linked")
            process = await self._fleet.spawn(row, row.store, row.generation, WorkerMode.RUN, self)
        except SpawnError as error:
            await self._step(i.SpawnFailed(error=str(error), lost=error.lost, proxy=error.proxy))
            return
        self.process = process
        await self._step(i.Spawned(pid=process.pid))
        process.start()

    async def _end(self, effect: i.EndWorker) -> None:
        process = self.process
        if process is not None and process.pid == effect.pid:
            await process.end(self._fleet.keepalive, gently=effect.gently, dump=effect.dump)

    async def _probe(self, pid: int) -> None:
        process, error = self.process, "its process is gone"
        answer: str | None = error
        if process is not None and process.pid == pid:
            answer = await process.probe(self._fleet.keepalive.probe_timeout_s)
            if answer is None and self.evidence is not None:
                self.evidence.probed_at = self._fleet.clock.at()
        self.put(i.Probed(pid=pid, error=answer))

    def _job(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    def _note_phone(self, heartbeat: Heartbeat) -> None:
        """What the worker heard of the phone outlives it; a clock that was ahead must not make the phone look fresh."""
        memory = self.row.memory
        if heartbeat.phone_seen_at is not None:
            seen_at = min(heartbeat.phone_seen_at, self._fleet.clock.now().wall)
            if memory.phone_seen_at is None or seen_at - memory.phone_seen_at >= PHONE_STEP_S:
                memory.phone_seen_at = seen_at
                self._phone_noted = True

    # ---- health -----------------------------------------------------------------------------------------------------

    def _note_online(self) -> None:
        if self.evidence is None:
            return
        if self.row.memory.state not in (SessionState.ONLINE, SessionState.DEGRADED):
            self.evidence.online_at = None
        elif self.evidence.online_at is None:
            self.evidence.online_at = self._fleet.clock.at()
            self._judge_at = self.evidence.online_at

    def _judge(self) -> i.Input | None:
        """What the evidence asks for, if anything: once, because then the state or the phase is another."""
        evidence, process = self.evidence, self.process
        if evidence is None or process is None or self.machine.phase is not Phase.RUNNING:
            self._judge_at = None
            return None
        now = self._fleet.clock.at()
        verdict = judge(evidence, self._fleet.keepalive, now)
        self._judge_at = now + max(verdict.check_in_s, MIN_CHECK_S)
        self._warn(verdict)
        if verdict.health is Health.DOUBTFUL and self.row.memory.state is SessionState.ONLINE:
            return i.Doubt(pid=process.pid, text=verdict.text)
        if verdict.health is Health.DEAD and verdict.reason is not None:
            return i.Condemned(pid=process.pid, reason=verdict.reason, text=verdict.text)
        return None

    def _warn(self, verdict: Verdict) -> None:
        if verdict.warning is not None and verdict.warning is not self._warned:
            self._fleet.alarm(
                self.row.id, i.Alarm(severity=Severity.ALERT, reason=verdict.warning, text="above the soft limit")
            )
        self._warned = verdict.warning

    async def _last_seen(self, store: str) -> int:
        if store not in self._seen:
            self._seen[store] = await self._fleet.registry.last_seen(self.row.id, store)
        return self._seen[store]
