"""Which workers live, which have ended untold, and which may not be forked: the fork server's memory, without any I/O.

It can be handed to the next release (`Handover`), which takes the workers over as its own children.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from appliance.protocol import Exited, WorkerMode, WorkerProcess, WorkerSpec

STOP_GRACE_S: Final = 10.0
"""Workers say goodbye to WhatsApp in well under a second; one that hangs is killed after this long."""


class Living(msgspec.Struct, frozen=True, kw_only=True):
    """A worker that has not been reaped."""

    process: WorkerProcess
    mode: WorkerMode


class Handover(msgspec.Struct, frozen=True, kw_only=True):
    """What one release of the fork server leaves to the next. Fields are only ever added, with a default."""

    listener: int
    """Inherited file descriptor of the listening socket."""
    socket_path: str
    workers: list[Living] = []
    exits: list[Exited] = []
    stop_grace_s: float = STOP_GRACE_S


class Registry:
    """Workers by process number, and exits until the daemon has taken note of them."""

    def __init__(self, workers: list[Living] | None = None, exits: list[Exited] | None = None) -> None:
        self._workers = {worker.process.pid: worker for worker in workers or ()}
        self._exits = list(exits or ())

    @property
    def workers(self) -> list[Living]:
        return list(self._workers.values())

    @property
    def exits(self) -> list[Exited]:
        """Not forgotten yet, oldest first."""
        return list(self._exits)

    def refusal(self, spec: WorkerSpec) -> str | None:
        """Why this worker must not be forked; None if it may.

        Two processes on one store would destroy it; two RUN workers of one session would throw each other out of
        WhatsApp for ever. A PAIR worker has a store of its own and may live beside the session's RUN worker.
        """
        session, store = Path(spec.session_folder), Path(spec.store_folder)
        if not session.is_absolute() or not store.is_absolute():
            return "session_folder and store_folder must be absolute paths"
        if not store.resolve().is_relative_to(session.resolve()):
            return f"store_folder does not lie in session_folder {session}"
        if not store.is_dir():
            return f"store_folder {store} does not exist; create it first"
        real = os.path.realpath(store)
        for worker in self._workers.values():
            other = worker.process
            if os.path.realpath(other.store_folder) == real:
                return f"process {other.pid} has this store open already"
            if other.session == spec.session and worker.mode is spec.mode is WorkerMode.RUN:
                return f"process {other.pid} runs this session already"
        return None

    def add(self, spec: WorkerSpec, pid: int, at: float) -> None:
        """Remember a worker that was forked at `at` (Unix time)."""
        process = WorkerProcess(
            session=spec.session,
            pid=pid,
            generation=spec.generation,
            store_folder=spec.store_folder,
            started_at=at,
        )
        self._workers[pid] = Living(process=process, mode=spec.mode)

    def find(self, session: str, pid: int) -> Living | None:
        """The living worker with this number, if it is this session's."""
        worker = self._workers.get(pid)
        return worker if worker and worker.process.session == session else None

    def ended(self, pid: int, at: float, wait_status: int | None, *, out_of_memory: bool = False) -> Exited | None:
        """Move a worker to the exits. `wait_status` is that of wait(2); None if nobody can tell any more. Returns None
        if `pid` is no worker."""
        worker = self._workers.pop(pid, None)
        if worker is None:
            return None
        code = None if wait_status is None else os.waitstatus_to_exitcode(wait_status)
        exited = Exited(
            session=worker.process.session,
            pid=pid,
            generation=worker.process.generation,
            at=at,
            status=code if code is not None and code >= 0 else None,
            signal=-code if code is not None and code < 0 else None,
            out_of_memory=out_of_memory,
        )
        self._exits.append(exited)
        return exited

    def forget(self, pid: int) -> None:
        """Drop the oldest exit of this number: a later one, of a process that got the same number, is still untold."""
        for exited in self._exits:
            if exited.pid == pid:
                self._exits.remove(exited)
                return
