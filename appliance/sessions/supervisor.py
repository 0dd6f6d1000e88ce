"""All sessions together: what the fork server tells, adoption, the fleet's gate, and who hears of events.

Adoption: a worker that runs belongs to a session if session, store and generation are those of its row. Every other one
is ended: it is left over from an attempt that nobody finished, or its store was replaced.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Final

import structlog

from appliance.config import Settings
from appliance.forkserver.client import ForkServerClient, ForkServerError, ForkServerGoneError, Lost
from appliance.model import SessionState
from appliance.model_capture import CaptureSettings
from appliance.protocol import Configure, Event, Exited, ForkHello, WorkerMode
from appliance.protocol import WorkerProcess as Listed
from appliance.sessions import inputs as i
from appliance.sessions.breaker import FleetGate
from appliance.sessions.clock import SteadyClock
from appliance.sessions.memory import Phase
from appliance.sessions.ownership import Ownership
from appliance.sessions.process import ProcessListener, WorkerProcess
from appliance.sessions.proxy import ProxyError, check_proxy
from appliance.sessions.reasons import REASONS, DisconnectReason, ReasonClass, Severity
from appliance.sessions.registry import Registry, SessionRow
from appliance.sessions.runner import SessionRunner, SpawnError
from appliance.sessions.spec import SpecError, build_spec, chosen_proxy, usable_proxy
from appliance.sessions.stray import Stray
from appliance.sessions.worker_link import LinkDownError

EventCallback = Callable[[str, str, Event], Awaitable[None]]
ChangeCallback = Callable[[SessionRow], Awaitable[None]]

CONFIGURE_TIMEOUT_S: Final = 5.0
"""New capture settings reach a running worker, or are part of the orders of its next process."""
FIRST_CONTACT_S: Final = 3.0
"""How long the daemon's start waits for the fork server; without it, it starts all the same and says so."""
WAKEABLE: Final = (SessionState.OUTDATED, SessionState.RECONNECTING, SessionState.COOLING)
"""States of sessions that may be woken up to be the canary, the likeliest to tell first."""

_log = structlog.get_logger(__name__)


