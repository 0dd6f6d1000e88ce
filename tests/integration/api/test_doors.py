"""The doors with a real socket each: who gets in, as what, by which way; and what is on record of it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from appliance.api.routes import Access
from appliance.client import ApplianceClient
from appliance.client_access import AuditConditions
from appliance.database import Database
from appliance.events import EventBus
from appliance.model_access import Door
from appliance.model_api import Scope
from appliance.redis_server import RedisServer
from appliance.sockets import PeerError
from tests.integration.api.daemon_process import free_port
from tests.integration.daemon.rig import ApiRig

WAIT_S = 15.0


class Doors:
    """A rig with both doors open, and clients of them."""

    def __init__(self, rig: ApiRig, client: ApplianceClient, port: int) -> None:
        self.rig = rig
        self.client = client
        self.url = f"http://127.0.0.1:{port}"

    async def token(self, scope: Scope, session: str | None = None) -> str:
        return (await self.client.create_token(f"{scope} {session}", scope, session=session)).secret

    @contextlib.asynccontextmanager
    async def http(self, token: str | None = None, **headers: str) -> AsyncIterator[aiohttp.ClientSession]:
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        async with asyncio.timeout(WAIT_S), aiohttp.ClientSession(self.url, headers=headers) as session:
            yield session

    async def status(self, token: str | None, method: str, path: str, body: object = None, **headers: str) -> int:
        async with self.http(token, **headers) as http, http.request(method, path, json=body) as response:
            return response.status


@contextlib.asynccontextmanager
async def open_doors(folder: Path, database: Database, bus: EventBus, **variables: str) -> AsyncIterator[Doors]:
    port = free_port()
    variables = {"api_listen": f"127.0.0.1:{port}", **variables}
    async with ApiRig.open(folder, database, bus, **variables) as rig, ApplianceClient(rig.socket) as client:
        yield Doors(rig, client, port)


@pytest.fixture
async def doors(tmp_path: Path, database: Database, bus: EventBus, redis_server: RedisServer) -> AsyncIterator[Doors]:
    async with open_doors(tmp_path, database, bus) as opened:
        yield opened


async def test_scopes_open_what_they_say(doors: Doors) -> None:
    await doors.client.create_session("anna")
    tokens = {scope: await doors.token(scope) for scope in Scope}
    cases = [
        ("GET", "/v1/sessions", None, Scope.READ, 200),
        ("POST", "/v1/sessions/anna/stop", None, Scope.OPERATE, 200),
        ("GET", "/v1/tokens", None, Scope.ADMIN, 200),
        ("POST", "/v1/tokens", {"name": "more"}, Scope.ADMIN, 201),
        ("GET", "/v1/config", None, Scope.ADMIN, 200),
        ("GET", "/v1/audit", None, Scope.ADMIN, 200),
    ]
    for method, path, body, needed, success in cases:
        assert await doors.status(None, method, path, body) == 401
        for scope, token in tokens.items():
            expected = success if scope.includes(needed) else 403
            if scope.includes(needed) and success == 201:
                body = {"name": f"more {scope}"}
            assert await doors.status(token, method, path, body) == expected, (path, scope)
    assert await doors.status(None, "GET", "/v1/nothing") == 401, "who has no token does not learn what exists"
    assert await doors.status(tokens[Scope.READ], "GET", "/v1/nothing") == 404


async def test_only_what_is_public_is_public(doors: Doors) -> None:
    for route in doors.rig.routes:
        path = route.path.replace("{", "").replace("}", "")
        status = await doors.status(None, route.method, path)
        assert (status == 401) == (route.access is Access.TOKEN), route.path
    async with doors.http() as http, http.get("/readyz") as response:
        assert (await response.json())["degraded"] == [], "why is not for strangers"


async def test_a_token_of_one_session_sees_that_one(doors: Doors) -> None:
    for session in ("anna", "bob"):
        await doors.client.create_session(session)
        await doors.rig.capture(session, f"M-{session}", session.encode() * 1000)
        await doors.rig.bus.publish("session.state", session, state="new")
    token = await doors.token(Scope.OPERATE, "anna")
    [foreign] = [item.id async for item in doors.client.all_media(session="bob")]
    async with doors.http(token) as http:
        async with http.get("/v1/sessions") as response:
            assert [view["id"] for view in (await response.json())["sessions"]] == ["anna"]
        async with http.get("/v1/media") as response:
            assert {item["session"] for item in (await response.json())["items"]} == {"anna"}
        async with http.get("/v1/events?after=0") as response:
            seen = []
            while len(seen) < 2:
                line = await response.content.readline()
                if line.startswith(b"data: "):
                    seen.append(b'"session":"anna"' in line)
            assert all(seen)
        async with http.post("/v1/media/delete", json={"ids": [foreign]}) as response:
            assert await response.json() == {"deleted": 0, "missing": [foreign]}
    refused = {
        ("GET", "/v1/sessions/bob"): 404,
        ("POST", "/v1/sessions/bob/start"): 404,
        ("DELETE", "/v1/sessions/bob"): 404,
        ("GET", f"/v1/media/{foreign}"): 404,
        ("GET", f"/v1/media/{foreign}/content"): 404,
        ("DELETE", f"/v1/media/{foreign}"): 404,
        ("GET", "/v1/media?session=bob"): 403,
        ("GET", "/v1/events?session=bob"): 403,
        ("GET", "/v1/storage"): 403,
        ("GET", "/v1/tokens"): 403,
        ("GET", "/v1/silences"): 403,
    }
    for (method, path), status in refused.items():
        assert await doors.status(token, method, path) == status, path
    assert await doors.status(token, "POST", "/v1/pairings", {"session": "bob", "method": "qr"}) == 403
    assert await doors.status(token, "POST", "/v1/sessions/anna/start") == 200
    assert await doors.client.media_item(foreign)


async def test_revoking_ends_requests_and_streams_at_once(doors: Doors) -> None:
    made = await doors.client.create_token("stream", Scope.READ)
    async with doors.http(made.secret) as http, http.get("/v1/events") as stream:
        assert await stream.content.readline() == b": the stream begins\n"
        await doors.client.revoke_token(made.details.id)
        with contextlib.suppress(aiohttp.ClientError):
            assert await stream.content.readline() in (b"\n", b"")
            assert await stream.content.readline() == b""
        assert stream.content.is_eof() or stream.content.exception() is not None
    assert await doors.status(made.secret, "GET", "/v1/sessions") == 401


async def test_the_audit_has_who_what_and_from_where(doors: Doors) -> None:
    token = await doors.token(Scope.OPERATE)
    await doors.client.create_session("anna")
    assert await doors.status(token, "POST", "/v1/sessions/anna/start") == 200
    assert await doors.status(token, "POST", "/v1/sessions/nobody/start") == 404
    assert await doors.status(token, "DELETE", "/v1/tokens/x") == 403
    assert await doors.status(token, "GET", "/v1/sessions") == 200
    entries = (await doors.client.audit()).items
    found = [(one.who, one.door, one.action, one.session, one.status) for one in entries]
    me = f"user:{os.environ.get('USER', 'root')}" if os.geteuid() else "user:root"
    assert found == [
        ("token:operate None", "tcp", "tokens_revoke", None, 403),
        ("token:operate None", "tcp", "sessions_start", "nobody", 404),
        ("token:operate None", "tcp", "sessions_start", "anna", 200),
        (me, "unix", "sessions_create", "anna", 201),
        (me, "unix", "tokens_create", None, 201),
    ]
    assert entries[0].address == "127.0.0.1"
    assert entries[-1].address == f"pid {os.getpid()}"
    conditions: list[tuple[AuditConditions, list[str]]] = [
        ({"session": "anna"}, ["sessions_start", "sessions_create"]),
        ({"action": "sessions"}, ["sessions_start", "sessions_start", "sessions_create"]),
        ({"action": "sessions", "refused": False}, ["sessions_start", "sessions_create"]),
        ({"door": Door.TCP, "refused": True}, ["tokens_revoke", "sessions_start"]),
        ({"door": Door.UNIX}, ["sessions_create", "tokens_create"]),
    ]
    for condition, actions in conditions:
        assert [one.action for one in (await doors.client.audit(**condition)).items] == actions, condition
        assert [one.action async for one in doors.client.all_audit(**condition)] == actions, condition


async def test_a_repeated_call_is_answered_and_not_repeated(doors: Doors) -> None:
    token = await doors.token(Scope.OPERATE)
    async with doors.http(token, **{"Idempotency-Key": "4711"}) as http:
        async with http.post("/v1/sessions", json={"id": "anna"}) as response:
            assert (response.status, response.headers.get("Idempotent-Replayed")) == (201, None)
        await doors.client.stop_session("anna")
        async with http.post("/v1/sessions", json={"id": "anna"}) as response:
            assert (response.status, response.headers.get("Idempotent-Replayed")) == (201, "true")
            assert (await response.json())["state"] == "stopped", "as it is now"
        async with http.post("/v1/sessions", json={"id": "bob"}) as response:
            assert response.status == 422
    assert await doors.status(token, "POST", "/v1/sessions", {"id": "anna"}) == 409


async def test_who_polls_gets_nothing_twice(doors: Doors) -> None:
    token = await doors.token(Scope.READ)
    async with doors.http(token) as http:
        async with http.get("/v1/sessions") as response:
            tag = response.headers["ETag"]
        async with http.get("/v1/sessions", headers={"If-None-Match": tag}) as response:
            assert (response.status, await response.read()) == (304, b"")
        await doors.client.create_session("anna")
        async with http.get("/v1/sessions", headers={"If-None-Match": tag}) as response:
            assert (response.status, response.headers["ETag"] != tag) == (200, True)


async def test_methods_are_refused_where_they_are_not(doors: Doors) -> None:
    token = await doors.token(Scope.ADMIN)
    for method, path, allowed in (
        ("DELETE", "/v1/media/set-aside", "GET, HEAD"),
        ("GET", "/v1/pairings/lift", "POST"),
        ("OPTIONS", "/v1/events", "GET"),
        ("HEAD", "/v1/events", "GET"),
    ):
        async with doors.http(token) as http, http.request(method, path) as response:
            assert (response.status, response.headers["Allow"]) == (405, allowed)
            assert response.headers["Server"] == "amda"


async def test_sessions_are_filtered_sorted_and_paged(doors: Doors) -> None:
    for session, name in (("c", "Anna"), ("a", "anna two"), ("b", "Bob")):
        await doors.client.create_session(session, name)
    await doors.client.stop_session("b")
    token = await doors.token(Scope.READ)

    async def listed(query: str) -> tuple[list[str], int]:
        async with doors.http(token) as http, http.get(f"/v1/sessions?{query}") as response:
            found = await response.json()
            return [view["id"] for view in found["sessions"]], found["total"]

    assert await listed("") == (["a", "b", "c"], 3)
    assert await listed("state=new&state=failed") == (["a", "c"], 2)
    assert await listed("text=ANNA&sort=name") == (["c", "a"], 2)
    assert await listed("sort=created_at&descending=true&limit=2") == (["b", "a"], 3)
    assert await listed("offset=2&limit=2") == (["c"], 3)
    assert await doors.status(token, "GET", "/v1/sessions?sort=colour") == 400


async def test_live_settings_are_written_and_in_force_at_once(doors: Doors) -> None:
    token = await doors.token(Scope.ADMIN)
    file = doors.rig.settings.paths.state_dir / "rig.toml"
    file.write_text("[pairing]\nslots = 3  # as it was\n")
    async with doors.http(token) as http:
        body = {"changes": {"pairing.slots": 5, "alerts.urls": ["ntfy://example"], "history.keep_days": 7.5}}
        async with http.patch("/v1/config", json=body) as response:
            shown = {f"{one['section']}.{one['key']}": one["value"] for one in (await response.json())["settings"]}
        assert (response.status, shown["pairing.slots"], shown["history.keep_days"]) == (200, 5, 7.5)
        assert shown["alerts.urls"] == "···"
        assert "slots = 5  # as it was" in file.read_text()
        before = file.read_text()
        for changes, status in (
            ({"pairing.slots": 99}, 400),
            ({"pairing.slots": 6, "pairing.tries": "many"}, 400),
            ({"pairing.nothing": 1}, 400),
            ({"api.listen": "0.0.0.0:1"}, 409),
            ({"limits.sessions": 9}, 409),
        ):
            async with http.patch("/v1/config", json={"changes": changes}) as response:
                assert response.status == status, changes
        assert file.read_text() == before, "all or nothing"
        async with http.patch("/v1/config", json={"changes": {"pairing.slots": None}}) as response:
            assert (await response.json())["settings"][0]["value"] == 0
    entry = (await doors.client.audit()).items[0]
    assert (entry.action, entry.status) == ("config_change", 200)


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate that names itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    chain, secret = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    secret.write_bytes(key.private_bytes(*form))
    return chain, secret


async def presented(port: int) -> bytes:
    """The certificate that the door shows now."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with asyncio.timeout(WAIT_S):
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        shown: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return shown


