"""Whether the processes that the fork server has are those that the daemon means to have, and none is there twice."""

from __future__ import annotations

import collections
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from appliance.doctor.check import Check, Patient, Seen, ok, problem, warning
from appliance.model import SessionState, SessionView
from appliance.protocol import WorkerProcess

NAME: Final = "workers"
LOOKS_AT: Final = "processes of the sessions, as fork server and daemon know them"
_RUNS: Final = frozenset({SessionState.ONLINE, SessionState.DEGRADED})


def check(
    forked: Callable[[], Awaitable[Sequence[WorkerProcess]]], sessions: Callable[[], Awaitable[Sequence[SessionView]]]
) -> Check:
    """`forked`: raises an error whose text says why the fork server does not tell."""

    async def look(patient: Patient) -> list[Seen]:  # noqa: ARG001 - every check is given one
        before = await sessions()
        try:
            running = await forked()
        except Exception as error:  # whatever the fork server's client calls it
            return [
                problem(f"the fork server does not say: {error}", "journalctl -u amda-sessions; logs/forkserver.log")
            ]
        return judge(running, before, await sessions())

    return Check(NAME, LOOKS_AT, look, needs_settings=False)


def judge(running: Sequence[WorkerProcess], before: Sequence[SessionView], after: Sequence[SessionView]) -> list[Seen]:
    """`before` and `after`: the list was asked for between them, and what changed meanwhile proves nothing."""
    known = {view.id for view in (*before, *after)}
    pids = {worker.pid for worker in running}
    seen = []
    for worker in running:
        if worker.session not in known:
            found = f"process {worker.pid} belongs to {worker.session}, and there is no such session"
            seen.append(warning(found, "systemctl restart amda: the daemon ends it when it starts", worker.session))
    stores = collections.Counter(worker.store_folder for worker in running)
    for store in (store for store, count in stores.items() if count > 1):
        both = [worker for worker in running if worker.store_folder == store]
        found = f"two processes use one login: {', '.join(str(worker.pid) for worker in both)}"
        seen.append(problem(found, f"kill {both[0].pid}: the older one", both[0].session))
    settled = {view.id: view for view in before}
    for view in after:
        same = settled.get(view.id) == view
        if same and view.state in _RUNS and view.pid is not None and view.pid not in pids:
            found = f"it is said to be {view.state}, and its process {view.pid} is gone"
            seen.append(problem(found, f"amda session restart {view.id}", view.id))
    return seen or [ok(f"{len(running)} processes, each of them wanted")]
