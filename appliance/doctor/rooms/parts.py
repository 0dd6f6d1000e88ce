"""How the daemon's parts say that they are: what `amda status` calls degraded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from appliance.doctor.check import Check, Patient, Seen, ok, problem, warning
from appliance.model_api import Readiness

NAME: Final = "parts"
LOOKS_AT: Final = "parts of the appliance, as the daemon finds them"


def check(readiness: Callable[[], Awaitable[Readiness]]) -> Check:
    async def look(patient: Patient) -> list[Seen]:  # noqa: ARG001 - every check is given one
        found = await readiness()
        seen = [warning(one.reason, one.remedy, f"part {one.part}") for one in found.degraded]
        if not found.ready:
            seen.insert(0, problem("no session can be started", "See below what is away.", "readiness"))
        return seen or [ok("none is degraded")]

    return Check(NAME, LOOKS_AT, look, needs_settings=False)
