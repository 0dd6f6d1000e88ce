"""The doctor inside the daemon: everything that it can look at itself, one examination at a time.

The checks are loaded when somebody asks for the first time: they bring ten megabytes of libraries (measured).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import ModuleType
from typing import Final

from appliance.config import LoadedSettings
from appliance.doctor.check import Patient, apart
from appliance.doctor.examination import examine, report_of
from appliance.doctor.rooms import parts, workers
from appliance.model import SessionView
from appliance.model_api import Readiness
from appliance.model_doctor import DoctorReport
from appliance.problems import not_found, too_many
from appliance.protocol import WorkerProcess

WAITING_MAX: Final = 8
"""A few people and a monitoring program; more is a loop."""
AGAIN_S: Final = 5.0
"""What an examination takes on a small machine."""


class Doctor:
    """`loaded`: the settings in force; the rest are the rooms that only the daemon can ask."""

    def __init__(
        self,
        *,
        loaded: Callable[[], LoadedSettings],
        readiness: Callable[[], Awaitable[Readiness]],
        forked: Callable[[], Awaitable[Sequence[WorkerProcess]]],
        sessions: Callable[[], Awaitable[Sequence[SessionView]]],
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._loaded = loaded
        self._environ = dict(os.environ if environ is None else environ)
        self._rooms = (parts.check(readiness), workers.check(forked, sessions))
        self._one = asyncio.Lock()
        """Whoever asks meanwhile waits: two examinations would disturb each other, and the machine."""
        self._waiting = 0

    async def report(self, only: Sequence[str] = ()) -> DoctorReport:
        """Raises ProblemError: 404 for a check that there is not, 429 while many others wait for their report."""
        if self._waiting >= WAITING_MAX:
            raise too_many("Others are having the doctor look.", "Wait for their report.", AGAIN_S)
        self._waiting += 1
        try:
            checks = await apart(_checks)
            for name in only:
                if name not in (names := checks.names()):
                    raise not_found("check", name, f"One of: {', '.join(names)}")
            async with self._one:
                began = time.monotonic()
                patient = Patient(self._loaded(), self._environ, in_daemon=True)
                wanted = checks.chosen([*self._rooms, *checks.MACHINE], only)
                return report_of(await examine(wanted, patient), began)
        finally:
            self._waiting -= 1


def _checks() -> ModuleType:
    from appliance.doctor import checks

    return checks