async def test_tls_with_a_certificate_that_is_renewed(
    tmp_path: Path, database: Database, bus: EventBus, redis_server: RedisServer
) -> None:
    chain, key = certificate(tmp_path, "first")
    async with open_doors(tmp_path, database, bus, api_certificate=str(chain), api_key=str(key)) as doors:
        port = doors.rig.server.tcp.port
        trusting = ssl.create_default_context(cafile=str(chain))
        url = f"https://127.0.0.1:{port}/livez"
        async with aiohttp.ClientSession() as http, http.get(url, ssl=trusting) as response:
            assert await response.text() == "ok\n"
        async with aiohttp.ClientSession() as http:
            with pytest.raises(aiohttp.ClientError):
                await http.get(f"http://127.0.0.1:{port}/livez")
        before = await presented(port)
        certificate(tmp_path, "second")
        doors.rig.server.tcp.renew_certificate()
        assert await presented(port) != before
        await doors.rig.access.audit.flush()
        assert "handshake_failed" in {one.action for one in (await doors.client.audit()).items}


async def test_half_a_handshake_is_counted(
    tmp_path: Path, database: Database, bus: EventBus, redis_server: RedisServer
) -> None:
    chain, key = certificate(tmp_path, "first")
    variables = {"api_certificate": str(chain), "api_key": str(key), "api_connections": "20"}
    async with open_doors(tmp_path, database, bus, **variables) as doors:
        port = doors.rig.server.tcp.port
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(60)]
        assert await presented(port)
        for _, writer in silent:
            writer.close()
        await doors.rig.access.audit.flush()
        rows = [one for one in (await doors.client.audit()).items if one.action == "silent_when_full"]
        assert sum(one.count for one in rows) >= 40


