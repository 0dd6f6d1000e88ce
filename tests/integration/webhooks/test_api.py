"""Webhooks over the API and as `amda webhook` shows them; who may, and what the audit keeps."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.client import ApiError, ApplianceClient
from appliance.database import Database
from appliance.events import EventBus
from appliance.history.signing import SIGNATURE_HEADER, verify
from appliance.model_api import Scope
from appliance.model_webhooks import DeliveryState, WebhookChange, WebhookRequest
from appliance.redis_server import RedisServer
from tests.integration.api.test_doors import Doors, open_doors
from tests.integration.history.receiver import Receiver
from tests.integration.history.test_cli import Amda


@pytest.fixture
async def doors(tmp_path: Path, database: Database, bus: EventBus, redis_server: RedisServer) -> AsyncIterator[Doors]:
    allowed = {"webhooks_private_networks": "127.0.0.1", "webhooks_base_s": "0.05", "webhooks_timeout_s": "5"}
    async with open_doors(tmp_path, database, bus, **allowed) as opened:
        task = asyncio.create_task(opened.rig.history.run())
        yield opened
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def amda(tmp_path: Path) -> Amda:
    return Amda(tmp_path)


async def state_of(client: ApplianceClient, webhook: str, delivery: str, state: DeliveryState) -> None:
    async with asyncio.timeout(15):
        while True:
            if (await client.delivery(webhook, delivery)).delivery.state is state:
                return
            await asyncio.sleep(0.02)


async def test_from_its_making_to_its_removal(doors: Doors, receiver: Receiver) -> None:
    client = doors.client
    made = await client.create_webhook(WebhookRequest(id="back-end", url=f"{receiver.url}/in", events=["session"]))
    assert made.secret.startswith("whsec_")
    assert await client.webhooks() == [made.details]
    assert (await client.test_webhook("back-end")).delivered
    await client.create_session("anna")
    await doors.rig.bus.publish("session.state", "anna", state="new")
    got = (await receiver.wait(2))[-1]
    assert verify(made.secret, got.body, got.headers[SIGNATURE_HEADER], float(got.json["at"]))
    (item,) = (await client.deliveries("back-end")).items
    await state_of(client, "back-end", item.id, DeliveryState.DELIVERED)
    assert (await client.resend("back-end", item.id)).state is DeliveryState.WAITING
    again = (await receiver.wait(3))[-1]
    assert (again.body, again.json["id"]) == (got.body, item.id)
    await state_of(client, "back-end", item.id, DeliveryState.DELIVERED)
    assert [one.status for one in (await client.delivery("back-end", item.id)).attempts] == [200, 200]
    assert (await client.deliveries("back-end", state=DeliveryState.DEAD)).items == []
    assert await client.resend_dead("back-end") == 0
    view = await client.change_webhook("back-end", WebhookChange(enabled=False, events=[]))
    assert (view.enabled, view.events) == (False, [])
    assert (await client.renew_webhook_secret("back-end")).secret != made.secret
    await client.remove_webhook("back-end")
    with pytest.raises(ApiError) as caught:
        await client.webhook("back-end")
    assert caught.value.problem.status == 404
    assert {one.type for one in await client.event_types()} >= {"session.state", "media.stored"}


async def test_pages(doors: Doors) -> None:
    await doors.client.create_webhook(WebhookRequest(id="a", url="http://127.0.0.1:1/"))
    for _ in range(5):
        await doors.rig.bus.publish("storage.back")
    seen, before = [], None
    while True:
        page = await doors.client.deliveries("a", before=before, limit=2)
        seen += [one.seq for one in page.items]
        if (before := page.next) is None:
            break
    assert seen == [5, 4, 3, 2, 1]


async def test_who_may(doors: Doors) -> None:
    await doors.client.create_webhook(WebhookRequest(id="a", url="http://127.0.0.1:1/token"))
    body = {"id": "b", "url": "http://127.0.0.1:1/"}
    cases = [
        ("GET", "/v1/webhooks", None, Scope.READ, 200),
        ("GET", "/v1/webhooks/a/deliveries", None, Scope.READ, 200),
        ("POST", "/v1/webhooks/a/test", None, Scope.OPERATE, 200),
        ("POST", "/v1/webhooks/a/resend", None, Scope.OPERATE, 200),
        ("PATCH", "/v1/webhooks/a", {}, Scope.ADMIN, 200),
        ("POST", "/v1/webhooks/a/secret", None, Scope.ADMIN, 200),
        ("POST", "/v1/webhooks", body, Scope.ADMIN, 201),
        ("DELETE", "/v1/webhooks/b", None, Scope.ADMIN, 204),
    ]
    tokens = {scope: await doors.token(scope) for scope in Scope}
    of_one = await doors.token(Scope.OPERATE, "anna")
    for method, path, content, needed, success in cases:
        assert await doors.status(None, method, path, content) == 401
        assert await doors.status(of_one, method, path, content) == 403, "what is not about its session is closed to it"
        for scope, token in tokens.items():
            expected = success if scope.includes(needed) else 403
            assert await doors.status(token, method, path, content) == expected, (path, scope)
    async with doors.http(tokens[Scope.READ]) as http, http.get("/v1/webhooks/a") as response:
        assert "token" not in await response.text()


async def test_what_leads_into_the_machine_is_refused_and_on_record(doors: Doors, receiver: Receiver) -> None:
    """Server-side request forgery by a webhook's URL: refused when it is made, when it is changed, and harmless."""
    port, token = receiver.url.rpartition(":")[2], await doors.token(Scope.ADMIN)
    hosts = ("127.0.0.2", "[::1]", "10.0.0.1", "169.254.169.254", "[::ffff:10.0.0.1]", "0", "[fd00::1]", "192.168.1.1")
    for host in hosts:
        body = {"id": "x", "url": f"http://{host}:{port}/"}
        async with doors.http(token) as http, http.post("/v1/webhooks", json=body) as response:
            problem = await response.json()
            assert (response.status, problem["field"]) == (400, "url"), host
            assert "webhooks.private_networks" in problem["remedy"]
    await doors.client.create_webhook(WebhookRequest(id="a", url=f"{receiver.url}/"))
    with pytest.raises(ApiError):
        await doors.client.change_webhook("a", WebhookChange(url="http://10.0.0.1/"))
    for scheme in ("ftp", "file", "gopher", "unix"):
        assert await doors.status(token, "POST", "/v1/webhooks", {"id": "x", "url": f"{scheme}://example.org/"}) == 400
    entries = [one async for one in doors.client.all_audit() if one.action == "webhooks_create" and one.status == 400]
    assert len(entries) == len(hosts) + 4
    assert {(one.who, one.door, one.address) for one in entries} == {("token:admin None", "tcp", "127.0.0.1")}
    assert receiver.received == []


