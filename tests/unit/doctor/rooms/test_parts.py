"""What the daemon's own health says becomes findings."""

from __future__ import annotations

from pathlib import Path

from appliance.doctor.rooms.parts import check
from appliance.model_api import DegradedPart, Readiness
from appliance.model_doctor import Severity
from tests.doctor_patient import make_patient, severities


async def test_parts(tmp_path: Path) -> None:
    patient = make_patient(tmp_path)
    part = DegradedPart(part="redis", reason="Redis is not running", remedy="start it")

    async def well() -> Readiness:
        return Readiness(ready=True, degraded=[])

    async def degraded() -> Readiness:
        return Readiness(ready=True, degraded=[part])

    async def away() -> Readiness:
        return Readiness(ready=False, degraded=[part])

    assert severities(await check(well).look(patient)) == [Severity.OK]
    (seen,) = await check(degraded).look(patient)
    assert (seen.severity, seen.found, seen.remedy) == (Severity.WARNING, "Redis is not running", "start it")
    assert severities(await check(away).look(patient)) == [Severity.PROBLEM, Severity.WARNING]
