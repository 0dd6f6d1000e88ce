"""A toy world around one session's state machine: processes, their outboxes, a network that counts, and time.

It plays the supervisor's part honestly, so that what a test asserts about the machine holds for the appliance.
"""

from __future__ import annotations

import copy

import msgspec

from appliance.model import SessionState
from appliance.protocol import EngineState, Event, Signal, SignalKind
from appliance.sessions import inputs as i
from appliance.sessions.machine import SessionMachine
from appliance.sessions.memory import Memory, Phase
from appliance.sessions.policy import History
from appliance.sessions.settings import KeepaliveSettings, ReconnectSettings

KEEPALIVE = KeepaliveSettings()
RECONNECT = ReconnectSettings()
START = 1_700_000_000.0


class Worker:
    """One process. Its outbox lives in the store and outlives it."""

    def __init__(self, pid: int, first_event: int) -> None:
        self.pid = pid
        self.first_event = first_event
        self.alive = True
        self.connected_at: float | None = None


class World:
    def __init__(self, *, linked: bool = True) -> None:
        self.time = START
        self.chance = 0.5
        self.outage = False
        self.memory = Memory(linked=linked, state=SessionState.STOPPED if linked else SessionState.NEW)
        self.machine = SessionMachine(self.memory, KEEPALIVE, RECONNECT)
        self.workers: dict[int, Worker] = {}
        self.outbox: list[Event] = []
        self.rows: list[i.OpenRow] = []
        self.closed: list[float] = []
        self.refined: list[i.RefineRow] = []
        self.alarms: list[i.Alarm] = []
        self.spawns: list[float] = []
        self.probes: list[int] = []
        self.losses: list[float] = []
        """Connections that had logged in and ended, as the network counts them: their login times."""
        self.asked = False
        self.must_spawn = False
        self.must_end: list[i.EndWorker] = []
        self._next_pid = 100
        self._next_seq = 1

    # ---- the supervisor ---------------------------------------------------------------------------------------------

    def feed(self, what: i.Input) -> list[i.Effect]:
        now = i.Now(at=self.time, wall=self.time, chance=self.chance, outage=self.outage)
        effects = self.machine.feed(what, now)
        for effect in effects:
            match effect:
                case i.AskStart():
                    self.asked = True
                case i.CancelStart():
                    self.asked = False
                case i.SpawnWorker():
                    assert not self.alive(), "a second copy"
                    self.must_spawn = True
                    self.spawns.append(self.time)
                case i.EndWorker():
                    self.must_end.append(effect)
                case i.ProbeWorker():
                    self.probes.append(effect.pid)
                case i.OpenRow():
                    self.rows.append(effect)
                case i.CloseRows():
                    self.closed.append(effect.at)
                case i.RefineRow():
                    self.refined.append(effect)
                case i.Alarm():
                    self.alarms.append(effect)
        return effects

    def alive(self) -> list[Worker]:
        return [worker for worker in self.workers.values() if worker.alive]

    @property
    def state(self) -> SessionState:
        return self.machine.memory.state

    @property
    def worker(self) -> Worker:
        [worker] = self.alive()
        return worker

    def grant(self) -> None:
        self.asked = False
        self.feed(i.Granted())

    def spawn(self) -> Worker:
        """The fork server does as it was told."""
        self.must_spawn = False
        worker = Worker(self._next_pid, self._next_seq)
        self._next_pid += 1
        self.workers[worker.pid] = worker
        self.feed(i.Spawned(pid=worker.pid))
        return worker

    def greet(self) -> None:
        worker = self.worker
        state = EngineState.CONNECTING if worker.connected_at is None else EngineState.CONNECTED
        self.feed(i.Greeted(pid=worker.pid, engine_state=state, connected_at=worker.connected_at))

    def deliver(self) -> None:
        """The link hands over what waits in the outbox, in order."""
        workers = self.alive()
        if not workers:
            return
        while self.outbox:
            event = self.outbox.pop(0)
            self.feed(i.Got(pid=workers[0].pid, event=event, past=event.seq < workers[0].first_event))

    def advance(self, seconds: float) -> None:
        """Let time pass, with every deadline of the machine at its moment."""
        end = self.time + seconds
        for _ in range(1000):
            wake = self.machine.wake_at
            if wake is None or wake > end:
                break
            self.time = max(self.time, wake)
            self.feed(i.Clock())
        self.time = end

    def restart_daemon(self) -> None:
        """A new daemon on what is stored; it adopts what runs. What the old one had been told to do is forgotten."""
        self.memory = msgspec.json.decode(msgspec.json.encode(self.machine.memory), type=Memory)
        self.machine = SessionMachine(self.memory, KEEPALIVE, RECONNECT)
        self.asked = self.must_spawn = False
        self.must_end.clear()
        self.probes.clear()
        alive = self.alive()
        self.feed(i.Boot(pid=alive[0].pid if alive else None))

    # ---- what happens out there -------------------------------------------------------------------------------------

    def emit(self, signal: Signal) -> None:
        self.outbox.append(Event(seq=self._next_seq, at=self.time, body=signal))
        self._next_seq += 1

    def login(self) -> None:
        worker = self.worker
        replaced = worker.connected_at
        if replaced is not None:
            self.losses.append(replaced)
        worker.connected_at = self.time
        self.emit(Signal(kind=SignalKind.CONNECTED, connected_at=replaced))

    def signal(self, kind: SignalKind, code: int | None = None, **more: object) -> None:
        """A signal that ends the connection, if there is one."""
        worker = self.worker
        self.emit(Signal(kind=kind, code=code, connected_at=worker.connected_at, **more))  # type: ignore[arg-type]
        if worker.connected_at is not None:
            self.losses.append(worker.connected_at)
            worker.connected_at = None

    def die(self, *, status: int | None = None, signal: int | None = 9, told: bool = True) -> None:
        worker = self.worker
        if worker.connected_at is not None:
            self.losses.append(worker.connected_at)
        worker.alive = False
        worker.connected_at = None
        self.must_end = [end for end in self.must_end if end.pid != worker.pid]
        if told:
            self.feed(i.Exited(pid=worker.pid, status=status, signal=signal))

    # ---- short cuts -------------------------------------------------------------------------------------------------

    def online(self, hold_s: float = 0.0) -> World:
        """Start it and log in; then let the connection hold for a while."""
        self.feed(i.Start())
        self.again()
        self.advance(hold_s)
        return self

    def again(self) -> None:
        """The next process comes online."""
        self.grant()
        self.spawn()
        self.greet()
        self.login()
        self.deliver()
        assert self.state is SessionState.ONLINE

    def tell(self, kind: SignalKind, code: int | None = None, **more: object) -> None:
        self.signal(kind, code, **more)
        self.deliver()

    def emit_close_after_error(self) -> None:
        """The engine also reports the close after a stream error; the adapter has forgotten the login by then."""
        self.emit(Signal(kind=SignalKind.DISCONNECTED))
        self.deliver()

    def finish_end(self) -> None:
        """The process that was told to end does."""
        assert self.must_end
        self.die(status=0, signal=None)

    def copy_history(self) -> History:
        return copy.deepcopy(self.machine.memory.history)


def idle(world: World) -> bool:
    """Neither a process nor anything that would bring one."""
    machine = world.machine
    return not world.alive() and machine.phase is Phase.IDLE and machine.wake_at is None and not world.asked
