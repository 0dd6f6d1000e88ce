"""The real fork server with a worker that has the real outbox and control socket, and an engine played by the test.

What its engine does is read from `script.json` in the session's folder at each start, and changed while it runs by a
`SendText` to `script`. Each start and each login is one line in `journal`, as the network would have counted it.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import sys
import time
from pathlib import Path

import msgspec

from appliance.forkserver import server
from appliance.forkserver.__main__ import main
from appliance.forkserver.child import Loaded
from appliance.model import PairMethod
from appliance.protocol import (
    PROTOCOL_VERSION,
    Command,
    EngineState,
    Heartbeat,
    Hello,
    Logout,
    PairByCode,
    Paired,
    PairFailed,
    PairShown,
    Probe,
    Promote,
    Reply,
    SendText,
    Signal,
    SignalKind,
    Stop,
    WorkerExit,
    WorkerMode,
    WorkerSpec,
)
from appliance.worker.link import DaemonLink
from appliance.worker.store import CaptureStore, StoreLock, StoreLockedError


class Script(msgspec.Struct, kw_only=True):
    """How the played engine behaves. `at_start`: signals instead of a login; `exit`: then end with this status."""

    connect: bool = True
    at_start: list[Signal] = []
    exit: int | None = None
    abort: bool = False
    protocol: int = PROTOCOL_VERSION
    deaf: bool = False
    answers: bool = True
    """Whether WhatsApp answers pings and probes."""


class Step(msgspec.Struct, kw_only=True):
    """One order of a test to the running worker."""

    signals: list[Signal] = []
    exit: int | None = None
    answers: bool | None = None
    block_s: float = 0
    connect: bool = False
    pss: int | None = None


class StandIn:
    def __init__(self, spec: WorkerSpec) -> None:
        self.spec = spec
        self.folder = Path(spec.session_folder)
        path = self.folder / "script.json"
        self.script = msgspec.json.decode(path.read_bytes(), type=Script) if path.exists() else Script()
        self.generation = spec.generation
        self.state = EngineState.STARTING
        self.connected_at: float | None = None
        self.frame_at: float | None = None
        self.pss = 12 << 20
        self.lock = StoreLock(Path(spec.store_folder))
        self.store = CaptureStore(Path(spec.store_folder))
        self.started_at = time.time()
        self.first_event = 0
        self.over = asyncio.Event()
        self.status = 0
        self.link: DaemonLink

    def journal(self, word: str) -> None:
        with (self.folder / "journal").open("a", encoding="ascii") as file:
            file.write(f"{word} {os.getpid()} {time.time()}\n")

    async def run(self) -> int:
        self.journal("start")
        self.stacks = (self.folder / "stacks").open("w")
        faulthandler.register(signal.SIGUSR1, file=self.stacks)  # as in the real one, which lives on after it was asked
        try:
            self.lock.acquire()
        except StoreLockedError:
            self.journal("second-copy")
            return WorkerExit.STORE_LOCKED
        self.store.open(self.generation)
        self.first_event = self.store.next_event()
        self.link = DaemonLink(
            store_folder=Path(self.spec.store_folder),
            store=self.store,
            hello=self.hello,
            on_command=self.command,
            on_welcome=lambda _welcome: None,
            write_log=lambda *_: None,
        )
        await self.link.start()
        beat = asyncio.create_task(self.beat())
        if self.spec.mode is WorkerMode.RUN:
            for told in self.script.at_start:
                self.emit(told)
            if self.script.connect:
                self.login()
            if self.script.abort:
                os.abort()
            if self.script.exit is not None:
                self.end(self.script.exit)
        await self.over.wait()
        beat.cancel()
        if self.status:
            await self.link.drained(5)
        await self.link.close()
        return self.status

    def end(self, status: int) -> None:
        self.status = status
        self.over.set()

    def login(self) -> None:
        if self.connected_at is not None:
            self.journal("lost")
        self.journal("login")
        self.connected_at = self.frame_at = time.time()
        self.state = EngineState.CONNECTED
        self.link.emit(Signal(kind=SignalKind.CONNECTED))

    def emit(self, signal: Signal) -> None:
        """A signal as the real adapter makes it: a loss carries when the lost connection had logged in."""
        keeps = (SignalKind.KEEPALIVE_TIMEOUT, SignalKind.KEEPALIVE_RESTORED)
        if signal.kind in keeps:
            self.link.emit(signal)
            return
        if self.connected_at is None:
            self.journal("refused")
        self.link.emit(msgspec.structs.replace(signal, connected_at=self.connected_at))
        if self.connected_at is not None:
            self.journal("lost")
        self.connected_at = None
        self.state = EngineState.DISCONNECTED

    def hello(self) -> Hello:
        return Hello(
            protocol=self.script.protocol,
            session=self.spec.session,
            generation=self.generation,
            store_folder=self.spec.store_folder,
            mode=self.spec.mode,
            pid=os.getpid(),
            started_at=self.started_at,
            engine="stand-in",
            engine_state=self.state,
            connected_at=self.connected_at,
            sandbox="none",
            oldest_event=self.store.oldest_event(),
            first_event=self.first_event,
            build=RELEASE,
        )

    async def beat(self) -> None:
        while True:
            now = time.time()
            if self.script.answers and self.connected_at is not None:
                self.frame_at = now
            self.link.beat(
                Heartbeat(
                    at=now,
                    engine_state=self.state,
                    loop_lag_s=0.0,
                    pss_bytes=self.pss,
                    last_frame_at=self.frame_at,
                    last_message_at=None,
                    ping_sent_at=None,
                    ping_answered_at=None,
                    inbox=0,
                )
            )
            await asyncio.sleep(self.spec.heartbeat_s)

    async def command(self, command: Command) -> Reply:
        match command.body:
            case Probe() as probe:
                self.journal("probe")
                if not self.script.answers:
                    await asyncio.sleep(10 * probe.timeout_s)
                return Reply(id=command.id, data={"seconds": 0.001})
            case PairByCode():
                self.link.emit(PairShown(method=PairMethod.CODE, value="ABCD-EFGH", expires_at=time.time() + 160))
            case Promote() as promote:
                self.generation = promote.generation
                self.store.claim(promote.generation)
            case Logout():
                self.journal("logout")
                self.end(WorkerExit.LOGGED_OUT)
            case Stop():
                if not self.script.deaf:
                    self.end(WorkerExit.STOPPED)
            case SendText(to="script") as order:
                self.play(msgspec.json.decode(order.text, type=Step))
            case SendText(to="phone") as order:
                self.phone(order.text)
        return Reply(id=command.id)

    def play(self, step: Step) -> None:
        if step.answers is not None:
            self.script.answers = step.answers
        if step.pss is not None:
            self.pss = step.pss
        for told in step.signals:
            self.emit(told)
        if step.connect:
            self.login()
        if step.block_s:
            time.sleep(step.block_s)  # a loop that blocks is what is being played
        if step.exit is not None:
            self.end(step.exit)

    def phone(self, word: str) -> None:
        """What the person at the phone does."""
        if word == "types":
            self.link.emit(Paired(jid="221770000012:3@s.whatsapp.net", lid="1001:3@lid"))
            self.login()
        else:
            self.link.emit(PairFailed(reason=word, shown=True))
            self.end(WorkerExit.PAIRING_FAILED)


def run(spec: WorkerSpec) -> int:
    return asyncio.run(StandIn(spec).run())


if __name__ == "__main__":
    RELEASE, *arguments = sys.argv[1:]
    if arguments[:3] == ["-P", "-m", "appliance.forkserver"]:
        del arguments[:3]
    server.build_name = lambda: RELEASE
    server.PROTOCOL_VERSION = int(os.environ.get("AMDA_TEST_PROTOCOL", PROTOCOL_VERSION))
    sys.exit(main(arguments, lambda: Loaded(run), RELEASE))
