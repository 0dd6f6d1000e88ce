"""Alerts from the facts to the one who is told, across restarts, failures and a full disk."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import aiosqlite
import msgspec
import pytest

from appliance.database import Database
from appliance.events import EventBus
from appliance.history.delivery import Sender
from appliance.history.facts import QuotaUse
from appliance.history.outbox import Outbox
from appliance.history.signing import SIGNATURE_HEADER, verify
from appliance.model import SessionState
from appliance.model_history import AlertPhase, AlertRule, Language, PersonRequest, SilenceRequest
from appliance.problems import ProblemError
from appliance.sessions.inputs import OpenRow
from appliance.sessions.policy import Action
from appliance.sessions.reasons import DisconnectReason
from tests.integration.history.receiver import Receiver
from tests.integration.history.rig import NOW, SECRET, Rig

HOUR = 3600.0


@pytest.fixture
async def rig(tmp_path: Path, database: Database, bus: EventBus, receiver: Receiver) -> AsyncIterator[Rig]:
    made = Rig(tmp_path, database, bus, webhook_url=f"{receiver.url}/operators")
    await made.history.load()
    yield made
    await made.close()


@contextlib.asynccontextmanager
async def running(work: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def outbox_of(rig: Rig) -> Outbox:
    return Outbox(rig.database, Sender(lambda: rig.now), lambda: rig.settings, lambda: rig.now)


async def deliver(rig: Rig) -> None:
    await outbox_of(rig).deliver_due()


async def test_down_and_up_reach_the_webhook(rig: Rig, receiver: Receiver) -> None:
    await rig.add("awa", SessionState.ONLINE)
    await rig.judge()
    await rig.change("awa", SessionState.NEEDS_PAIRING)
    await rig.judge(10)
    await rig.change("awa", SessionState.ONLINE)
    await rig.judge(125)
    async with running(rig.history.alerts.run()):
        got = await receiver.wait(2)
    down, up = (one.json for one in sorted(got, key=lambda one: float(one.json["at"])))
    assert all(verify(SECRET, one.body, one.headers[SIGNATURE_HEADER], rig.now) for one in got)
    assert down["title"] == "AMDA box: needs pairing: awa"
    assert (down["data"]["alerts"][0]["news"], down["data"]["alerts"][0]["session"]) == ("down", "awa")
    assert up["title"] == "AMDA box: recovered: needs pairing"
    assert up["data"]["alerts"][0]["duration_s"] == 125
    events = [event.type async for event in _events(rig.bus)]
    assert events == ["alert.down", "alert.up"]


async def _events(bus: EventBus) -> AsyncIterator[Any]:
    last = bus.last_seq
    async for event in bus.subscribe(0):
        yield event
        if event.seq >= last:
            return


async def test_a_restart_tells_nothing_again(rig: Rig, receiver: Receiver) -> None:
    for name in ("awa", "binta"):
        await rig.add(name, SessionState.NEEDS_PAIRING)
    await rig.judge()
    await deliver(rig)
    assert len(receiver.received) == 1
    for _ in range(3):
        rig.history = rig.make()
        await rig.history.load()
        await rig.judge(60)
        await deliver(rig)
    assert len(receiver.received) == 1
    await rig.judge(6 * HOUR)
    await deliver(rig)
    assert [alert["news"] for alert in receiver.received[1].json["data"]["alerts"]] == ["still", "still"]


async def test_an_alert_becomes_an_event_though_the_daemon_was_killed_in_between(
    rig: Rig, bus: EventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.add("awa", SessionState.NEEDS_PAIRING)
    with monkeypatch.context() as patch:
        patch.setattr(bus, "publish", AsyncMock(side_effect=sqlite3.OperationalError("killed")))
        await rig.judge()
    assert bus.last_seq == 0
    for _ in range(2):
        await rig.make().load()
    assert [event.type async for event in _events(bus)] == ["alert.down"]


async def test_what_could_not_be_delivered_is_tried_again_after_a_restart(rig: Rig, receiver: Receiver) -> None:
    receiver.status = 503
    rig.trouble = {"media": "the disk is full"}
    await rig.judge()
    await rig.judge(60)
    for number in range(4):
        await deliver(rig)
        await deliver(rig)
        assert len(receiver.received) == number + 1
        rig.now += 15 * 2**number
    receiver.status = 200
    await deliver(rig)
    assert len(receiver.received) == 5
    assert len({one.body for one in receiver.received}) == 1
    assert await outbox_of(rig).waiting() == 0


async def test_a_message_is_given_up_after_a_day(rig: Rig, receiver: Receiver) -> None:
    receiver.status = 500
    rig.trouble = {"media": "the disk is full"}
    await rig.judge()
    await rig.judge(60)
    attempts = 0
    while await outbox_of(rig).waiting():
        await deliver(rig)
        rig.now += HOUR
        attempts += 1
    assert attempts == 25
    assert len(receiver.received) == 25


async def test_a_message_from_the_future_is_not_kept_for_years(rig: Rig, receiver: Receiver) -> None:
    receiver.status = 500
    rig.now += 10 * 365 * 86_400
    rig.trouble = {"media": "the disk is full"}
    await rig.judge()
    await rig.judge(60)
    await deliver(rig)
    receiver.status = 200
    rig.now = NOW
    await deliver(rig)
    assert await outbox_of(rig).waiting() == 0


async def test_a_person_is_told_in_french(rig: Rig, receiver: Receiver) -> None:
    await rig.add("awa", SessionState.NEEDS_PAIRING)
    await rig.add("binta", SessionState.NEEDS_PAIRING)
    request = PersonRequest(name="Awa", language=Language.FR, contact=f"{receiver.apprise_url}/awa")
    view = await rig.history.persons.set("awa", request)
    assert "/awa" not in view.contact
    await rig.judge()
    await deliver(rig)
    got = {one.path: one.json for one in receiver.received}
    assert set(got) == {"/awa", "/operators"}
    assert got["/awa"]["title"] == "Merci de relier à nouveau votre WhatsApp"
    assert "Bonjour Awa" in got["/awa"]["message"]
    await rig.judge(60)
    await deliver(rig)
    assert len(receiver.received) == 2


async def test_a_removed_session_leaves_nobody_to_tell(rig: Rig, receiver: Receiver) -> None:
    await rig.add("awa", SessionState.NEEDS_PAIRING)
    request = PersonRequest(name="Awa", language=Language.EN, contact=f"{receiver.apprise_url}/awa")
    await rig.history.persons.set("awa", request)
    await rig.judge()
    await rig.history.on_remove("awa", False)  # noqa: FBT003
    del rig.sessions.views["awa"]
    await rig.judge(10)
    await deliver(rig)
    assert {one.path for one in receiver.received} == {"/operators"}
    assert [view.phase for view in await rig.history.alerts.alerts(0)] == [AlertPhase.UP]


async def test_acknowledged_and_silenced(rig: Rig, receiver: Receiver) -> None:
    await rig.add("awa", SessionState.NEEDS_PAIRING)
    await rig.history.alerts.silence(SilenceRequest(duration_s=HOUR, session="awa"))
    await rig.judge()
    (view,) = await rig.history.alerts.alerts(0)
    assert (view.phase, view.silenced_until) == (AlertPhase.DOWN, NOW + HOUR)
    rig.history = rig.make()
    await rig.history.load()
    await rig.judge(HOUR - 1)
    await deliver(rig)
    assert receiver.received == []
    await rig.judge(1)
    await deliver(rig)
    assert len(receiver.received) == 1
    assert (await rig.history.alerts.acknowledge(view.id, "fatou")).acknowledged_by == "fatou"
    rig.history = rig.make()
    await rig.history.load()
    await rig.judge(7 * HOUR)
    await deliver(rig)
    assert len(receiver.received) == 1
    await rig.change("awa", SessionState.ONLINE)
    await rig.judge(10)
    with pytest.raises(ProblemError) as caught:
        await rig.history.alerts.acknowledge(view.id, "fatou")
    assert caught.value.problem.status == 409
    with pytest.raises(ProblemError) as caught:
        await rig.history.alerts.acknowledge("unknown", "fatou")
    assert caught.value.problem.status == 404


async def test_the_rate_comes_from_the_ledger(rig: Rig) -> None:
    for number in range(10):
        await rig.add(f"s{number}", SessionState.ONLINE)
    reasons = [DisconnectReason.SOCKET_CLOSED] * 3 + [DisconnectReason.RESTARTED] * 7
    for number, reason in enumerate(reasons):
        row = OpenRow(
            at=NOW, reason=reason, connected_at=NOW - 9, uptime_s=9, action=Action.REDIAL, charged=False, signal=""
        )
        await rig.ledger.write(f"s{number}", 1, [row], "0.5.2")
    await rig.judge(1)
    (view,) = await rig.history.alerts.alerts(0)
    assert (view.rule, view.text) == (
        AlertRule.DISCONNECTION_RATE,
        "3 of 10 sessions lost their connection within 5 min",
    )
    await rig.judge(301)
    assert [one.phase for one in await rig.history.alerts.alerts(0)] == [AlertPhase.UP]


async def test_quota_and_phone_concern_their_person(rig: Rig, receiver: Receiver) -> None:
    await rig.add("awa", SessionState.ONLINE)
    request = PersonRequest(name="Awa", language=Language.EN, contact=f"{receiver.url}/awa")
    await rig.history.persons.set("awa", request)
    rig.used = QuotaUse(share=0.2, sessions={"awa": 0.97})
    rig.sessions.views["awa"] = msgspec.structs.replace(
        rig.sessions.views["awa"], generation=1, created_at=NOW - 20 * 86_400, phone_seen_at=NOW - 10 * 86_400
    )
    await rig.judge()
    await rig.judge(60)
    await deliver(rig)
    titles = {one.json["title"] for one in receiver.received if one.path == "/awa"}
    assert titles == {"Your storage is nearly full", "Please open WhatsApp on your phone"}
    assert {view.rule for view in await rig.history.alerts.alerts(0)} == {AlertRule.QUOTA, AlertRule.PHONE_UNSEEN}


async def test_a_start_of_the_machine_is_no_outage(rig: Rig) -> None:
    """Nor is it one when somebody has stopped everything and starts it again; a fork server that dies later is."""
    for number in range(5):
        await rig.add(f"s{number}", SessionState.ONLINE)
    lost, found = DisconnectReason.FORK_SERVER_LOST, DisconnectReason.FOUND_ENDED
    for wait, reason, expected in ((1.0, lost, []), (1.0, found, []), (120.0, lost, [AlertRule.DISCONNECTION_RATE])):
        rig.now += wait
        row = OpenRow(
            at=rig.now,
            reason=reason,
            connected_at=NOW - 9,
            uptime_s=9,
            action=Action.RESTART,
            charged=False,
        )
        for number in range(5):
            await rig.ledger.write(f"s{number}", 1, [row], "0.5.2")
        await rig.judge(1)
        assert [view.rule for view in await rig.history.alerts.alerts(0)] == expected


async def test_a_full_disk_is_told_without_the_disk(
    rig: Rig, receiver: Receiver, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.trouble = {"media": "the disk is full"}
    await rig.judge()

    @contextlib.asynccontextmanager
    async def full() -> AsyncIterator[aiosqlite.Connection]:
        raise sqlite3.OperationalError("database or disk is full")
        yield  # pragma: no cover

    with monkeypatch.context() as patch:
        patch.setattr(database, "transaction", full)
        await rig.judge(60)
        await rig.judge(60)
    assert len(receiver.received) == 1
    assert "the disk is full" in receiver.received[0].json["body"]
    await rig.judge(10)
    rig.history = rig.make()
    await rig.history.load()
    await rig.judge(10)
    await deliver(rig)
    assert len(receiver.received) == 1


async def test_everybody_gets_the_test_message_once(rig: Rig, receiver: Receiver) -> None:
    await rig.add("awa", SessionState.ONLINE)
    (outcome,) = await rig.history.alerts.test(None)
    assert (outcome.delivered, outcome.error) == (True, "")
    assert "operators" not in outcome.target
    receiver.status = 500
    (outcome,) = await rig.history.alerts.test(None)
    assert (outcome.delivered, outcome.error) == (False, "webhook answered 500")
    with pytest.raises(ProblemError):
        await rig.history.alerts.test("awa")


async def test_the_dead_mans_switch_is_called(
    tmp_path: Path, database: Database, bus: EventBus, receiver: Receiver
) -> None:
    rig = Rig(tmp_path, database, bus, heartbeat_url=f"{receiver.url}/beat", heartbeat_s=0.05)
    await rig.history.load()
    async with running(rig.history.run()):
        await receiver.wait(3)
    assert {one.path for one in receiver.received} == {"/beat"}


async def test_settings_change_while_it_runs(rig: Rig, receiver: Receiver) -> None:
    await rig.add("awa", SessionState.NEEDS_PAIRING)
    new = Rig(rig.socket.parent, rig.database, rig.bus, webhook_url=f"{receiver.url}/elsewhere").settings
    await rig.history.apply_settings(rig.all_settings(new))
    await rig.judge()
    await deliver(rig)
    assert [one.path for one in receiver.received] == ["/elsewhere"]
