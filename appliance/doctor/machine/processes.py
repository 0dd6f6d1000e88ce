"""Processes that nobody owns: a session's worker without its fork server, a second fork server, a second daemon.

Two copies of a session would fight at WhatsApp until it is `replaced`; so a worker dies with its fork server, and this
looks whether that holds.
"""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Iterator
from typing import Final

import psutil

from appliance.doctor.check import Check, Patient, Repair, Seen, in_thread, ok, problem
from appliance.processes import ProcessId, identify, is_running

WORKER: Final = "amda "
"""How the name of a worker begins (`forkserver/child.py`); its session follows."""
FORK_SERVER: Final = "appliance.forkserver"
"""In the command line of a fork server, with its socket; its workers inherit that line, as they are forked."""


@dataclasses.dataclass(frozen=True)
class _Process:
    id: ProcessId
    parent: int
    name: str

    @property
    def is_worker(self) -> bool:
        return self.name.startswith(WORKER)


def look(patient: Patient) -> list[Seen]:
    running = list(_running(str(patient.settings.paths.fork_socket)))
    fork_servers = [one for one in running if not one.is_worker]
    workers = [one for one in running if one.is_worker]
    seen = [_orphan(one) for one in workers if one.parent not in {server.id.pid for server in fork_servers}]
    if len(fork_servers) > 1:
        pids = ", ".join(str(one.id.pid) for one in fork_servers)
        found = f"{len(fork_servers)} fork servers for one socket (processes {pids})"
        seen.append(problem(found, "End all but the newest: kill PID"))
    return seen or [ok(f"{len(workers)} processes of sessions, each with its fork server")]


def _orphan(one: _Process) -> Seen:
    def end() -> None:
        if is_running(one.id):
            os.kill(one.id.pid, signal.SIGTERM)

    what = f"kill {one.id.pid}"
    found = (
        f"{one.name.removeprefix(WORKER)}: process {one.id.pid} has lost its fork server; no daemon can lead it, and a"
        " second copy of the session may be started beside it"
    )
    return problem(found, what, f"process {one.id.pid}", Repair(what, end))


def _running(socket: str) -> Iterator[_Process]:
    """Fork servers of this socket, and what they have forked. Whoever may not see a process is not shown it at all."""
    for process in psutil.process_iter():
        try:
            with process.oneshot():
                command = process.cmdline()
                if FORK_SERVER in command and socket in command:
                    yield _Process(identify(process.pid), process.ppid(), process.name())
        except (psutil.Error, ProcessLookupError):
            continue


CHECK: Final = Check("processes", "processes that nobody owns", in_thread(look))
