"""The fork server's loop: one thread that sleeps in epoll until a client or a signal wants something.

It has no event loop of asyncio, no thread and no engine library: whatever it holds, sixty children inherit, and threads
do not survive a fork. It decides nothing about sessions; it forks, signals, reaps and tells.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Final

from appliance.build import ENGINE_VARIABLE, build_name
from appliance.forkserver.cgroups import Cgroups
from appliance.forkserver.child import HANDLED, Loaded, become_worker
from appliance.forkserver.connection import Connection
from appliance.forkserver.log import log
from appliance.forkserver.registry import STOP_GRACE_S, Handover, Registry
from appliance.forkserver.successor import CHECK_TIMEOUT_S, Check, become
from appliance.protocol import (
    PROTOCOL_VERSION,
    Done,
    ExecInPlace,
    ForgetExit,
    ForkHello,
    ForkRequest,
    FromForkServer,
    Kill,
    ListWorkers,
    Refused,
    Spawn,
    Spawned,
    Workers,
    WorkerSpec,
)
from appliance.sockets import PeerError, remove_socket

KILL_GRACE_S: Final = 5.0
"""A killed process ends at once unless the disk hangs; the rest then ends with us (PR_SET_PDEATHSIG)."""
_WAKEUP_BYTES: Final = 4096


class ForkServer:
    """Serves clients on `listener` (a bound, listening unix socket) until SIGTERM; see `serve`."""

    def __init__(
        self,
        *,
        listener: socket.socket,
        socket_path: str,
        registry: Registry,
        loaded: Loaded,
        release: str,
        stop_grace_s: float = STOP_GRACE_S,
        clock: Callable[[], float] = time.time,
        cgroups: Cgroups | None = None,
    ) -> None:
        self._listener = listener
        self._socket_path = socket_path
        self._registry = registry
        self._loaded = loaded
        self._hello = ForkHello(
            protocol=PROTOCOL_VERSION,
            pid=os.getpid(),
            started_at=clock(),
            release=release,
            build=build_name(),
            engine=os.environ.get(ENGINE_VARIABLE, ""),
        )
        self._stop_grace_s = stop_grace_s
        self._clock = clock
        self._cgroups = cgroups
        self._connections: dict[int, Connection] = {}
        self._check: Check | None = None
        self._check_client: Connection | None = None
        self._stop_requested = False
        self._deadline: float | None = None
        """Monotonic time at which the next step of stopping is due; None while serving."""
        self._killed = False

    def serve(self) -> int:
        """Run until SIGTERM or SIGINT and the end of all workers; returns the exit status."""
        self._selector = selectors.EpollSelector()
        self._wake_in, self._wake_out = socket.socketpair()
        for end in (self._wake_in, self._wake_out, self._listener):
            end.setblocking(False)  # noqa: FBT003
        self._selector.register(self._wake_in, selectors.EVENT_READ, self._woken)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        signal.set_wakeup_fd(self._wake_out.fileno(), warn_on_full_buffer=False)
        for number in HANDLED:
            signal.signal(number, self._on_signal)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        log("fork server ready", pid=os.getpid(), release=self._hello.release, workers=len(self._registry.workers))
        self._find_lost()
        self._reap()
        while not self._finished():
            for key, _ in self._selector.select(self._timeout()):
                key.data()
            self._advance()
        for connection in self._connections.values():
            connection.sock.close()
        self._listener.close()
        remove_socket(self._socket_path)
        log("fork server ended", workers=len(self._registry.workers))
        return 0

    # ---- signals and time

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        """Runs between two steps of the loop; the wake-up descriptor ends its sleep."""
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stop_requested = True

    def _woken(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._wake_in.recv(_WAKEUP_BYTES):
                pass
        self._reap()

    def _timeout(self) -> float | None:
        """Seconds until something is due; None, for ever, when nothing is under way."""
        due = [self._deadline] if self._deadline is not None else []
        if self._check and self._check.deadline is not None:
            due.append(self._check.deadline)
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _advance(self) -> None:
        now = time.monotonic()
        if self._check and self._check.deadline is not None and (self._stop_requested or now >= self._check.deadline):
            os.kill(self._check.pid, signal.SIGKILL)
            self._check.deadline = None
        if self._stop_requested and self._deadline is None:
            log("fork server stops", workers=len(self._registry.workers))
            self._signal_all(signal.SIGTERM)
            self._deadline = now + self._stop_grace_s
        elif self._deadline is not None and now >= self._deadline and not self._killed:
            log("workers do not end and are killed", workers=len(self._registry.workers))
            self._signal_all(signal.SIGKILL)
            self._killed = True
            self._deadline = now + KILL_GRACE_S

    def _finished(self) -> bool:
        if self._deadline is None:
            return False
        return not self._registry.workers or (self._killed and time.monotonic() >= self._deadline)

    def _signal_all(self, number: signal.Signals) -> None:
        for worker in self._registry.workers:
            os.kill(worker.process.pid, number)

    # ---- children

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self._check and pid == self._check.pid:
                self._checked(status)
            else:
                self._tell_exit(pid, status)

    def _tell_exit(self, pid: int, status: int | None) -> None:
        out_of_memory = self._cgroups is not None and self._cgroups.leave(pid)
        if exited := self._registry.ended(pid, self._clock(), status, out_of_memory=out_of_memory):
            log("worker ended", session=exited.session, pid=pid, status=exited.status, signal=exited.signal)
            for connection in list(self._connections.values()):
                self._send(connection, exited)

    def _find_lost(self) -> None:
        """Of the workers that a former release left, some may not be our children any more."""
        for worker in self._registry.workers:
            try:
                os.waitid(os.P_PID, worker.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                self._tell_exit(worker.process.pid, None)

    def _spawn(self, spec: WorkerSpec) -> Spawned:
        refusal = "the fork server is stopping" if self._stop_requested else self._registry.refusal(spec)
        if refusal:
            return Spawned(session=spec.session, pid=None, error=refusal)
        parent = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        try:
            pid = os.fork()
            if pid == 0:
                become_worker(spec, parent, self._close_in_child, self._loaded, self._cgroups)
        except OSError as error:
            return Spawned(session=spec.session, pid=None, error=f"cannot fork: {error.strerror}")
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        self._registry.add(spec, pid, self._clock())
        log("worker forked", session=spec.session, pid=pid, generation=spec.generation, mode=spec.mode)
        return Spawned(session=spec.session, pid=pid)

    def _close_in_child(self) -> None:
        """Close by object, so that no later garbage collection closes a descriptor that has got a new meaning."""
        for connection in self._connections.values():
            connection.sock.close()
        self._listener.close()
        self._wake_in.close()
        self._wake_out.close()
        self._selector.close()
        if self._check:
            self._check.close()

    # ---- clients

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        sock.setblocking(False)  # noqa: FBT003
        connection = Connection(sock)
        try:
            connection.admit()
        except PeerError as error:
            log("client refused", reason=str(error))
            with contextlib.suppress(PeerError):
                connection.send(Refused(error=str(error)))
            sock.close()
            return
        self._connections[sock.fileno()] = connection
        self._selector.register(sock, selectors.EVENT_READ, lambda: self._serve(connection))
        welcome: list[FromForkServer] = [self._hello, *self._registry.exits]
        for message in welcome:
            if not self._send(connection, message):
                return

    def _serve(self, connection: Connection) -> None:
        if connection.sock.fileno() not in self._connections:
            return  # dropped earlier in the same round
        try:
            connection.flush()
            for request in connection.receive():
                if (reply := self._answer(connection, request)) is not None:
                    connection.send(reply)
        except PeerError as error:
            self._drop(connection, error)
        else:
            self._watch(connection)

    def _answer(self, connection: Connection, request: ForkRequest) -> FromForkServer | None:
        match request:
            case Spawn(spec=spec):
                return self._spawn(spec)
            case Kill():
                return self._kill(request)
            case ListWorkers():
                return Workers(workers=[worker.process for worker in self._registry.workers])
            case ForgetExit(pid=pid):
                self._registry.forget(pid)
                return Done()
            case ExecInPlace():
                return self._start_check(connection, request)

    def _kill(self, request: Kill) -> FromForkServer:
        if self._registry.find(request.session, request.pid) is None:
            return Refused(error=f"process {request.pid} is no living worker of session {request.session}")
        if request.signal not in signal.valid_signals():
            return Refused(error=f"there is no signal {request.signal}")
        os.kill(request.pid, request.signal)  # not reaped yet, so the number cannot be somebody else's
        return Done()

    def _send(self, connection: Connection, message: FromForkServer) -> bool:
        """False if the client had to be dropped."""
        try:
            connection.send(message)
        except PeerError as error:
            self._drop(connection, error)
            return False
        self._watch(connection)
        return True

    def _watch(self, connection: Connection) -> None:
        """Ask epoll for writability only while something waits to be written."""
        if connection.sock.fileno() not in self._connections:
            return
        key = self._selector.get_key(connection.sock)
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.wants_to_send else 0)
        if key.events != events:
            self._selector.modify(connection.sock, events, key.data)

    def _drop(self, connection: Connection, error: PeerError) -> None:
        if self._connections.pop(connection.sock.fileno(), None) is None:
            return
        log("client left", reason=str(error))
        self._selector.unregister(connection.sock)
        connection.sock.close()

    # ---- the next release

    def _start_check(self, connection: Connection, request: ExecInPlace) -> FromForkServer | None:
        """Try the other release in a child; the reply follows in `_checked`."""
        if self._check:
            return Refused(error="a change of release is already under way")
        if self._stop_requested:
            return Refused(error="the fork server is stopping")
        check = Check(request.python, time.monotonic() + CHECK_TIMEOUT_S, request.engine)
        try:
            check.start()
        except OSError as error:
            return Refused(error=f"{request.python} cannot be run: {error.strerror}")
        self._check, self._check_client = check, connection
        self._selector.register(check.output, selectors.EVENT_READ, self._read_check)
        return None

    def _read_check(self) -> None:
        if self._check and not self._check.read():
            self._selector.unregister(self._check.output)
            self._check.close()

    def _checked(self, status: int) -> None:
        """The trial has ended: go on as that release, or tell why not."""
        check, client = self._check, self._check_client
        self._check = self._check_client = None
        if check is None or client is None:
            return
        if check.output >= 0:
            check.read()
            self._selector.unregister(check.output)
            check.close()
        code = os.waitstatus_to_exitcode(status)
        if code == 0 and not self._stop_requested:
            reason = self._become(check)
        elif code < 0:
            reason = f"the trial was ended by signal {-code} ({CHECK_TIMEOUT_S:.0f} s are its limit)"
        else:
            reason = check.reason
        log("stays with this release", release=self._hello.release, reason=reason)
        if client.sock.fileno() in self._connections:
            self._send(client, Refused(error=f"{check.python} was not taken: {reason}"))

    def _become(self, checked: Check) -> str:
        """Does not return if it succeeds. Otherwise returns the reason; nothing has changed."""
        log("moves to another release", python=checked.python, engine=checked.engine)
        handover = Handover(
            listener=self._listener.fileno(),
            socket_path=self._socket_path,
            workers=self._registry.workers,
            exits=self._registry.exits,
            stop_grace_s=self._stop_grace_s,
        )
        try:
            become(checked.python, handover, checked.engine)
        except OSError as error:
            return f"execve failed: {error.strerror}"
