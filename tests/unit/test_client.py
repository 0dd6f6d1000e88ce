"""The client's own judgement: what it does while the daemon is away."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from appliance import client
from appliance.client import ApplianceClient, NotRunningError
from appliance.model import PairingState, PairingView, PairMethod

WAITING = PairingView(
    id="attempt",
    session="anna",
    method=PairMethod.CODE,
    state=PairingState.WAITING,
    created_at=1.0,
    updated_at=2.0,
)
TOLD = msgspec.structs.replace(
    WAITING, state=PairingState.FAILED, updated_at=3.0, reason="The appliance was restarted.", remedy="Try again."
)


class RestartedDaemon(ApplianceClient):
    """Away for a number of questions; the next one is answered."""

    def __init__(self, away: int) -> None:
        super().__init__(Path("/nowhere"))
        self.away = away
        self.asked = 0

    async def pairing(self, pairing: str, *, since: float = 0.0, wait_s: float = 0.0) -> PairingView:
        assert (pairing, since) == (WAITING.id, WAITING.updated_at)
        assert wait_s > 0
        self.asked += 1
        if self.asked <= self.away:
            raise NotRunningError("nobody answers")
        return TOLD


async def test_who_follows_an_attempt_hears_of_its_end_from_the_next_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_AWAY_PAUSE_S", 0.0)
    restarted = RestartedDaemon(away=3)
    assert [view async for view in restarted.follow_pairing(WAITING)] == [WAITING, TOLD]
    assert restarted.asked == 4


async def test_a_daemon_that_stays_away_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_AWAY_PAUSE_S", 0.001)
    views = RestartedDaemon(away=1_000_000).follow_pairing(WAITING, patience_s=0.02)
    assert await anext(views) == WAITING
    with pytest.raises(NotRunningError):
        await anext(views)