async def test_behind_a_proxy_only_the_proxy_gets_in(
    tmp_path: Path, database: Database, bus: EventBus, redis_server: RedisServer
) -> None:
    port = free_port()
    async with (
        ApiRig.open(tmp_path, database, bus, api_listen=f"0.0.0.0:{port}", api_trusted_proxies="127.9.0.1") as rig,
        ApplianceClient(rig.socket) as client,
    ):
        made = await client.create_token("one", Scope.OPERATE)
        connector = aiohttp.TCPConnector(local_addr=("127.9.0.1", 0))
        headers = {"Authorization": f"Bearer {made.secret}", "X-Forwarded-For": "198.51.100.7"}
        async with aiohttp.ClientSession(connector=connector, headers=headers) as http:
            body = {"id": "anna"}
            async with http.post(f"http://127.0.0.1:{port}/v1/sessions", json=body) as response:
                assert response.status == 201
        (entry,) = (await client.audit(who="one")).items
        assert entry.address == "198.51.100.7"


async def test_a_place_that_is_taken_is_said(
    tmp_path: Path, database: Database, bus: EventBus, redis_server: RedisServer
) -> None:
    async with open_doors(tmp_path, database, bus) as doors:
        taken = str(doors.rig.server.tcp.port)
        other = tmp_path / "other"
        (other / "run").mkdir(parents=True)
        with pytest.raises(PeerError, match=rf"api\.listen: 127\.0\.0\.1:{taken}: Address already in use"):
            async with ApiRig.open(other, database, bus, api_listen=f"127.0.0.1:{taken}"):
                pass
        assert not (other / "run" / "api.sock").exists()
