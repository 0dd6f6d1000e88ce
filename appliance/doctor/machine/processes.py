"""Processes that nobody owns: a session's worker without its fork server, a second fork server, a second daemon.

Two copies of a session would fight at WhatsApp until it is `replaced`; so a worker dies with its fork server, and this
looks whether that holds.
"""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil

from appliance.doctor.check import Check, Patient, Repair, Seen, in_thread, info, ok, problem
from appliance.processes import ProcessId, identify, is_running

WORKER: Final = "amda "
"""How the name of a worker begins (`forkserver/child.py`); its session follows."""
FORK_SERVER: Final = "appliance.forkserver"
FORK_COMMAND: Final = "fork-server"
"""In the command line of a fork server, as it is executed and as systemd orders it."""


@dataclasses.dataclass(frozen=True)
class _Process:
    id: ProcessId
    parent: int
    name: str
    command: tuple[str, ...]
    folder: Path | None
    """Where it works; None: not to be seen."""


def look(patient: Patient) -> list[Seen]:
    paths = patient.settings.paths
    running = list(_running())
    fork_servers = {one.id.pid for one in running if FORK_SERVER in one.command or FORK_COMMAND in one.command}
    workers = [one for one in running if one.name.startswith(WORKER) and _works_in(one, paths.sessions)]
    hidden = [one for one in running if one.name.startswith(WORKER) and one.folder is None]
    seen = [_orphan(one) for one in workers if one.parent not in fork_servers]
    ours = [one for one in running if one.id.pid in fork_servers and str(paths.fork_socket) in one.command]
    if len(ours) > 1:
        pids = ", ".join(str(one.id.pid) for one in ours)
        seen.append(
            problem(f"{len(ours)} fork servers for one socket (processes {pids})", "End all but the newest: kill PID")
        )
    if hidden:
        told = f"{len(hidden)} processes of sessions belong to another user: whose they are cannot be seen from here"
        seen.append(Seen(info("").severity, told, "Look again as root.", partial=True))
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


def _works_in(one: _Process, sessions: Path) -> bool:
    return one.folder is not None and one.folder.is_relative_to(sessions.resolve())


def _running() -> Iterator[_Process]:
    for process in psutil.process_iter():
        try:
            with process.oneshot():
                name, parent = process.name(), process.ppid()
                if not name.startswith(WORKER) and "python" not in name and "amda" not in name:
                    continue
                yield _Process(identify(process.pid), parent, name, tuple(process.cmdline()), _folder(process))
        except (psutil.Error, ProcessLookupError):
            continue


def _folder(process: psutil.Process) -> Path | None:
    try:
        return Path(process.cwd())
    except (psutil.AccessDenied, psutil.ZombieProcess):
        return None


CHECK: Final = Check("processes", "processes that nobody owns", in_thread(look))
