"""A session's own proxy with the real engine: everything goes through it, nothing around it, its login is secret."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from urllib.parse import quote

import pytest

from appliance.bench.rig import Rig, phone_number
from appliance.client import ApiError
from appliance.model import SessionState
from appliance.staging import control_types as ct
from tests.integration.sessions.proxies import PASSWORD, LoopbackProxy

pytestmark = [pytest.mark.staging, pytest.mark.timeout(180)]

S = SessionState
WAIT_S = 60.0
BUDGET = 2
FASTER = {
    "AMDA_RECONNECT_ATTEMPTS_PER_HOUR": str(BUDGET),
    "AMDA_RECONNECT_BACKOFF_CAP_S": "1",
    "AMDA_KEEPALIVE_LOGIN_TIMEOUT_S": "6",
}


@pytest.mark.parametrize("scheme", ["socks5", "http"])
async def test_everything_goes_through_it_and_nothing_around_it(scheme: str) -> None:
    async with Rig(variables=FASTER) as rig, asyncio.timeout(150):
        network = await rig.staging.info()
        async with LoopbackProxy(scheme, network.proxy_url) as proxy:
            phone = phone_number(1)
            account = phone.lstrip("+")
            await rig.api.create_session("own")
            view = await rig.api.set_proxy("own", proxy.url)
            assert view.proxy == proxy.shown
            await rig.staging.add_account(ct.AddAccount(phone=phone))
            await rig.pair("own", phone)
            await rig.wait_state("own", S.ONLINE)
            await picture_is_stored(rig, phone)
            assert any(name.startswith("mmg") for name in proxy.destinations)
            await only_through(rig, account, proxy)
            await stays_away_while_the_proxy_is(rig, account, proxy)
            await only_through(rig, account, proxy)
            assert not secrets_outside_the_row(rig.folder)


async def picture_is_stored(rig: Rig, phone: str) -> None:
    last = (await rig.api.status()).last_event
    await rig.staging.send(
        ct.Send(account=phone, contact="+33612345601", kind=ct.SendKind.IMAGE, where=ct.Where.STATUS)
    )
    async for _ in rig.events(after=last, session="own", kind="media.stored"):
        return


async def only_through(rig: Rig, account: str, proxy: LoopbackProxy) -> None:
    """Each of its connections to the network came from a port of the proxy."""
    logins = await rig.staging.whole_journal(kinds=[ct.JournalKind.LOGIN], account=account)
    assert logins
    assert {entry.data["port"] for entry in logins} <= proxy.source_ports


async def stays_away_while_the_proxy_is(rig: Rig, account: str, proxy: LoopbackProxy) -> None:
    before = await rig.staging.last()
    await proxy.stop()
    async with asyncio.timeout(WAIT_S):
        async for _ in rig.events(session="own", kind="session"):
            view = await rig.api.session("own")
            if "proxy" in view.detail:
                break
    assert view.state is S.RECONNECTING
    assert f"{proxy.shown} cannot be reached: connection refused" in view.detail
    assert f"See to it that the proxy runs, or set another: amda session set {view.id} --proxy" in view.detail
    assert not await rig.staging.journal(after=before, kinds=[ct.JournalKind.LOGIN], account=account)
    proxy.denying = True
    await proxy.start()
    for _ in range(2 * BUDGET):
        await proxy.denied.get()
    assert (await rig.api.session("own")).state is S.RECONNECTING  # nothing was charged: it would be cooling
    proxy.denying = False
    async with asyncio.timeout(WAIT_S):
        await rig.wait_state("own", S.ONLINE)


def secrets_outside_the_row(folder: Path) -> list[str]:
    """Files that hold the password; in the daemon's database the session's own settings may."""
    needles = [text.encode() for text in (PASSWORD, quote(PASSWORD, safe=""))]
    with sqlite3.connect(folder / "state" / "amda.db") as database:
        database.execute("UPDATE sessions SET settings = '{}'")
        database.commit()
        kept = "\n".join(database.iterdump()).encode()
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("amda.db")]
    found = [str(path) for path in files if any(needle in path.read_bytes() for needle in needles)]
    return found + ["amda.db"] * any(needle in kept for needle in needles)


async def test_what_cannot_be_used_is_refused_before_it_is_stored() -> None:
    async with Rig() as rig, asyncio.timeout(60):
        network = await rig.staging.info()
        await rig.api.create_session("own")
        async with LoopbackProxy("socks5", network.proxy_url) as proxy, LoopbackProxy("http", network.proxy_url) as web:
            wrong = [
                ("ftp://127.0.0.1:21", "begins with"),
                ("socks5://127.0.0.1", "no port"),
                ("socks5://203.0.113.1:1080", "loopback"),
                (proxy.url.replace("anna:", "berta:"), "does not accept"),
                (web.url.replace("anna:", "berta:"), "does not accept"),
                (f"socks5://{proxy.url.partition('@')[2]}", "wants a login"),
                (proxy.url.replace("socks5://", "http://"), "does not speak http"),
            ]
            for url, word in wrong:
                with pytest.raises(ApiError) as refused:
                    await rig.api.set_proxy("own", url)
                body = refused.value.problem
                assert (body.status, body.field) == (400, "proxy")
                assert word in body.detail, body.detail
                assert body.remedy
                assert quote(PASSWORD, safe="") not in f"{body.detail} {body.remedy}"
            gone = proxy.url
        with pytest.raises(ApiError, match="cannot be reached"):
            await rig.api.set_proxy("own", gone)
        assert (await rig.api.session("own")).proxy is None
        assert (await rig.api.set_proxy("own", "")).proxy == "none"
        assert (await rig.api.set_proxy("own", None)).proxy is None
