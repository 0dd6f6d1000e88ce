"""One running worker: puts engine, capture, downloads and control socket together, and ends for one reason."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from appliance.build import build_name
from appliance.protocol import (
    PROTOCOL_VERSION,
    CaptureNote,
    CaptureSettings,
    Command,
    Heartbeat,
    Hello,
    Reply,
    Signal,
    SignalKind,
    SpoolItem,
    Welcome,
    WorkerExit,
    WorkerMode,
    WorkerSpec,
)
from appliance.worker.capture import Capture
from appliance.worker.commands import Commands
from appliance.worker.copies import Copies
from appliance.worker.downloads import Downloads
from appliance.worker.engine.adapter import Engine
from appliance.worker.engine.calls import EngineBusyError, EngineTimeoutError
from appliance.worker.engine.events import EngineEvent, EngineLost, EngineSignal, RawKind
from appliance.worker.engine.gate import REMEMBERED
from appliance.worker.engine.library import EngineError, Library
from appliance.worker.heartbeat import LoopLag, MemoryGauge
from appliance.worker.held import Held
from appliance.worker.link import DaemonLink
from appliance.worker.log import WorkerLog
from appliance.worker.pairing import Pairing
from appliance.worker.rules import Note
from appliance.worker.spool import Spool
from appliance.worker.store import CaptureStore, Recorder

LAST_WORDS_S: Final = 5.0
"""How long a worker that ends by itself waits for the daemon to take its last events; they stay in the outbox
anyway."""
PRESENCE_AFTER_NAME_S: Final = 30.0
"""Pause between two tries to go unavailable while no push name has arrived (it comes by app state after linking)."""
RAW_LIMIT: Final = 512
"""Of what the engine said about a signal: its own errors are longer than a line only when they quote something."""


class Worker:
    """Built once for a process; `run` returns how it ended."""

    def __init__(
        self,
        *,
        spec: WorkerSpec,
        library: Library,
        store: CaptureStore,
        log: WorkerLog,
        sandbox: str,
        seal: Callable[[str], str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._spec = spec
        self._folder = Path(spec.store_folder)
        self._store = store
        self._log = log
        self._sandbox = sandbox
        self._seal = seal
        self._clock = clock
        self._settings = spec.capture
        self._generation = spec.generation
        self._started_at = clock()
        self._exit: asyncio.Future[WorkerExit] | None = None
        self._first_event = 0
        self._recorder = Recorder(self._folder, clock)
        self._lag = LoopLag()
        self._memory = MemoryGauge(time.monotonic)
        self._presence: asyncio.Task[None] | None = None
        self._link = DaemonLink(
            store_folder=self._folder,
            store=store,
            hello=self._hello,
            on_command=self._command,
            on_welcome=self._welcomed,
            write_log=log.write,
        )
        self._engine = Engine(
            library=library,
            store_folder=self._folder,
            history=spec.history,
            record=self._record,
            on_recorded=lambda: self._capture.wake(),
            on_event=self._on_event,
            write_log=log.write,
            on_lag=self._lag.note,
            clock=clock,
        )
        spool = Spool(self._folder)
        self._spool = spool
        held = Held(spool.folder, clock)
        self._copies = Copies(spool.folder, self._engine, log.write)
        self._downloads = Downloads(
            store=store,
            spool=spool,
            held=held,
            copy=self._add_copy,
            downloader=self._engine,
            settings=self._current_settings,
            emit=self._link.emit,
            write_log=log.write,
            clock=clock,
        )
        self._capture = Capture(
            session=spec.session,
            store=store,
            spool=spool,
            held=held,
            copy=self._add_copy,
            settings=self._current_settings,
            emit=self._link.emit,
            on_downloads=self._downloads.wake,
            write_log=log.write,
            clock=clock,
        )
        self._pairing = (
            Pairing(engine=self._engine, connect=self._connect, emit=self._link.emit)
            if spec.mode is WorkerMode.PAIR
            else None
        )
        self._commands = Commands(
            engine=self._engine,
            pairing=self._pairing,
            store_folder=self._folder,
            session_folder=Path(spec.session_folder),
            configure=self._configure,
            promote=self._promote,
            end=self.end,
        )

    async def run(self) -> WorkerExit:
        """Work until something ends it. Raises OSError, PeerError if the folder or the socket cannot be used."""
        self._loop = asyncio.get_running_loop()
        self._exit = self._loop.create_future()
        self._first_event = self._store.next_event()
        self._spool.prepare()
        await self._link.start()
        self._sandbox = self._seal(self._sandbox)  # nothing from WhatsApp has reached this process yet
        tasks = [
            asyncio.create_task(self._capture.run(), name="capture"),
            asyncio.create_task(self._downloads.run(), name="downloads"),
            asyncio.create_task(self._copies.run(), name="copies"),
            asyncio.create_task(self._beat(), name="heartbeat"),
        ]
        for task in tasks:
            task.add_done_callback(self._task_ended)
        if self._pairing is None:
            self._connect()
        else:
            tasks.append(asyncio.create_task(self._end_if_pairing_fails(self._pairing), name="pairing"))
        try:
            status = await self._exit
            return await self._finish(status)
        finally:
            for task in tasks:
                task.cancel()

    def end(self, status: WorkerExit) -> None:
        """Ask the worker to end; the first to ask decides the status."""
        if self._exit is not None and not self._exit.done():
            self._exit.set_result(status)

    async def _finish(self, status: WorkerExit) -> WorkerExit:
        self._log.write("INFO", f"ending: {status.name}")
        self._recorder.stop()
        if not await self._engine.stop():
            self._log.write("WARN", "the engine did not stop in time; the process ends without it")
        if status not in (WorkerExit.STOPPED, WorkerExit.SUPERSEDED):
            await self._link.drained(LAST_WORDS_S)
        await self._link.close()
        return status

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or (error := task.exception()) is None:
            return
        self._log.write("ERROR", f"{task.get_name()} failed: {type(error).__name__}: {error}")
        if isinstance(error, sqlite3.Error):
            self.end(WorkerExit.STORE_BROKEN)
        elif self._exit is not None and not self._exit.done():
            self._exit.set_exception(error)  # nobody foresaw it: the process ends with its traceback

    # ---- engine ----

    def _connect(self) -> None:
        self._engine.start(self._spec.proxy, self._store.recent_ids(REMEMBERED))

    def _record(self, kind: RawKind, message_id: str, hint: str, raw: bytes) -> bool:
        """In the engine's thread. A message that cannot be written down must not be receipted: rather die at once."""
        try:
            return self._recorder.record(kind, message_id, hint, raw)
        except sqlite3.Error as error:
            self._log.write("ERROR", f"a message cannot be recorded: {error}")
            os._exit(WorkerExit.STORE_BROKEN)

    def _on_event(self, event: EngineEvent) -> None:
        if self._exit is None or self._exit.done():
            return
        try:
            if self._pairing is not None:
                self._pairing.on_event(event)
            if isinstance(event, EngineSignal):
                self._on_signal(event)
            elif isinstance(event, EngineLost):
                self._link.emit(CaptureNote(note=Note.LOST, message_id=event.message_id))
        except sqlite3.Error as error:
            self._log.write("ERROR", f"an event cannot be stored: {error}")
            self.end(WorkerExit.STORE_BROKEN)

    def _on_signal(self, signal: EngineSignal) -> None:
        linked = self._pairing is None or self._pairing.done
        if linked:
            self._link.emit(
                Signal(
                    kind=signal.kind,
                    code=signal.code,
                    raw=signal.raw[:RAW_LIMIT],
                    expires_s=signal.expires_s,
                    connected_at=signal.connected_at,
                )
            )
        for work in (self._downloads, self._copies):
            work.connected(now=self._engine.connected_at is not None)
        if signal.kind is SignalKind.CONNECTED:
            if self._presence is not None:
                self._presence.cancel()
            self._presence = asyncio.create_task(self._become_unavailable(), name="presence")
        elif signal.kind is SignalKind.DIAL_FAILED and linked:
            self.end(WorkerExit.DIAL_FAILED)
        elif signal.kind is SignalKind.ENGINE_ENDED and linked:
            self.end(WorkerExit.ENGINE_ENDED)

    async def _become_unavailable(self) -> None:
        """After each login; again and again until a push name has arrived. An `available` device silences the phone,
        but the engine never says `available` by itself, so there is no hurry."""
        while True:
            try:
                if await self._engine.become_unavailable():
                    return
            except (EngineError, EngineTimeoutError, EngineBusyError) as error:
                self._log.write("WARN", f"presence: {error}")
            await asyncio.sleep(PRESENCE_AFTER_NAME_S)

    async def _end_if_pairing_fails(self, pairing: Pairing) -> None:
        await pairing.failed.wait()
        self.end(WorkerExit.PAIRING_FAILED)

    # ---- daemon ----

    async def _command(self, command: Command) -> Reply:
        return await self._commands.run(command)

    def _welcomed(self, welcome: Welcome) -> None:
        if welcome.capture is not None and welcome.capture != self._settings:
            self._configure(welcome.capture)

    def _current_settings(self) -> CaptureSettings:
        return self._settings

    def _configure(self, settings: CaptureSettings) -> None:
        self._settings = settings
        self._downloads.wake()

    def _add_copy(self, item: SpoolItem, data: Path) -> None:
        """In a thread."""
        self._copies.add(item, data)
        self._loop.call_soon_threadsafe(self._copies.wake)

    def _promote(self, generation: int) -> None:
        self._generation = generation
        self._store.claim(generation)

    def _hello(self) -> Hello:
        return Hello(
            protocol=PROTOCOL_VERSION,
            session=self._spec.session,
            generation=self._generation,
            store_folder=self._spec.store_folder,
            mode=self._spec.mode,
            pid=os.getpid(),
            started_at=self._started_at,
            engine=self._engine.version,
            engine_state=self._engine.state,
            connected_at=self._engine.connected_at,
            sandbox=self._sandbox,
            oldest_event=self._store.oldest_event(),
            first_event=self._first_event,
            build=build_name(),
        )

    async def _beat(self) -> None:
        while True:
            if self._store.generation() > self._generation:
                self._log.write("WARN", "the store belongs to a newer generation")
                self.end(WorkerExit.SUPERSEDED)
                return
            times, pss = self._engine.times, self._memory.pss()
            if pss > self._spec.memory_limit_bytes:
                self._log.write("ERROR", f"{pss >> 20} MiB are in use, more than the limit: ending at once")
                os._exit(WorkerExit.OUT_OF_MEMORY)  # ending in order would take seconds and more memory
            self._link.beat(
                Heartbeat(
                    at=self._clock(),
                    engine_state=self._engine.state,
                    loop_lag_s=self._lag.take(),
                    pss_bytes=pss,
                    last_frame_at=times.frame_at,
                    last_message_at=self._engine.last_message_at,
                    ping_sent_at=times.ping_sent_at,
                    ping_answered_at=times.ping_answered_at,
                    phone_seen_at=times.phone_seen_at,
                    inbox=self._store.inbox_length(),
                )
            )
            await self._lag.sleep(self._spec.heartbeat_s)
