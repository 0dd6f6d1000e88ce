"""Every fault does to the real engine what it promises."""

from __future__ import annotations

import pytest

from appliance.staging.control_types import FaultKind, JournalKind, SendKind, SetFault

from .conftest import Engines, NetworkProcess
from .test_first_slice import PHONE, expect_content, send


async def test_cut_connections_come_back(network: NetworkProcess, engines: Engines) -> None:
    engine = await engines.linked(PHONE)
    for fault, by in (
        (SetFault(kind=FaultKind.RESET, account=PHONE), "reset"),
        (SetFault(kind=FaultKind.CLOSE), "close"),
        (SetFault(kind=FaultKind.STREAM_ERROR, code=503), "stream_error 503"),
        (SetFault(kind=FaultKind.STREAM_ERROR, account=PHONE, code=500), "stream_error 500"),
        (SetFault(kind=FaultKind.DROP, duration_s=6), "drop"),
    ):
        before = await network.client.last()
        await network.client.set_fault(fault)
        await engine.event("disconnected")
        closed = await network.client.wait_for(JournalKind.CLOSED, account=PHONE, after=before)
        assert (closed.data["by"], closed.data["ready"]) == (by, True)
        await network.client.wait_online(PHONE, after=before)
    await network.client.clear_faults()
    await network.client.wait_online(PHONE, timeout_s=40)


@pytest.mark.parametrize(
    ("fault", "event", "detail"),
    [
        (SetFault(kind=FaultKind.FAILURE, code=401), "logged_out", "LOGGED_OUT"),
        (SetFault(kind=FaultKind.FAILURE, code=403), "logged_out", "MAIN_DEVICE_GONE"),
        (SetFault(kind=FaultKind.FAILURE, code=402, expire_s=3600), "ban", "Expire: 3600"),
        (SetFault(kind=FaultKind.FAILURE, code=405), "outdated", ""),
        (SetFault(kind=FaultKind.FAILURE, code=406), "logged_out", "UNKNOWN_LOGOUT"),
        (SetFault(kind=FaultKind.FAILURE, code=409), "connect_failure", "BAD_USER_AGENT"),
        (SetFault(kind=FaultKind.STREAM_ERROR, text="replaced"), "replaced", ""),
        (SetFault(kind=FaultKind.STREAM_ERROR, text="device_removed"), "logged_out", "LOGGED_OUT"),
    ],
)
async def test_refusals(network: NetworkProcess, engines: Engines, fault: SetFault, event: str, detail: str) -> None:
    engine = await engines.linked(PHONE)
    await network.client.set_fault(fault)
    if fault.kind is FaultKind.FAILURE:
        await network.client.set_fault(SetFault(kind=FaultKind.RESET))
        login = await network.client.wait_for(JournalKind.LOGIN, account=PHONE, answer=f"failure {fault.code}")
        assert login.device == 1
    assert detail in (await engine.event(event))["detail"]


async def test_a_login_that_fails_once(network: NetworkProcess, engines: Engines) -> None:
    engine = await engines.linked(PHONE)
    await network.client.set_fault(SetFault(kind=FaultKind.FAILURE, account=PHONE, code=503, count=1))
    await network.client.set_fault(SetFault(kind=FaultKind.RESET, account=PHONE))
    await engine.event("connected", timeout=30)
    assert await network.client.faults() == []


async def test_a_server_that_is_gone_comes_back(network: NetworkProcess, engines: Engines) -> None:
    engine = await engines.linked(PHONE)
    await network.client.set_fault(SetFault(kind=FaultKind.DOWN, duration_s=1))
    await engine.event("disconnected")
    await engine.event("connected", timeout=30)


async def test_unlinked_on_the_phone(network: NetworkProcess, engines: Engines) -> None:
    engine = await engines.linked(PHONE)
    await network.client.unlink(PHONE)
    await engine.event("logged_out")
    account = await network.client.account(PHONE)
    assert account is not None
    assert account.devices == []


async def test_half_open(network: NetworkProcess, engines: Engines) -> None:
    """A stalled connection takes nothing and loses nothing; a new one works; the old one goes on afterwards."""
    engine = await engines.linked(PHONE)
    fault = await network.client.set_fault(SetFault(kind=FaultKind.STALL, account=PHONE))
    waiting = await send(network, kind=SendKind.IMAGE)
    with pytest.raises(TimeoutError):
        await network.client.wait_for(JournalKind.RECEIPTED, message_id=waiting, timeout_s=1)
    await network.client.clear_faults(fault.id)
    await expect_content(network, engine, waiting)
    await network.client.set_fault(SetFault(kind=FaultKind.STALL, account=PHONE))
    await engine.kill()
    before = await network.client.last()
    engine = await engines.start(PHONE)
    await engine.call("connect")
    await network.client.wait_online(PHONE, after=before)
    assert (await network.client.stats()).second_copies == 0
    await expect_content(network, engine, await send(network, kind=SendKind.IMAGE))


async def test_nothing_gets_through(network: NetworkProcess, engines: Engines) -> None:
    """Silence strikes new connections as well; so do the faults of the upgrade and of the handshake."""
    engine = await engines.linked(PHONE)
    for kind in (FaultKind.SILENCE, FaultKind.NO_UPGRADE, FaultKind.NO_HELLO):
        await engine.kill()
        before = await network.client.last()
        fault = await network.client.set_fault(SetFault(kind=kind))
        engine = await engines.start(PHONE)
        await engine.call("connect")
        await network.client.wait_for(JournalKind.FAULT_STRUCK, after=before, id=fault.id)
        with pytest.raises(TimeoutError):
            await network.client.wait_online(PHONE, after=before, timeout_s=1)
        await network.client.clear_faults()
    await engine.kill()
    engine = await engines.start(PHONE)
    await engine.call("connect")
    await engine.event("connected")


