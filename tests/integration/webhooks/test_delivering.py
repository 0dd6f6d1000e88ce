"""Events reach those who want them, signed, once each; who takes nothing holds up nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import time

import msgspec
import pytest

from appliance.history.alert_texts import duration_text
from appliance.history.delivery import post_signed
from appliance.history.signing import DELIVERY_HEADER, EVENT_HEADER, SIGNATURE_HEADER, verify
from appliance.history.targets import AddressInfo, ForbiddenTargetError, Reach
from appliance.model_webhooks import DeliveryState, WebhookChange, WebhookMessage
from appliance.problems import ProblemError
from appliance.webhooks import deliveries
from appliance.webhooks.lane import REST_CAP_S
from tests.integration.history.receiver import Receiver
from tests.integration.webhooks.rig import NOW, HookRig, all_are

HOUR, DAY = 3600.0, 86_400.0


async def test_an_event_arrives_signed_and_the_log_has_it(rig: HookRig, receiver: Receiver) -> None:
    made = await rig.add("back-end", f"{receiver.url}/hook?token=x")
    assert made.details.url.endswith("/···")
    async with rig.running():
        await rig.bus.publish("session.state", "anna", state="online")
        (got,) = await receiver.wait(1)
        (view,) = await rig.until(all_are(DeliveryState.DELIVERED), "back-end")
    message = msgspec.json.decode(got.body, type=WebhookMessage)
    assert (message.type, message.session, message.data) == ("session.state", "anna", {"state": "online"})
    assert (message.seq, message.webhook) == (rig.bus.last_seq, "back-end")
    assert verify(made.secret, got.body, got.headers[SIGNATURE_HEADER], time.time())
    assert not verify("whsec_another", got.body, got.headers[SIGNATURE_HEADER], time.time())
    assert got.headers[DELIVERY_HEADER] == message.id == view.id
    assert got.headers[EVENT_HEADER] == "session.state"
    details = await rig.service.details("back-end", view.id)
    assert details.message == message
    assert [(one.status, one.error) for one in details.attempts] == [(200, "")]
    hook = await rig.service.get("back-end")
    assert (hook.waiting, hook.dead, hook.delivered_at, hook.error) == (0, 0, NOW, "")


async def test_everybody_gets_what_they_want_and_nothing_else(rig: HookRig, receiver: Receiver) -> None:
    await rig.add("all", f"{receiver.url}/all")
    await rig.add("media", f"{receiver.url}/media", events=["media"])
    await rig.add("anna", f"{receiver.url}/anna", sessions=["anna"])
    async with rig.running():
        await rig.bus.publish("media.stored", "anna")
        await rig.bus.publish("session.state", "bob")
        await rig.bus.publish("webhook.disabled", webhook="x")
        got = await receiver.wait(4)
        await rig.until(all_are(DeliveryState.DELIVERED), "all")
    assert sorted((one.path, one.json["type"]) for one in got) == [
        ("/all", "media.stored"),
        ("/all", "session.state"),
        ("/anna", "media.stored"),
        ("/media", "media.stored"),
    ]


async def test_who_takes_nothing_holds_up_nobody(rig: HookRig, receiver: Receiver) -> None:
    hanging, failing = Receiver(), Receiver()
    hanging.hang, failing.status = True, 500
    async with contextlib.AsyncExitStack() as stack:
        for other in (hanging, failing):
            await other.start()
            stack.push_async_callback(other.stop)
        for name, url in (("hangs", hanging.url), ("fails", failing.url), ("ended", "http://127.0.0.1:1/")):
            await rig.add(name, url)
        await rig.add("well", receiver.url)
        async with rig.running():
            rig.set(timeout_s=30.0)
            await rig.events(40)
            began = time.monotonic()
            got = await receiver.wait(40, rig.settings.timeout_s)
            assert time.monotonic() - began < rig.settings.timeout_s, "not even one time limit was waited for"
            assert [one.json["seq"] for one in got] == list(range(1, 41)), "in order, where nothing fails"
    for name in ("hangs", "fails", "ended"):
        assert all_are(DeliveryState.WAITING)(await rig.deliveries(name))
    assert (await rig.service.get("fails")).error == "answered 500"
    assert len(failing.received) < 20, "who fails is left alone for a while"


async def test_it_is_tried_for_a_day_and_then_kept_to_be_sent_again(rig: HookRig, receiver: Receiver) -> None:
    rig.set(base_s=5.0)
    await rig.add("a", receiver.url)
    await rig.events(1)
    receiver.status = 503
    lane, pauses = rig.lane("a"), []
    while not await rig.deliveries("a", DeliveryState.DEAD):
        await lane.deliver_due()
        (view,) = await rig.deliveries("a")
        if view.due_at is not None:
            pauses.append(view.due_at - rig.now)
            rig.now = max(view.due_at, lane._rests_until)
    assert NOW + DAY <= rig.now <= NOW + DAY + REST_CAP_S, duration_text(rig.now - NOW)
    assert 30 < len(receiver.received) < 70
    assert all(0.5 * min(HOUR, 5 * 2**n) <= pause <= min(HOUR, 5 * 2**n) for n, pause in enumerate(pauses[:-1]))
    assert len({one.body for one in receiver.received}) == 1
    assert len({one.headers[SIGNATURE_HEADER] for one in receiver.received}) >= 1
    assert (view.state, view.error, view.status) == (DeliveryState.DEAD, "answered 503", 503)
    assert (await rig.service.get("a")).dead == 1
    receiver.status, before = 200, len(receiver.received)
    assert await rig.service.resend_dead("a") == 1
    await lane.deliver_due()
    (view,) = await rig.deliveries("a", DeliveryState.DELIVERED)
    assert (view.attempts, len(receiver.received)) == (1, before + 1)
    assert receiver.received[-1].headers[DELIVERY_HEADER] == receiver.received[0].headers[DELIVERY_HEADER]
    with pytest.raises(ProblemError):
        await rig.service.resend("a", "nothing")
    assert (await rig.service.resend("a", view.id)).state is DeliveryState.WAITING
    with pytest.raises(ProblemError) as caught:
        await rig.service.resend("a", view.id)
    assert caught.value.problem.status == 409
    await lane.deliver_due()
    assert len(receiver.received) == before + 2


async def test_a_receiver_says_when_it_wants_to_be_asked_again(rig: HookRig, receiver: Receiver) -> None:
    await rig.add("a", receiver.url)
    await rig.events(2)
    receiver.status, receiver.headers = 429, {"Retry-After": "120"}
    lane = rig.lane("a")
    await lane.deliver_due()
    assert len(receiver.received) == 1, "the others are spared, too"
    rig.now += 119
    await lane.deliver_due()
    assert len(receiver.received) == 1
    receiver.status = 200
    rig.now += 2
    await lane.deliver_due()
    assert all_are(DeliveryState.DELIVERED)(await rig.deliveries("a"))


async def test_one_that_is_refused_does_not_keep_the_next_ones(rig: HookRig, receiver: Receiver) -> None:
    """400 is about the one message; the receiver is well."""
    await rig.add("a", receiver.url)
    await rig.events(3)
    receiver.status = 400
    await rig.lane("a").deliver_due()
    assert len(receiver.received) == 3


async def test_a_new_daemon_goes_on_where_the_last_one_was(rig: HookRig, receiver: Receiver) -> None:
    await rig.add("a", receiver.url)
    await rig.events(5)
    again = HookRig(rig.database, rig.bus)
    await again.service.load()
    async with again.running():
        got = await receiver.wait(5)
    assert [one.json["seq"] for one in got] == [1, 2, 3, 4, 5]


async def test_an_event_and_its_deliveries_are_recorded_together(rig: HookRig, monkeypatch: pytest.MonkeyPatch) -> None:
    await rig.add("a", "http://127.0.0.1:1/")

    async def fail(*_: object) -> None:
        raise RuntimeError("in the middle of it")

    with monkeypatch.context() as patch:
        patch.setattr(rig.service._deliveries, "queue", fail)
        with pytest.raises(RuntimeError):
            await rig.events(1)
    assert await rig.database.fetch_all("SELECT * FROM events") == []
    await rig.events(1)
    assert len(await rig.deliveries("a")) == 1


async def test_a_clock_that_is_set_back_holds_nothing_for_years(rig: HookRig, receiver: Receiver) -> None:
    await rig.add("a", receiver.url)
    receiver.status = 500
    rig.now += 10 * 365 * DAY
    await rig.events(1)
    lane = rig.lane("a")
    await lane.deliver_due()
    receiver.status, rig.now = 200, NOW
    await lane.deliver_due()
    assert all_are(DeliveryState.DELIVERED)(await rig.deliveries("a"))


async def test_who_is_gone_is_told_nothing_more(rig: HookRig, receiver: Receiver) -> None:
    receiver.status = 410
    await rig.add("a", receiver.url)
    async with rig.running():
        await rig.events(1)
        await rig.until(all_are(DeliveryState.DEAD), "a")
        async for event in rig.bus.subscribe(0):
            if event.type == "webhook.disabled":
                assert event.data["webhook"] == "a"
                break
        view = await rig.service.get("a")
        assert (view.enabled, view.dead) == (False, 1)
        assert "410" in view.reason
        assert "a is disabled" in await rig.service.trouble()
        await rig.events(1)
        receiver.status = 200
        assert (await rig.service.change("a", WebhookChange(enabled=True))).reason == ""
        await rig.service.resend_dead("a")
        await rig.until(all_are(DeliveryState.DELIVERED), "a")
    assert len(receiver.received) == 2, "what happened while it was disabled is not kept for it"
    assert await rig.service.trouble() == ""


async def test_disabled_enabled_changed_and_removed(rig: HookRig, receiver: Receiver) -> None:
    await rig.add("a", f"{receiver.url}/old")
    receiver.status = 500
    async with rig.running():
        await rig.events(1)
        await receiver.wait(1)
        await rig.service.change("a", WebhookChange(enabled=False))
        await rig.events(1)
        assert [one.state for one in await rig.deliveries("a")] == [DeliveryState.WAITING]
        tried = len(receiver.received)
        receiver.status = 200
        outcome = await rig.service.test("a")
        assert (outcome.delivered, receiver.received[-1].json["type"]) == (True, "webhook.test")
        assert len(receiver.received) == tried + 1
        secret = (await rig.service.renew_secret("a")).secret
        rig.now += HOUR
        await rig.service.change("a", WebhookChange(enabled=True, url=f"{receiver.url}/new"))
        await rig.until(all_are(DeliveryState.DELIVERED), "a")
        got = receiver.received[-1]
        assert got.path == "/new"
        assert verify(secret, got.body, got.headers[SIGNATURE_HEADER], time.time())
        await rig.service.remove("a")
        await rig.events(1)
    assert await rig.service.list() == []
    assert await rig.database.fetch_all("SELECT * FROM webhook_deliveries") == []
    assert await rig.database.fetch_all("SELECT * FROM webhook_attempts") == []


async def test_a_webhook_is_removed_while_its_receiver_hangs(rig: HookRig, receiver: Receiver) -> None:
    receiver.hang = True
    await rig.add("a", receiver.url)
    async with rig.running():
        await rig.events(1)
        await receiver.wait(1)
        await rig.service.remove("a")
        receiver.hang = False
        await rig.add("a", receiver.url)
        await rig.events(1)
        await receiver.wait(2)
        await rig.until(all_are(DeliveryState.DELIVERED), "a")
    assert [one.json["seq"] for one in receiver.received] == [1, 2]


async def test_the_queue_is_bounded_and_what_is_old_goes(rig: HookRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "KEPT_MAX", 3)
    await rig.add("a", "http://127.0.0.1:1/")
    await rig.events(5)
    kept = rig.service._deliveries
    assert await kept.tidy("a", NOW - DAY) == 2
    views = await rig.deliveries("a")
    assert [one.state for one in views] == [DeliveryState.WAITING] * 3 + [DeliveryState.DEAD] * 2
    assert views[-1].error == "more than 3 wait"
    await rig.events(3)
    assert await kept.tidy("a", NOW - DAY) == 3
    assert len(await rig.deliveries("a", DeliveryState.DEAD)) == 3, "the newest of them"
    assert await kept.tidy("a", NOW + 1) == 0
    assert all_are(DeliveryState.WAITING)(await rig.deliveries("a"))


async def test_what_takes_nothing_for_an_hour_is_alarming(rig: HookRig, receiver: Receiver) -> None:
    receiver.status = 500
    await rig.add("a", receiver.url)
    await rig.events(1)
    await rig.lane("a").deliver_due()
    assert await rig.service.trouble() == ""
    rig.now += HOUR + 1
    assert await rig.service.trouble() == "a has taken nothing for an hour"


class Lying:
    """A name server that says what the attacker wants it to: first one thing, then another."""

    def __init__(self, answers: list[str]) -> None:
        self._answers = answers
        self.asked = 0

    async def __call__(self, _host: str, port: int, _family: int) -> list[AddressInfo]:
        address = self._answers[min(self.asked, len(self._answers) - 1)]
        self.asked += 1
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirection_into_the_machine_is_not_followed(rig: HookRig, receiver: Receiver, status: int) -> None:
    receiver.status = status
    await rig.add("a", receiver.url)
    await rig.events(1)
    await rig.lane("a").deliver_due()
    assert [one.path for one in receiver.received] == ["/"], "not /elsewhere, where it pointed"
    (view,) = await rig.deliveries("a")
    assert view.error == f"answered {status}"


async def test_a_name_that_leads_into_the_machine_is_refused_and_recorded(
    rig: HookRig, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address is judged where the connection is made: what the name said before counts for nothing."""
    port = receiver.url.rpartition(":")[2]
    server = Lying(["127.0.0.1"])
    monkeypatch.setattr("appliance.history.targets.look_up", server)
    await rig.add("a", f"http://rebound.example.org:{port}/")
    rig.set(private_networks=("10.9.0.0/16",))
    await rig.events(1)
    await rig.lane("a").deliver_due()
    (view,) = await rig.deliveries("a")
    assert view.state is DeliveryState.DEAD
    assert view.error == "the name leads into a private network; webhooks.private_networks would allow it"
    assert server.asked == 1
    outcome = await rig.service.test("a")
    assert (outcome.delivered, outcome.error) == (False, "the name leads into a private network")
    assert receiver.received == []


