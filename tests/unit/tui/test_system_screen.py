"""The screen of the system: parts, services, the doctor's findings; and the shares of CPU between two answers."""

from __future__ import annotations

import msgspec
import pytest

from appliance.client import ApiError
from appliance.model import Problem
from appliance.model_doctor import DoctorReport, Severity
from appliance.model_system import SystemView
from tests.unit.tui.facts import NOW, scene_of
from tests.unit.tui.rig import StillApi, picture, running, until
from tui.demo_fleet import Fleet
from tui.paint import width_of
from tui.screens import system_parts
from tui.screens.doctor_parts import ordered


async def system() -> SystemView:
    return await StillApi(Fleet(3, now=NOW)).system()


async def test_parts_services_and_findings() -> None:
    async with running() as (app, pilot, _api):
        await pilot.press("7")
        await until(pilot, lambda: "1 finding needs somebody" in picture(app))
        shown = picture(app)
        for words in ("fork server", "together", "writes down everything", "2 items wait", "neonize"):
            assert words in shown
        assert "▸ ◐ warning   backup" in shown
        assert "→ amda backup run" in shown
        await pilot.press("down")
        await until(pilot, lambda: "── swap ──" in picture(app))


async def test_a_doctor_that_cannot_be_asked_takes_nothing_else_away() -> None:
    class Without(StillApi):
        async def doctor(self) -> DoctorReport:
            raise ApiError(Problem(type="about:blank", title="", status=404, detail="there is none"))

    async with running(api=Without(Fleet(3, now=NOW), step_s=0.05)) as (app, pilot, _api):
        await pilot.press("7")
        await until(pilot, lambda: "The doctor cannot be asked: there is none" in picture(app))
        await until(pilot, lambda: "fork server" in picture(app))


async def test_shares_of_a_core() -> None:
    first = await system()
    assert system_parts.shares(None, first) == {}
    later = [msgspec.structs.replace(part, cpu_s=(part.cpu_s or 0) + 1) for part in first.parts]
    second = msgspec.structs.replace(first, at=first.at + 4, parts=later)
    assert set(system_parts.shares(first, second).values()) == {0.25}
    assert system_parts.shares(second, second) == {}


@pytest.mark.parametrize("width", [60, 80, 120, 200])
async def test_what_is_away_is_said_so(width: int) -> None:
    view, scene = await system(), scene_of()
    parts = [msgspec.structs.replace(view.parts[0], processes=0, memory_bytes=None, cpu_s=None), *view.parts[1:]]
    view = msgspec.structs.replace(
        view,
        parts=parts,
        redis=msgspec.structs.replace(view.redis, trouble="nobody answers", durable=False),
        engines=[],
    )
    lines = [
        *system_parts.machine_lines(view, scene, width),
        *system_parts.part_lines(view, {}, scene, width),
        *system_parts.service_lines(view, scene, width),
    ]
    text = "\n".join(line.text for line in lines)
    assert {width_of(line.text) for line in lines} == {width}
    assert "away" in text
    assert "✖ Redis" in text
    assert "nobody answers" in text
    assert "no session runs" in text or view.whatsapp in text


async def test_the_worst_comes_first() -> None:
    report = await StillApi(Fleet(3, now=NOW)).doctor()
    found = [finding.severity for finding in ordered(report)]
    assert found == sorted(found, key=lambda severity: -severity.rank)
    assert found[0] is Severity.WARNING