class Supervisor:
    """Implements `runner.Fleet`. `start`, then `close`: that touches no worker."""

    def __init__(
        self,
        *,
        settings: Settings,
        registry: Registry,
        fork: ForkServerClient,
        ownership: Ownership,
        clock: SteadyClock,
    ) -> None:
        self.settings = settings
        self.registry = registry
        self.clock = clock
        self.keepalive = settings.keepalive
        self.reconnect = settings.reconnect
        self.gate = FleetGate(settings.fleet)
        self.runners: dict[str, SessionRunner] = {}
        self.event_callbacks: list[EventCallback] = []
        self.change_callbacks: list[ChangeCallback] = []
        self.on_stray_ended: Callable[[str, Path], Awaitable[None]] | None = None
        """Session and store of a process that belonged to nobody and is dead now."""
        self.ready = asyncio.Event()
        """Set while there is a fork server whose workers are all accounted for."""
        self._fork = fork
        self._ownership = ownership
        self._daemon = uuid.uuid4().hex[:8]
        self._processes: dict[int, WorkerProcess] = {}
        self._fork_pid: int | None = None
        self._fork_build: str | None = None
        self._pump_wanted = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._jobs: set[asyncio.Task[None]] = set()
        self._woken: str | None = None

    # ---- life -------------------------------------------------------------------------------------------------------

    async def start(self, rows: list[SessionRow]) -> None:
        """Take over the sessions; returns when running workers are adopted, or the fork server does not answer."""
        for row in rows:
            self.add(row, boot=False)
        if any(row.memory.state is SessionState.OUTDATED and row.memory.wanted for row in rows):
            self.gate.resume_outdated(self.clock.at())
        self._tasks = [
            asyncio.create_task(self._follow_fork_server(), name="fork server events"),
            asyncio.create_task(self._pump(), name="fleet gate"),
        ]
        try:
            await asyncio.wait_for(self.ready.wait(), FIRST_CONTACT_S)
        except TimeoutError:
            _log.error("the fork server does not answer; no session can be started until it does")

    async def close(self) -> None:
        """Let go of everything; workers go on."""
        tasks = [*self._tasks, *self._jobs]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for runner in self.runners.values():
            await runner.close()
        for process in self._processes.values():
            await process.close()

    def add(self, row: SessionRow, *, boot: bool = True) -> SessionRunner:
        """A session that this daemon knows from now on."""
        runner = self.runners[row.id] = SessionRunner(row, self)
        runner.start()
        runner.booted = boot
        return runner

    def uses(self, store: Path) -> bool:
        """Whether a process that we know of works on that store."""
        return any(process.store == store for process in self._processes.values())

    async def drop(self, session: str) -> None:
        """The session is gone, and so is its process."""
        runner = self.runners.pop(session)
        now = self.clock.now()
        self.gate.forget(session, now.at, now.chance)
        await runner.close()

    def apply_settings(self, settings: Settings) -> None:
        """New numbers, effective from the next decision on."""
        self.settings = settings
        self.keepalive, self.reconnect = settings.keepalive, settings.reconnect
        self.gate.settings = settings.fleet
        self._pump_wanted.set()

    async def configure_all(self) -> None:
        """Tell every process what to capture from now on."""
        await asyncio.gather(*(self.configure(process) for process in self._processes.values()))

    def try_now(self) -> None:
        """Whoever asks next may find out whether the engine is still refused."""
        self.gate.try_now(self.clock.at())
        self._pump_wanted.set()

    # ---- runner.Fleet -----------------------------------------------------------------------------------------------

    @property
    def forks(self) -> ForkHello | None:
        """Who forks processes now; None without fork server."""
        return self._fork.hello if self.ready.is_set() else None

    @property
    def outage(self) -> bool:
        return self.gate.open

    def ask_start(self, session: str) -> None:
        if session == self._woken:
            self._woken = None
            self.gate.canary_asks(session, self.clock.at())
        else:
            self.gate.ask(session)
        self._pump_wanted.set()

    def cancel_start(self, session: str) -> None:
        self.gate.cancel(session)

    def lost(self, session: str, reason: DisconnectReason) -> None:
        now = self.clock.now()
        fleet = sum(runner.row.memory.wanted and runner.row.memory.linked for runner in self.runners.values())
        if self.gate.lost(session, reason, fleet, now.at, now.chance):
            _log.warning("starts are paused", breaker=self.gate.state.value, reason=reason.value)
        for other in self.gate.common(fleet, now.at):
            if (runner := self.runners.get(other)) is not None:
                runner.put(i.Excused(window_s=self.gate.settings.outage_window_s))
        self._pump_wanted.set()

    def logged_in(self, session: str) -> None:
        if self.gate.logged_in(session):
            _log.info("starts are allowed again", proved_by=session)
            for runner in self.runners.values():
                runner.put(i.Nudge())
        self._pump_wanted.set()

    def alarm(self, session: str, alarm: i.Alarm) -> None:
        level = logging.ERROR if alarm.severity in (Severity.ALERT, Severity.PAGE) else logging.INFO
        event = "disconnected" if REASONS[alarm.reason].kind is ReasonClass.OWN else "trouble"
        _log.log(level, event, session=session, reason=alarm.reason.value, detail=alarm.text)

    async def spawn(
        self, row: SessionRow, store: Path, generation: int, mode: WorkerMode, listener: ProcessListener
    ) -> WorkerProcess:
        if not self.ready.is_set():
            raise SpawnError("the fork server is away", lost=True)
        if not self._ownership.may_run(row.id, row.node_id):
            raise SpawnError("another machine runs this session")
        try:
            await self._check_proxy(row)
            engine = "" if self._fork.hello is None else self._fork.hello.engine
            spec = build_spec(self.settings, row, store=store, generation=generation, mode=mode, engine=engine)
            pid = await self._fork.spawn(spec)
        except ForkServerGoneError as error:
            raise SpawnError(str(error), lost=True) from error
        except (ForkServerError, SpecError) as error:
            raise SpawnError(str(error)) from error
        return self._track(row.id, pid, store, generation, listener)

    async def _check_proxy(self, row: SessionRow) -> None:
        """Before each start: an engine whose proxy is away would only say that WhatsApp is. Raises SpawnError."""
        url = chosen_proxy(self.settings, row)
        if url is None:
            return
        try:
            await check_proxy(usable_proxy(self.settings, url))
        except ProxyError as error:
            remedy = error.remedy.replace(" ID ", f" {row.id} ")
            raise SpawnError(f"{error}. {remedy}", proxy=True) from error

    async def deliver(self, session: str, store: str, event: Event) -> None:
        for callback in self.event_callbacks:
            await callback(session, store, event)

    async def changed(self, row: SessionRow) -> None:
        for callback in self.change_callbacks:
            await callback(row)

    # ---- the fork server --------------------------------------------------------------------------------------------

    def _track(self, session: str, pid: int, store: Path, generation: int, listener: ProcessListener) -> WorkerProcess:
        process = WorkerProcess(
            session=session,
            pid=pid,
            store=store,
            generation=generation,
            fork=self._fork,
            daemon=self._daemon,
            capture=lambda: self._capture_of(session),
            listener=listener,
        )
        self._processes[pid] = process
        return process

    async def _follow_fork_server(self) -> None:
        async for event in self._fork.events():
            match event:
                case ForkHello():
                    await self._reconcile(event)
                case Exited():
                    self._job(self._exited(event))
                case Lost():
                    self.ready.clear()
                    for process in list(self._processes.values()):
                        self._job(self._watch(process))

    async def _exited(self, exited: Exited) -> None:
        process = self._processes.get(exited.pid)
        if process is not None and process.session == exited.session:
            await self._died(process, exited)
        elif (runner := self.runners.get(exited.session)) is not None and runner.booted:
            await runner.feed(
                i.Exited(
                    pid=exited.pid,
                    status=exited.status,
                    signal=exited.signal,
                    at=exited.at,
                    out_of_memory=exited.out_of_memory,
                )
            )
        try:
            await self._fork.forget_exit(exited.pid)
        except ForkServerError as error:
            _log.info("an exit will be told again", pid=exited.pid, error=str(error))

    async def _died(self, process: WorkerProcess, exited: Exited | None) -> None:
        await process.died(exited)
        self._processes.pop(process.pid, None)

    async def _watch(self, process: WorkerProcess) -> None:
        """The connection to the fork server broke. If it died, its workers die with it; if it only changed to a new
        release they live, and it tells of exits again."""
        await process.wait_death()
        if not self.ready.is_set():
            await self._died(process, None)

    async def _reconcile(self, hello: ForkHello) -> None:
        """A fork server answers: account for every worker, its own and those that we believe in."""
        try:
            listed = await self._fork.list()
        except ForkServerError as error:
            _log.warning("the fork server went away again", error=str(error))
            return
        if self._fork_pid not in (None, hello.pid):
            for process in list(self._processes.values()):
                process.kill_orphan()
                await process.wait_death()
                await self._died(process, None)
        self._fork_pid = hello.pid
        if self._fork_build not in (None, hello.build):
            self.try_now()
        self._fork_build = hello.build
        adopted = {worker.session: worker for worker in listed if self._is_current(worker)}
        for worker in listed:
            if worker.pid not in self._processes and adopted.get(worker.session) is not worker:
                self._end_stray(worker)
        self.ready.set()
        for runner in list(self.runners.values()):
            if not runner.booted:
                worker_of = adopted.get(runner.row.id)
                await runner.boot(None if worker_of is None else self._adopt(runner, worker_of))
        self._pump_wanted.set()

    def _is_current(self, worker: Listed) -> bool:
        """Whether a worker that we do not know yet is a session's, by its row."""
        runner = self.runners.get(worker.session)
        return (
            runner is not None
            and not runner.booted
            and worker.pid not in self._processes
            and runner.row.store == Path(worker.store_folder)
            and runner.row.generation == worker.generation
        )

    def _adopt(self, runner: SessionRunner, worker: Listed) -> WorkerProcess:
        row = runner.row
        return self._track(row.id, worker.pid, Path(worker.store_folder), worker.generation, runner)

    def _end_stray(self, worker: Listed) -> None:
        """It keeps its store busy until it is dead; its folder is deleted after that."""
        _log.warning("a process that belongs to no session is ended", session=worker.session, pid=worker.pid)
        runner, store = self.runners.get(worker.session), Path(worker.store_folder)
        stray = Stray(self.keepalive, keep_login=runner is not None and runner.row.store == store)
        process = self._track(worker.session, worker.pid, store, worker.generation, stray)
        process.start()
        self._job(self._see_off(stray, process))

    async def _see_off(self, stray: Stray, process: WorkerProcess) -> None:
        await stray.end(process)
        if self.on_stray_ended is not None:
            await self.on_stray_ended(process.session, process.store)

    # ---- the gate ---------------------------------------------------------------------------------------------------

    async def _pump(self) -> None:
        """Let sessions start as the gate allows, for ever."""
        while True:
            self._pump_wanted.clear()
            await self.ready.wait()
            self._let_start()
            wake_at = self.gate.wake_at()
            wait = None if wake_at is None else max(0.0, wake_at - self.clock.at())
            try:
                async with asyncio.timeout(wait):
                    await self._pump_wanted.wait()
            except TimeoutError:
                continue

    def _let_start(self) -> None:
        while True:
            turn = self.gate.take(self.clock.at())
            if turn.session is not None:
                if runner := self.runners.get(turn.session):
                    runner.put(i.Granted())
            elif turn.wanted:
                self._wake_canary()
                return
            else:
                return

    def _wake_canary(self) -> None:
        for state in WAKEABLE:
            for runner in self.runners.values():
                memory = runner.row.memory
                if memory.state is state and memory.wanted and runner.machine.phase is Phase.IDLE:
                    self._woken = runner.row.id
                    runner.put(i.Nudge())
                    return

    async def configure(self, process: WorkerProcess) -> None:
        """Tell a running worker what to keep; one that does not answer is told when its link is back."""
        try:
            await process.command(Configure(capture=self._capture_of(process.session)), CONFIGURE_TIMEOUT_S)
        except (LinkDownError, TimeoutError) as error:
            _log.info("capture settings wait for the link", session=process.session, error=str(error))

    def _capture_of(self, session: str) -> CaptureSettings:
        runner, all_settings = self.runners.get(session), self.settings.capture
        return all_settings if runner is None else runner.row.settings.capture.applied(all_settings)

    def _job(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)
