"""The doctor in the daemon: one examination at a time, few who wait for theirs, and no check that there is not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from appliance.doctor.service import WAITING_MAX, Doctor
from appliance.model_api import Readiness
from appliance.problems import ProblemError
from tests.doctor_patient import make_patient


class Rooms:
    """Parts that answer when they may."""

    def __init__(self, folder: Path) -> None:
        self.may_answer = asyncio.Event()
        self.asked = self.running = self.most = 0
        patient = make_patient(folder)
        self.doctor = Doctor(
            loaded=lambda: patient.loaded,
            readiness=self._readiness,
            forked=self._nobody,
            sessions=self._nobody,
            environ=patient.environ,
        )

    async def _readiness(self) -> Readiness:
        self.asked += 1
        self.running += 1
        self.most = max(self.most, self.running)
        await self.may_answer.wait()
        self.running -= 1
        return Readiness(ready=True, degraded=[])

    async def _nobody(self) -> list[object]:
        return []


async def test_one_after_the_other_and_few_who_wait(tmp_path: Path) -> None:
    rooms = Rooms(tmp_path)
    asking = [asyncio.create_task(rooms.doctor.report(["parts"])) for _ in range(WAITING_MAX)]
    await asyncio.sleep(0)
    with pytest.raises(ProblemError) as refused:
        await rooms.doctor.report(["parts"])
    assert refused.value.problem.status == 429
    rooms.may_answer.set()
    assert [(await task).findings[0].found for task in asking] == ["none is degraded"] * WAITING_MAX
    assert (rooms.asked, rooms.most) == (WAITING_MAX, 1)
    assert (await rooms.doctor.report(["parts", "swap"])).findings, "who comes later is let in again"


async def test_somebody_who_left_makes_room(tmp_path: Path) -> None:
    rooms = Rooms(tmp_path)
    for _ in range(2 * WAITING_MAX):
        asking = asyncio.create_task(rooms.doctor.report(["parts"]))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    rooms.may_answer.set()
    assert (await rooms.doctor.report(["parts"])).findings


async def test_a_check_that_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(ProblemError, match="There is no check horoscope") as refused:
        await Rooms(tmp_path).doctor.report(["horoscope"])
    assert refused.value.problem.status == 404