async def test_requests_without_answers(network: NetworkProcess, engines: Engines) -> None:
    engine = await engines.linked(PHONE)
    await engine.call("probe")
    fault = await network.client.set_fault(SetFault(kind=FaultKind.SILENT_IQ, text="blocklist"))
    with pytest.raises(TimeoutError):
        await engine.call("probe", timeout=1)
    await network.client.clear_faults(fault.id)
    await engine.call("probe")
    await network.client.set_fault(SetFault(kind=FaultKind.NO_PONG, account=PHONE))
    await network.client.wait_for(JournalKind.FAULT_STRUCK, account=PHONE, fault="no_pong", timeout_s=40)
    await network.client.set_fault(SetFault(kind=FaultKind.NO_ACK, account=PHONE))
    with pytest.raises(TimeoutError):
        await engine.call("send_text", to="221771000011", text="sans réponse", timeout=1)


@pytest.mark.parametrize("code", [403, 404])
async def test_media_that_is_gone(network: NetworkProcess, engines: Engines, code: int) -> None:
    engine = await engines.linked(PHONE)
    await network.client.set_fault(SetFault(kind=FaultKind.MEDIA_STATUS, account=PHONE, code=code, count=1))
    message = await engine.event("message", id=await send(network, kind=SendKind.IMAGE))
    assert str(code) in message["download_error"]
    await expect_content(network, engine, await send(network, kind=SendKind.IMAGE))


async def test_media_that_comes_late_or_never(network: NetworkProcess, engines: Engines) -> None:
    engine = await engines.linked(PHONE)
    await network.client.set_fault(SetFault(kind=FaultKind.MEDIA_STATUS, code=503, count=1))
    await expect_content(network, engine, await send(network, kind=SendKind.IMAGE))
    await network.client.set_fault(SetFault(kind=FaultKind.MEDIA_HANG, count=1))
    hanging = await send(network, kind=SendKind.IMAGE)
    with pytest.raises(TimeoutError):
        await engine.event("message", timeout=1, id=hanging)
    await expect_content(network, engine, await send(network, kind=SendKind.IMAGE))


@pytest.mark.parametrize("code", [429, 400])
async def test_a_code_is_refused(network: NetworkProcess, engines: Engines, code: int) -> None:
    engine = await engines.start("new")
    await network.client.set_fault(SetFault(kind=FaultKind.PAIR_REFUSED, account=PHONE, code=code, count=1))
    await engine.call("connect")
    await engine.event("qr")
    with pytest.raises(RuntimeError, match=str(code)):
        await engine.call("pair_code", phone=PHONE)
    code_shown = await engine.call("pair_code", phone=PHONE)
    assert (await network.client.type_code(PHONE, code_shown)).outcome == "accepted"
    await engine.event("connected")


async def test_linking_that_ends_in_silence_or_error(network: NetworkProcess, engines: Engines) -> None:
    silent = await engines.start("silent")
    fault = await network.client.set_fault(SetFault(kind=FaultKind.PAIR_SILENT))
    await silent.call("connect")
    await silent.event("qr")
    code = await silent.call("pair_code", phone=PHONE)
    assert (await network.client.type_code(PHONE, code)).outcome == "silent"
    await network.client.clear_faults(fault.id)

    unanswered = await engines.start("unanswered")
    fault = await network.client.set_fault(SetFault(kind=FaultKind.PAIR_NO_ANSWER))
    await unanswered.call("connect")
    await unanswered.event("qr")
    with pytest.raises(TimeoutError):
        await unanswered.call("pair_code", phone=PHONE, timeout=1)
    await network.client.clear_faults(fault.id)

    broken = await engines.start("broken")
    await network.client.set_fault(SetFault(kind=FaultKind.PAIR_BAD_HMAC, count=1))
    await broken.call("connect")
    await broken.event("qr")
    code = await broken.call("pair_code", phone=PHONE)
    await network.client.type_code(PHONE, code)
    assert (await broken.event("login_status"))["status"] == "error"


async def test_a_dead_code(network: NetworkProcess, engines: Engines) -> None:
    engine = await engines.start("dead")
    await network.client.set_fault(SetFault(kind=FaultKind.PAIR_REFS, code=1))
    await engine.call("connect")
    await engine.event("qr")
    code = await engine.call("pair_code", phone=PHONE)
    requested = await network.client.wait_for(JournalKind.PAIR_REQUESTED, account=PHONE)
    assert float(requested.data["alive_s"]) <= 20
    assert (await engine.event("login_status", timeout=30))["status"] == "timeout"
    assert (await network.client.type_code(PHONE, code)).outcome == "no_request"


async def test_a_dial_fault_for_one_account_spares_the_others(network: NetworkProcess, engines: Engines) -> None:
    """A dial does not name an account: the network finds out whose process it is, even after that was replaced."""
    other = "221771000020"
    struck, spared = await engines.linked(PHONE), await engines.linked(other)
    before = await network.client.last()
    fault = await network.client.set_fault(SetFault(kind=FaultKind.REFUSE, account=PHONE))
    await network.client.set_fault(SetFault(kind=FaultKind.RESET))
    await spared.event("disconnected")
    await network.client.wait_online(other, after=before)
    await struck.kill()
    struck = await engines.start(PHONE)
    await struck.call("connect")
    assert "failed to dial" in (await struck.event("ended"))["error"]
    await network.client.clear_faults(fault.id)
    assert await network.client.journal(kinds=[JournalKind.READY], account=PHONE, after=before) == []
