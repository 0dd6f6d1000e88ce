"""A phone that is away for too long is told to its owner, over restarts, and told as over when it is back."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time

import pytest

from appliance.bench.rig import Rig, api_back, until
from appliance.model import SessionState
from appliance.model_history import AlertPhase, AlertRule, Language, PersonRequest
from appliance.staging import control_types as ct
from tests.integration.history.receiver import Receiver

PHONE = "221771000001"
CONTACT = "221772000001"
DAY_S = 86_400.0
ALERTS = {
    "AMDA_ALERTS_CHECK_S": "0.5",
    "AMDA_ALERTS_GROUP_S": "0",
    "AMDA_ALERTS_CLEAR_S": "0",
    "AMDA_ALERTS_PRIVATE_CONTACTS": "true",
    "AMDA_ALERTS_WEBHOOK_SECRET": "0123456789abcdef",
    "AMDA_LIMITS_HEARTBEAT_S": "1",
}


@pytest.mark.staging
async def test_a_phone_that_is_away_is_told_in_its_owners_language() -> None:
    receiver = Receiver()
    await receiver.start()
    try:
        async with Rig(variables=ALERTS) as rig, asyncio.timeout(110):
            await rig.link("awa", f"+{PHONE}")
            assert (await rig.api.session("awa")).phone_seen_at == pytest.approx(time.time(), abs=60)
            person = PersonRequest(name="Awa", language=Language.FR, contact=f"{receiver.url}/awa")
            await rig.api.set_person("awa", person)

            # eleven days later; somebody wrote to the account meanwhile, which says nothing about its phone
            await rig.appliance.stop()
            await rig.staging.send(ct.Send(account=PHONE, contact=CONTACT))
            with contextlib.closing(sqlite3.connect(rig.settings.paths.database)) as database, database:
                away = "UPDATE sessions SET memory = json_set(memory, '$.phone_seen_at', ?)"
                database.execute(away, (time.time() - 11 * DAY_S,))
            await rig.appliance.start()
            await rig.wait_state("awa", SessionState.ONLINE)
            [letter] = await receiver.wait(1)
            assert "Merci d’ouvrir WhatsApp" in str(letter.json)
            assert "11 jours" in str(letter.json)
            [alert] = [one for one in await rig.api.alerts() if one.rule is AlertRule.PHONE_UNSEEN]
            assert alert.phase is AlertPhase.DOWN

            # the phone writes to somebody: that is all it takes
            await rig.staging.send(ct.Send(account=PHONE, contact=PHONE, to=CONTACT))

            async def over() -> bool:
                alerts = [one for one in await rig.api.alerts() if one.rule is AlertRule.PHONE_UNSEEN]
                return all(one.ended_at is not None for one in alerts)

            await until(over)
            seen = (await rig.api.session("awa")).phone_seen_at
            assert seen == pytest.approx(time.time(), abs=60)
            await rig.appliance.kill_daemon()
            await api_back(rig.api)
            assert (await rig.api.session("awa")).phone_seen_at == seen
    finally:
        await receiver.stop()