async def test_a_new_line_at_the_end_is_part_of_nothing(doors: Doors) -> None:
    """Its id could never be named in an address again."""
    token = await doors.token(Scope.ADMIN)
    good: dict[str, object] = {"id": "a", "url": "http://127.0.0.1:1/"}
    for wrong in ({"id": "a\n"}, {"url": "http://127.0.0.1:1/\n"}, {"events": ["media\n"]}, {"sessions": ["anna\n"]}):
        assert await doors.status(token, "POST", "/v1/webhooks", {**good, **wrong}) == 400, wrong
    assert await doors.status(token, "POST", "/v1/tokens", {"name": "a\n"}) == 400
    assert await doors.client.webhooks() == []


async def test_the_commands(doors: Doors, amda: Amda, receiver: Receiver) -> None:
    client = doors.client
    status, out, err = await amda("webhook", "add", "back-end", "-", "--event", "alert", given=f"{receiver.url}/in\n")
    assert (status, out[:6], "shown this once" in err) == (0, "whsec_", True)
    status, _, err = await amda("webhook", "add", "other", receiver.url, "--event", "alarm")
    assert (status, "none called alarm" in err, "/v1/events/types" in err) == (2, True, True)
    receiver.status = 410
    status, out, _ = await amda("webhook", "test", "back-end")
    assert (status, "answered 410" in out) == (6, True)
    await doors.rig.bus.publish("alert.down", "anna", text="x")
    await receiver.wait(2)
    (item,) = (await client.deliveries("back-end")).items
    await state_of(client, "back-end", item.id, DeliveryState.DEAD)
    status, out, _ = await amda("webhook", "list")
    assert (status, "back-end" in out, "disabled" in out, "answered 410" in out) == (0, True, True, True)
    assert "answered 410" in (await amda("webhook", "deliveries", "back-end", "--state", "dead"))[1]
    assert "alert.down" in (await amda("webhook", "deliveries", "back-end", item.id))[1]
    receiver.status = 200
    status, out, _ = await amda("webhook", "set", "back-end", "--enable", "--all-events", "--session", "anna")
    assert (status, "amda webhook resend back-end" in out) == (0, True)
    assert "1 is sent again" in (await amda("webhook", "resend", "back-end"))[1]
    await receiver.wait(3)
    await state_of(client, "back-end", item.id, DeliveryState.DELIVERED)
    assert (await amda("webhook", "set", "back-end"))[0] == 2
    assert (await amda("webhook", "remove", "back-end"))[1] == "back-end: removed\n"
    assert (await amda("webhook", "show", "back-end"))[0] == 3
