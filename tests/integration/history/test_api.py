"""History, uptime, alerts, persons and logs over the API, by the client that CLI and TUI use."""

from __future__ import annotations

import asyncio
import csv
import io
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.client import ApiError, ApplianceClient
from appliance.database import Database
from appliance.events import EventBus
from appliance.model import SessionState
from appliance.model_history import AlertRule, Language, PersonRequest, UptimeSpan
from appliance.sessions.inputs import CloseRows, OpenRow
from appliance.sessions.policy import Action
from appliance.sessions.reasons import DisconnectReason
from tests.integration.history.receiver import Receiver
from tests.integration.history.rig import NOW, Rig


@pytest.fixture
async def rig(tmp_path: Path, database: Database, bus: EventBus, receiver: Receiver) -> AsyncIterator[Rig]:
    made = Rig(tmp_path, database, bus, webhook_url=receiver.url)
    await made.history.load()
    await made.serve()
    yield made
    await made.close()


@pytest.fixture
async def client(rig: Rig) -> AsyncIterator[ApplianceClient]:
    async with ApplianceClient(rig.socket) as opened:
        yield opened


async def lose(rig: Rig, session: str, at: float, back: float | None = None, raw: str = "") -> None:
    row = OpenRow(
        at=at,
        reason=DisconnectReason.SERVER_ERROR if raw else DisconnectReason.SOCKET_CLOSED,
        connected_at=at - 60,
        uptime_s=60,
        action=Action.REDIAL,
        charged=False,
        raw=raw,
    )
    await rig.ledger.write(session, 1, [row], "0.5.2")
    if back is not None:
        await rig.ledger.write(session, 1, [CloseRows(at=back)], "0.5.2")


async def test_history(rig: Rig, client: ApplianceClient) -> None:
    await rig.add("awa", SessionState.ONLINE)
    await lose(rig, "awa", NOW - 100, NOW - 98)
    await lose(rig, "binta", NOW - 50, raw='<x y="1,2"/>')
    page = await client.history(limit=1)
    assert [item.session for item in page.items] == ["binta"]
    assert page.next is not None
    older = await client.history(limit=1, before=page.next)
    assert (older.items[0].engine, older.items[0].whatsapp) == ("0.5.2", "2.3000.7")
    assert older.items[0].recovery_s == pytest.approx(2.0, abs=1)
    assert [item.session async for item in client.all_history(reason="server_error")] == ["binta"]
    text = b"".join([piece async for piece in client.history_csv()]).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["session"] for row in rows] == ["binta", "awa"]
    assert rows[0]["raw"] == '<x y="1,2"/>'
    assert rows[0]["back_at"] == ""
    with pytest.raises(ApiError, match="is not a reason"):
        await client.history(reason="bad_weather")


async def test_statistics_and_uptime(rig: Rig, client: ApplianceClient) -> None:
    await rig.add("awa", SessionState.ONLINE)
    await lose(rig, "awa", NOW - 100, NOW - 98)
    stats = await client.history_stats(since=NOW - 3600)
    assert (stats.total, stats.recovery.count) == (1, 1)
    assert stats.recovery.p50_s == pytest.approx(2.0, abs=1)
    assert [one.session for one in stats.sessions] == ["awa"]
    assert sum(hour.count for hour in stats.by_hour) == 1
    strips = await client.uptime(UptimeSpan.MONTH)
    assert [(strip.session, len(strip.values)) for strip in strips] == [("awa", 720)]
    with pytest.raises(ApiError) as caught:
        await client.uptime(session="nobody")
    assert caught.value.problem.status == 404
    with pytest.raises(ApiError, match="parts"):
        await client.uptime(parts=7)


async def test_alerts(rig: Rig, client: ApplianceClient, receiver: Receiver) -> None:
    await rig.add("awa", SessionState.BANNED)
    await rig.judge()
    (alert,) = await client.alerts()
    assert (alert.rule, alert.session) == (AlertRule.BANNED, "awa")
    assert (await client.acknowledge_alert(alert.id)).acknowledged_by
    silence = await client.silence(60, rule=AlertRule.BANNED, comment="known")
    assert await client.silences() == [silence]
    assert (await client.alerts())[0].silenced_until == silence.until
    await client.end_silence(silence.id)
    assert await client.silences() == []
    with pytest.raises(ApiError):
        await client.end_silence(silence.id)
    assert {rule.rule for rule in await client.alert_rules()} == set(AlertRule)
    (outcome,) = await client.test_alerts()
    assert outcome.delivered
    assert len(receiver.received) == 1