async def test_a_name_is_asked_once_for_check_and_connection(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rebinding needs a second question; there is none."""
    port = receiver.url.rpartition(":")[2]
    server = Lying(["127.0.0.1", "10.0.0.1"])
    monkeypatch.setattr("appliance.history.targets.look_up", server)
    only_this = Reach(networks=(ipaddress.ip_network("127.0.0.0/8"),))
    url = f"http://rebound.example.org:{port}/"
    receipt = await post_signed(url, b"{}", "s", reach=only_this, timeout_s=5, now=NOW)
    assert (receipt.status, server.asked) == (200, 1)
    with pytest.raises(ForbiddenTargetError):
        await post_signed(url, b"{}", "s", reach=only_this, timeout_s=5, now=NOW)
    assert len(receiver.received) == 1


async def test_a_receiver_that_answers_without_end_is_left(rig: HookRig) -> None:
    """Only the head of an answer is read, and that is bounded."""

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(bytes(65536))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(flood, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        await rig.add("a", f"http://127.0.0.1:{port}/")
        await rig.events(1)
        async with asyncio.timeout(4):
            await rig.lane("a").deliver_due()
    assert all_are(DeliveryState.DELIVERED)(await rig.deliveries("a"))


GARBAGE = [
    b"",
    b"\x16\x03\x01\x02\x00\x01",
    b"HTTP/1.1 2",
    b"HTTP/1.1 banana yes\r\n\r\n",
    b"HTTP/9.9 200 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.1 503 No\r\nRetry-After: " + b"9" * 400 + b"\r\n\r\n",
    b"HTTP/1.1 503 No\r\nRetry-After: \xc2\xb2\r\n\r\n",
    b"HTTP/1.1 301 Moved\r\nLocation: http://[broken\r\n\r\n",
    b"HTTP/1.1 200 \xff\xfe\r\nX: \xff\r\nSet-Cookie: \x00=\x01\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: a\r\n" % number for number in range(5000)) + b"\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
]


async def test_whatever_a_receiver_answers_ends_nothing(rig: HookRig) -> None:
    """Each garbled answer is a failed attempt or a status, and the line goes on."""
    answers = iter(GARBAGE)

    async def garble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(next(answers, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
            await writer.drain()
            writer.close()

    async with await asyncio.start_server(garble, "127.0.0.1", 0) as server:
        await rig.add("a", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        await rig.events(1)
        lane, cap_s = rig.lane("a"), rig.settings.cap_s
        for _ in GARBAGE:
            (view,) = await rig.deliveries("a")
            if view.state is DeliveryState.DELIVERED:
                await rig.service.resend("a", view.id)
            await lane.deliver_due()
            rig.now += cap_s
    (view,) = await rig.deliveries("a")
    details = await rig.service.details("a", view.id)
    assert len(details.attempts) == len(GARBAGE)
    assert sum(bool(one.error) for one in details.attempts) >= len(GARBAGE) // 2
