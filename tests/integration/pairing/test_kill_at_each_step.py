"""The daemon is killed (-9) at each step of an attempt, with the real engine: its user is told, nothing half-linked is
left, and the next attempt works at once. Or it had succeeded already, and then it is called linked."""

from __future__ import annotations

import asyncio

import pytest

from appliance.bench.rig import Rig, api_back, phone_number, until
from appliance.model import PairingState, PairingView, SessionState
from appliance.staging import control_types as ct

STEPS = (
    (PairingState.STARTING, 0.0),
    (PairingState.WAITING, 0.0),
    (PairingState.CONFIRMING, 0.0),
    (PairingState.CONFIRMING, 0.2),
    (PairingState.LINKED, 0.0),
)
"""State that is seen through the API, and how long after it the daemon is killed: a first login takes half a second."""
_ORDER = list(PairingState)


@pytest.mark.timeout(400)
async def test_killed_at_each_step() -> None:
    async with Rig() as rig:
        for number, (step, delay_s) in enumerate(STEPS):
            async with asyncio.timeout(90):
                await _killed_at(rig, f"s{number}", phone_number(number), step, delay_s)


async def _killed_at(rig: Rig, session: str, phone: str, step: PairingState, delay_s: float) -> None:
    await rig.staging.add_account(ct.AddAccount(phone=phone))
    await rig.api.create_session(session)
    view = await _reach(rig, await rig.api.pair(session, phone=phone), phone, step)
    await asyncio.sleep(delay_s)
    await rig.appliance.kill_daemon()
    await api_back(rig.api)
    async for found in rig.api.follow_pairing(view):
        view = found
    assert view.state is PairingState.LINKED or step is not PairingState.LINKED
    if view.state is not PairingState.LINKED:
        assert view.state is PairingState.FAILED
        assert "restarted" in (view.reason or "")
        assert view.remedy
        await until(lambda: _devices_are(rig, phone, 0))
        view = await rig.pair(session, phone)
    assert view.state is PairingState.LINKED, view.reason
    await rig.wait_state(session, SessionState.ONLINE)
    await until(lambda: _devices_are(rig, phone, 1))
    await until(lambda: _one_store(rig, session))


async def _reach(rig: Rig, view: PairingView, phone: str, step: PairingState) -> PairingView:
    """The attempt as soon as it is at a step, or beyond; its user types the code if that takes it there."""
    typed = False
    async for found in rig.api.follow_pairing(view):
        view = found
        if _ORDER.index(view.state) >= _ORDER.index(step):
            break
        if view.code is not None and not typed:
            typed = True
            await rig.staging.type_code(phone, view.code, now=True)
    return view


async def _devices_are(rig: Rig, phone: str, count: int) -> bool:
    account = phone.lstrip("+")
    return [len(found.devices) for found in await rig.staging.accounts() if found.phone == account] == [count]


async def _one_store(rig: Rig, session: str) -> bool:
    folder = rig.settings.paths.sessions / session
    return sum(path.is_dir() for path in folder.iterdir()) == 1