async def test_persons(rig: Rig, client: ApplianceClient) -> None:
    request = PersonRequest(name="Awa", language=Language.FR, contact="tgram://123:secret/42")
    with pytest.raises(ApiError) as caught:
        await client.set_person("awa", request)
    assert caught.value.problem.status == 404
    await rig.add("awa", SessionState.ONLINE)
    assert (await client.set_person("awa", request)).contact == "tgram://···"
    assert (await client.person("awa")).language is Language.FR
    bad = PersonRequest(name="Awa", language=Language.FR, contact="syslog://localhost")
    with pytest.raises(ApiError) as caught:
        await client.set_person("awa", bad)
    assert caught.value.problem.field == "contact"
    await client.remove_person("awa")
    with pytest.raises(ApiError):
        await client.person("awa")


def write(store: Path, text: str) -> None:
    store.mkdir(parents=True, exist_ok=True)
    with (store / "worker.log").open("a") as file:
        file.write(text)


async def lines(client: ApplianceClient, number: int) -> list[str]:
    return [line async for line in client.log("awa", lines=number)]


async def test_logs(rig: Rig, client: ApplianceClient, tmp_path: Path) -> None:
    store = tmp_path / "sessions" / "awa" / "one"
    await rig.add("awa", SessionState.ONLINE, store)
    await rig.add("new", SessionState.NEW)
    assert await lines(client, 10) == []
    write(store, "first\nfrom 221771234512@s.whatsapp.net\nlast \x1b[31mred\nunfinished")
    assert await lines(client, 10) == ["first", "from +22177·····12@s.whatsapp.net", "last ·[31mred"]
    assert await lines(client, 1) == ["last ·[31mred"]
    assert await lines(client, 0) == []
    for session, status in (("nobody", 404), ("new", 409)):
        with pytest.raises(ApiError) as caught:
            [line async for line in client.log(session)]
        assert caught.value.problem.status == status


async def test_a_hostile_worker_cannot_have_another_file_shown(
    rig: Rig, client: ApplianceClient, tmp_path: Path
) -> None:
    secret = tmp_path / "sessions" / "binta" / "one"
    write(secret, "secret of a neighbour\n")
    store = tmp_path / "sessions" / "awa" / "one"
    await rig.add("awa", SessionState.ONLINE, store)
    store.mkdir(parents=True)
    (store / "worker.log").symlink_to(secret / "worker.log")
    assert await lines(client, 10) == []
    (store / "worker.log").unlink()
    os.mkfifo(store / "worker.log")
    assert await lines(client, 10) == []
    (store / "worker.log").unlink()
    store.rmdir()
    store.symlink_to(secret)
    assert await lines(client, 10) == []


async def test_logs_are_followed_over_restarts_and_new_links(
    rig: Rig, client: ApplianceClient, tmp_path: Path, database: Database
) -> None:
    store = tmp_path / "sessions" / "awa" / "one"
    write(store, "old\nbefore\n")
    await rig.add("awa", SessionState.ONLINE, store)
    stream = client.log("awa", lines=1, follow=True)

    async def following() -> str:
        async with asyncio.timeout(10):
            return await anext(stream)

    assert await following() == "before"
    write(store, "added in ")
    write(store, "two pieces\n")
    assert await following() == "added in two pieces"
    (store / "worker.log").rename(store / "worker.log.1")
    write(store, "after a restart\n")
    assert await following() == "after a restart"
    again = tmp_path / "sessions" / "awa" / "two"
    write(again, "linked again\n")
    await database.execute("UPDATE sessions SET store_url = ?", (again.as_uri(),))
    assert await following() == "linked again"
    await database.execute("DELETE FROM sessions")
    assert "There is no session awa" in await following()
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
