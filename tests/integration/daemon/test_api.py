"""The API through its own client, on a real socket, database and Redis; only the sessions are a fake."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NoReturn

import aiohttp
import pytest

from appliance.api.access import Access
from appliance.api.server import ApiServer
from appliance.api.settings import ApiSettings
from appliance.client import ApiError, ApplianceClient, NotRunningError
from appliance.config import Limits
from appliance.database import Database
from appliance.model import Category, PairingState, PairMethod, SessionState
from appliance.protocol import Paired, PairShown, Signal, SignalKind
from appliance.recent_log import RECENT
from appliance.redis_server import RedisServer
from tests.integration.daemon.rig import DATA, ApiRig
from tests.unit.media.compression.conftest import photo


@pytest.fixture
async def client(api_rig: ApiRig) -> AsyncIterator[ApplianceClient]:
    async with ApplianceClient(api_rig.socket) as opened:
        yield opened


async def test_sessions_from_creation_to_removal(api_rig: ApiRig, client: ApplianceClient) -> None:
    created = await client.create_session("one", "First")
    assert (created.id, created.name, created.state) == ("one", "First", SessionState.NEW)
    assert [view.id for view in await client.sessions()] == ["one"]
    assert (await client.start_session("one")).state is SessionState.CONNECTING
    assert (await client.stop_session("one")).state is SessionState.STOPPED
    await client.remove_session("one", purge=True)
    assert api_rig.sessions.removed == [("one", True)]
    with pytest.raises(ApiError) as caught:
        await client.session("one")
    assert (caught.value.problem.status, caught.value.remedy) == (404, "List them: amda session list")


async def test_wrong_input_names_field_and_remedy(api_rig: ApiRig, client: ApplianceClient) -> None:
    with pytest.raises(ApiError) as caught:
        await client.create_session("Bad Id")
    assert (caught.value.problem.status, caught.value.problem.field) == (400, "id")
    for number in range(3):
        await client.create_session(f"s{number}")
    with pytest.raises(ApiError, match="3 sessions already"):
        await client.create_session("s4")


async def test_every_error_is_a_problem(api_rig: ApiRig) -> None:
    cases = [
        ("GET", "/v1/nothing", None, 404, ""),
        ("PUT", "/v1/sessions", None, 405, ""),
        ("POST", "/v1/sessions", b"{", 400, "body"),
        ("POST", "/v1/sessions", b"{}", 400, "id"),
        ("POST", "/v1/sessions", b'{"id":"x","idd":1}', 400, "idd"),
        ("POST", "/v1/sessions", b"id=x", 415, "Content-Type"),
        ("POST", "/v1/sessions", b" " * 5000, 413, ""),
        ("GET", "/v1/media?limit=0", None, 400, "limit"),
        ("GET", "/v1/media?cursor=%00", None, 400, "cursor"),
        ("GET", "/v1/media?colour=red", None, 400, "colour"),
        ("GET", "/v1/events?after=-1", None, 400, "after"),
        ("GET", "/v1/media/../../etc/passwd", None, 404, ""),
    ]
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(api_rig.socket))) as http:
        for method, path, body, status, field in cases:
            kind = "text/plain" if status == 415 else "application/json"
            headers = {"Content-Type": kind}
            async with http.request(method, f"http://amda{path}", data=body, headers=headers) as response:
                assert response.status == status, path
                assert response.content_type == "application/problem+json"
                found = await response.json(content_type=None)
                assert (found["status"], found.get("field", "")) == (status, field), path
                assert found["title"]
                assert found["remedy"]
                assert found["type"].startswith("urn:amda:problem:")
                assert response.headers.get("Allow") == ("GET, HEAD, POST" if status == 405 else None)


async def test_linking_by_code_is_followed_to_its_end(api_rig: ApiRig, client: ApplianceClient) -> None:
    await client.create_session("one")
    view = await client.pair("one", phone="+221 77 123 45 12")
    worker = await api_rig.sessions.begun.get()
    worker.report(PairShown(method=PairMethod.CODE, value="ABCD-EFGH", expires_at=time.time() + 100))
    codes, last = [], view
    async with asyncio.timeout(10):
        async for found in client.follow_pairing(view):
            last = found
            if found.code:
                codes.append(found.code)
                worker.report(Paired(jid="221771234512:1@s.whatsapp.net", lid="1@lid"))
                worker.report(Signal(kind=SignalKind.CONNECTED))
    assert codes == ["ABCD-EFGH"]
    assert last.state is PairingState.LINKED
    assert [found.id for found in await client.pairings("one")] == [view.id]


async def test_refusals_of_linking_reach_the_caller(
    api_rig: ApiRig, client: ApplianceClient, redis_server: RedisServer
) -> None:
    await client.create_session("one")
    with pytest.raises(ApiError, match="starts with 0"):
        await client.pair("one", phone="0771234512")
    await redis_server.stop()
    with pytest.raises(ApiError, match="Redis is not running") as caught:
        await client.pair("one", phone="+221771234512")
    assert (caught.value.problem.status, caught.value.retry_after_s) == (503, 30.0)


async def test_media_is_listed_and_streamed_whole_and_in_part(api_rig: ApiRig, client: ApplianceClient) -> None:
    await client.create_session("one")
    for number in range(5):
        await api_rig.capture("one", f"M{number}", DATA + bytes([number]))
    items = [item async for item in client.all_media(session="one", category=Category.VIEW_ONCE, page=2)]
    assert sorted(item.message_id for item in items) == [f"M{number}" for number in range(5)]
    assert items[0].sender == "+22177·····12@s.whatsapp.net"
    content = b"".join([piece async for piece in client.media_content(items[0].id)])
    assert hashlib.sha256(content).hexdigest() == items[0].sha256
    url = f"http://amda/v1/media/{items[0].id}/content"
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(api_rig.socket))) as http:
        async with http.get(url, headers={"Range": "bytes=8-11"}) as response:
            assert (response.status, await response.read()) == (206, b"\x00\x01\x02\x03")
            assert response.headers["Content-Range"] == f"bytes 8-11/{len(content)}"
        async with http.get(url, headers={"Range": "bytes=-1"}) as response:
            assert await response.read() == content[-1:]
        async with http.get(url, headers={"Range": "bytes=999999-"}) as response:
            assert response.status == 416
    assert (await client.session("one")).media_count == 5
    with pytest.raises(ApiError, match="no media item"):
        await client.media_item("nothing")


async def test_events_resume_where_they_were(api_rig: ApiRig, client: ApplianceClient) -> None:
    for number in range(3):
        await api_rig.bus.publish("media.stored", "one", number=number)
    await api_rig.bus.publish("session.state", "two", state="online")
    seen = []
    async with asyncio.timeout(5):
        async for event in client.events(after=1, session="one"):
            seen.append(event)
            if len(seen) == 2:
                break
        async for event in client.events(after=0, kind="session"):
            seen.append(event)
            break
    assert [event.seq for event in seen] == [2, 3, 4]
    assert seen[0].data == {"number": 1}
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(api_rig.socket))) as http,
        http.get("http://amda/v1/events?after=0", headers={"Last-Event-ID": "3"}) as response,
    ):
        while not (line := await response.content.readline()).startswith(b"id:"):
            assert line
        assert line == b"id: 4\n"


async def test_status_names_what_is_degraded(
    api_rig: ApiRig, client: ApplianceClient, redis_server: RedisServer
) -> None:
    await client.create_session("one")
    status = await client.status()
    assert status.sessions == {SessionState.NEW: 1}
    assert (status.network, status.degraded) == ("whatsapp", [])
    await redis_server.stop()
    ready = await client.readiness()
    assert ready.ready
    assert [part.part for part in ready.degraded] == ["redis"]
    api_rig.sessions.fork_server_trouble = "nobody listens there any more"
    ready = await client.readiness()
    assert not ready.ready
    assert {part.part for part in ready.degraded} == {"redis", "forkserver"}
    assert all(part.remedy for part in ready.degraded)
    assert (await client.version()).release
    assert any(setting.key == "state_dir" for setting in await client.config())


async def test_socket_is_for_user_and_group_only(api_rig: ApiRig) -> None:
    assert api_rig.socket.stat().st_mode & 0o777 == 0o660


async def test_nobody_there_is_said_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for socket in (tmp_path / "run" / "api.sock", tmp_path / "missing" / "api.sock"):
        with pytest.raises(NotRunningError, match="not running") as caught:
            async with ApplianceClient(socket) as client:
                await client.status()
        assert "amda run" in caught.value.remedy


async def test_whoever_may_not_is_told_so_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    client = ApplianceClient(tmp_path / "api.sock")
    monkeypatch.setattr("appliance.client.os.open", denied)  # root, who runs tests, may open everything
    with pytest.raises(NotRunningError, match="You may not speak") as caught:
        await client.__aenter__()
    assert "usermod" in caught.value.remedy


async def test_deep_folders_work(tmp_path: Path, database: Database) -> None:
    folder = tmp_path.joinpath(*["deep" * 10] * 4)
    folder.mkdir(parents=True)
    server = ApiServer([], folder / "api.sock", Limits(), await Access.open(database, ApiSettings()))
    await server.start()
    async with ApplianceClient(folder / "api.sock") as client:
        with pytest.raises(ApiError, match="nothing at"):
            await client.status()
    await server.stop()
    assert not (folder / "api.sock").exists()


async def test_the_api_describes_itself(api_rig: ApiRig) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(api_rig.socket))) as http:
        async with http.get("http://amda/v1/openapi.json") as response:
            assert response.status == 200
            described, tag = await response.json(), response.headers["ETag"]
        async with http.get("http://amda/v1/openapi.json", headers={"If-None-Match": tag}) as response:
            assert (response.status, await response.read()) == (304, b"")
        async with http.get("http://amda/v1/docs") as response:
            assert "POST /v1/pairings" in await response.text()
    declared = {(route.path, route.method.lower()) for route in api_rig.routes}
    assert {(path, method) for path, methods in described["paths"].items() for method in methods} == declared
    assert all(operation["summary"] for methods in described["paths"].values() for operation in methods.values())


async def test_what_the_parts_use(client: ApplianceClient) -> None:
    system = await client.system()
    parts = {part.name: part for part in system.parts}
    assert set(parts) >= {"daemon", "forkserver", "workers", "redis"}
    assert parts["daemon"].memory_bytes
    assert parts["forkserver"].processes == 0
    assert (system.redis.trouble, system.redis.durable, parts["redis"].processes) == ("", True, 1)
    assert system.redis.answer_s is not None
    assert (system.store.kind, system.store.used_bytes) == ("folder", 0)
    assert (system.spool.items, system.spool.set_aside) == (0, 0)


async def test_everybody_s_log_over_the_api(api_rig: ApiRig, client: ApplianceClient, database: Database) -> None:
    store = api_rig.settings.paths.sessions / "awa" / "store"
    store.mkdir(parents=True)
    (store / "worker.log").write_text('{"at":7.0,"level":"WARN","text":"said by +221771234567"}\n')
    await database.execute(
        "INSERT INTO sessions (id, name, node_id, state, since, created_at, store_url)"
        " VALUES ('awa', '', 'n', 'new', 0, 0, ?)",
        (store.as_uri(),),
    )
    RECENT.handle(logging.LogRecord("a", logging.ERROR, "a.py", 1, "the daemon's own", None, None))
    found = [entry async for entry in client.logs()]
    assert (found[0].session, found[0].level) == ("awa", "warning")
    assert "771234" not in found[0].text
    assert found[-1].text == "the daemon's own"
    stream = client.logs(lines=1, follow=True)
    assert (await anext(stream)).text == "the daemon's own"
    with (store / "worker.log").open("a") as log:
        log.write('{"at":8.0,"level":"INFO","text":"goes on"}\n')
    assert (await anext(stream)).text == "goes on"
    await stream.aclose()  # type: ignore[attr-defined]


async def test_a_picture_s_pixels_and_none_of_what_is_no_picture(api_rig: ApiRig, client: ApplianceClient) -> None:
    await client.create_session("one")
    await api_rig.capture("one", "M1", photo(800, 600))
    await api_rig.capture("one", "M2")  # says that it is a PNG
    items = {item.message_id: item.id for item in (await client.media()).items}
    pixels = await client.media_pixels(items["M1"], 60, 60)
    assert (pixels.width, pixels.height, len(pixels.rgb)) == (60, 45, 3 * 60 * 45)
    for name, status in ((items["M2"], 409), ("nothing", 404)):
        with pytest.raises(ApiError) as caught:
            await client.media_pixels(name, 60, 60)
        assert caught.value.problem.status == status
