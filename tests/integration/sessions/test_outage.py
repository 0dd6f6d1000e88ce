"""Many sessions at once: starts are paused, one canary tries, and its success brings everybody back."""

from __future__ import annotations

import asyncio

import pytest

from appliance.model import SessionState
from appliance.problems import ProblemError
from appliance.protocol import Signal, SignalKind
from tests.integration.sessions.conftest import WAIT_S, Bed, Daemon

K = SignalKind
S = SessionState
NAMES = [f"s{number}" for number in range(6)]
SETTINGS = {
    "AMDA_FLEET_CANARY_BASE_S": "0.2",
    "AMDA_FLEET_CANARY_CAP_S": "0.4",
    "AMDA_RECONNECT_BACKOFF_CAP_S": "0.2",
}


async def linked(bed: Bed, **fleet: str) -> Daemon:
    daemon = await bed.daemon(**SETTINGS | {f"AMDA_FLEET_{name}": value for name, value in fleet.items()})
    for name in NAMES:
        await daemon.link(name)
    return daemon


async def test_an_outage_charges_nobody_and_ends_for_all_with_one_login(bed: Bed) -> None:
    daemon = await linked(bed)
    refusal = Signal(kind=K.CONNECT_FAILURE, code=503)
    for name in NAMES:
        bed.script(name, connect=False, at_start=[refusal])
    for name in NAMES:
        await daemon.play(name, signals=[Signal(kind=K.CONNECT_FAILURE, code=503)])

    def refused() -> int:
        return sum(len(bed.journal(name, "refused")) for name in NAMES)

    before = refused()
    async with asyncio.timeout(WAIT_S):
        while refused() < before + 4:  # noqa: ASYNC110 - counted by other processes
            await asyncio.sleep(0.02)
    states = {view.state for view in await daemon.service.list()}
    assert S.ONLINE not in states
    assert S.FAILED not in states
    for name in NAMES:
        bed.script(name)
    for name in NAMES:
        await daemon.reaches(name, S.ONLINE)
    starts = sorted(at for name in NAMES for _, _, at in bed.journal(name, "login"))
    assert len(starts) == 2 * len(NAMES)


async def test_an_outdated_engine_stops_everybody_until_a_canary_gets_through(bed: Bed) -> None:
    # half of it passes at the least before a canary; until then nobody else may be one
    daemon = await linked(bed, OUTDATED_CANARY_BASE_S="6", OUTDATED_CANARY_CAP_S="6")
    first, second, *others = NAMES
    for name in NAMES:
        bed.script(name, connect=False, at_start=[Signal(kind=K.CLIENT_OUTDATED, code=405)])
    await daemon.play(first, signals=[Signal(kind=K.CLIENT_OUTDATED, code=405)])
    await daemon.reaches(first, S.OUTDATED)
    await daemon.play(second, exit=1)
    await daemon.reaches(second, S.RECONNECTING)
    assert len(bed.journal(second, "start")) == 1
    for name in others:
        assert (await daemon.service.get(name)).state is S.ONLINE
    for name in NAMES:
        bed.script(name)
    await daemon.reaches(first, S.ONLINE)
    await daemon.reaches(second, S.ONLINE)


async def test_while_an_engine_is_refused_a_person_need_not_wait_and_takes_nobody_offline(bed: Bed) -> None:
    daemon = await linked(bed, OUTDATED_CANARY_BASE_S="7200", OUTDATED_CANARY_CAP_S="7200")
    first, second = NAMES[:2]
    bed.script(first, connect=False, at_start=[Signal(kind=K.CLIENT_OUTDATED, code=405)])
    await daemon.play(first, signals=[Signal(kind=K.CLIENT_OUTDATED, code=405)])
    await daemon.reaches(first, S.OUTDATED)
    with pytest.raises(ProblemError) as refused:
        await daemon.service.restart(second)
    assert "would not come back online" in str(refused.value)
    assert (await daemon.service.get(second)).state is S.ONLINE
    refusals = len(bed.journal(first, "refused"))
    await daemon.service.start(first)
    async with asyncio.timeout(WAIT_S):
        while len(bed.journal(first, "refused")) == refusals:  # noqa: ASYNC110 - counted by another process
            await asyncio.sleep(0.02)
    await daemon.reaches(first, S.OUTDATED)
    bed.script(first)
    await daemon.service.start(first)
    await daemon.reaches(first, S.ONLINE)
    await daemon.service.restart(second)
    await daemon.reaches(second, S.ONLINE)
