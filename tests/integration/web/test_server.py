"""The page's server and its viewers, real processes on loopback, asked by a client that keeps to no browser's rules."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest

from tui.web.guard import Door
from tui.web.server import WebServer

TOKEN = "a-token-of-more-than-thirty-two-characters"
COMMAND = (sys.executable, "-P", "-m", "tui", "--demo", "--sessions", "3")
PATIENCE_S = 30.0


@pytest.fixture
async def server() -> AsyncIterator[WebServer]:
    async with WebServer(Door(host="127.0.0.1", port=0), TOKEN, COMMAND, viewers_max=2) as running:
        yield running


@pytest.fixture
async def stranger(server: WebServer) -> AsyncIterator[aiohttp.ClientSession]:
    """Has no token."""
    jar = aiohttp.CookieJar(unsafe=True)  # unsafe: also for hosts that are numbers
    async with aiohttp.ClientSession(server.door.address, cookie_jar=jar) as http:
        yield http


@pytest.fixture
async def person(stranger: aiohttp.ClientSession) -> aiohttp.ClientSession:
    """Has opened the address with the token."""
    async with stranger.get("/", params={"token": TOKEN}) as response:
        assert response.status == 200
    return stranger


def page_of(server: WebServer) -> dict[str, str]:
    return {"Origin": server.door.address.rstrip("/")}


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not reached():  # noqa: ASYNC110 - a process's end is told to its parent only
            await asyncio.sleep(0.02)


async def painted(socket: aiohttp.ClientWebSocketResponse) -> bytes:
    """What a viewer has painted once the list of sessions is there."""
    picture = b""
    async with asyncio.timeout(PATIENCE_S):
        while b"Awa" not in picture:
            message = await socket.receive()
            assert message.type is aiohttp.WSMsgType.BINARY, message
            picture += message.data
    return picture


def is_alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def pids(server: WebServer) -> list[int]:
    return [viewer._process.pid for viewer in server._open if viewer._process is not None]


@pytest.mark.parametrize("path", ["/", "/ws", "/static/js/textual.js", "/page/page.js", "/nothing"])
async def test_without_the_token_there_is_nothing_to_see(stranger: aiohttp.ClientSession, path: str) -> None:
    async with stranger.get(path) as response:
        assert response.status == 401
        assert "opens only with the token" in await response.text()
    async with stranger.get(path, params={"token": TOKEN[:-1]}) as response:
        assert response.status == 403
        assert "Set-Cookie" not in response.headers


async def test_the_token_becomes_a_cookie_that_neither_scripts_nor_other_sites_can_use(
    server: WebServer, stranger: aiohttp.ClientSession
) -> None:
    async with stranger.get("/", params={"token": TOKEN}, allow_redirects=False) as response:
        cookie = response.headers["Set-Cookie"]
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["Cache-Control"] == "no-store"
    assert cookie.startswith(f"amda-web-{server.door.port}=")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert TOKEN not in cookie
    async with stranger.get("/") as response:
        assert response.status == 200
        assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
        assert "https:" not in await response.text(), "nothing is asked of anybody else"


async def test_a_name_that_was_pointed_here_is_not_ours(person: aiohttp.ClientSession) -> None:
    async with person.get("/", headers={"Host": "rebound.example"}) as response:
        assert response.status == 421
    async with person.get("/", headers={"Host": "localhost:9999"}) as response:
        assert response.status != 421, "the other end of a tunnel may have another port"


@pytest.mark.parametrize("origin", [None, "null", "http://127.0.0.1:1", "http://evil.example", "https://127.0.0.1"])
async def test_no_page_but_ours_opens_the_websocket(
    server: WebServer, person: aiohttp.ClientSession, origin: str | None
) -> None:
    headers = {} if origin is None else {"Origin": origin}
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await person.ws_connect("/ws", headers=headers)
    assert refused.value.status == 403
    assert server.viewers == 0


async def test_a_viewer_lives_as_long_as_its_page(server: WebServer, person: aiohttp.ClientSession) -> None:
    async with person.ws_connect("/ws?width=90&height=30", headers=page_of(server)) as socket:
        assert b"Sessions" in await painted(socket)
        (pid,) = pids(server)
        await socket.send_json(["resize", {"width": 100, "height": 40}])
        await socket.send_json(["ping", "7"])
        async with asyncio.timeout(PATIENCE_S):
            while (message := await socket.receive()).type is not aiohttp.WSMsgType.TEXT:
                pass
        assert message.json() == ["pong", "7"]
    await until(lambda: server.viewers == 0)
    assert not is_alive(pid)


async def test_a_page_ends_with_its_viewer(server: WebServer, person: aiohttp.ClientSession) -> None:
    async with person.ws_connect("/ws", headers=page_of(server)) as socket:
        await painted(socket)
        await socket.send_json(["stdin", "q"])
        async with asyncio.timeout(PATIENCE_S):
            async for _message in socket:
                pass
        assert socket.closed
    await until(lambda: server.viewers == 0)


@pytest.mark.parametrize("nonsense", ["", "[]", "{", '["resize", {"width": "wide"}]', '["resize", {"width": 1e99}]'])
async def test_who_speaks_nonsense_is_cut(server: WebServer, person: aiohttp.ClientSession, nonsense: str) -> None:
    async with person.ws_connect("/ws", headers=page_of(server)) as socket:
        await socket.send_str(nonsense)
        async with asyncio.timeout(PATIENCE_S):
            async for _message in socket:
                pass
        assert socket.close_code == aiohttp.WSCloseCode.UNSUPPORTED_DATA
    await until(lambda: server.viewers == 0)


async def test_no_more_pages_than_allowed(server: WebServer, person: aiohttp.ClientSession) -> None:
    async with (
        person.ws_connect("/ws", headers=page_of(server)),
        person.ws_connect("/ws", headers=page_of(server)),
    ):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await person.ws_connect("/ws", headers=page_of(server))
        assert refused.value.status == 503
        async with person.get("/") as response:
            assert response.status == 503
            assert "--viewers" in await response.text()
    await until(lambda: server.viewers == 0)


async def test_an_ending_server_takes_its_viewers_along() -> None:
    async with (
        WebServer(Door(host="127.0.0.1", port=0), TOKEN, COMMAND, viewers_max=2) as server,
        aiohttp.ClientSession(server.door.address, cookie_jar=aiohttp.CookieJar(unsafe=True)) as http,
    ):
        async with http.get("/", params={"token": TOKEN}):
            pass
        socket = await http.ws_connect("/ws", headers=page_of(server))
        await painted(socket)
        (pid,) = pids(server)
        await server.__aexit__(None, None, None)
        assert not is_alive(pid)
        assert server.viewers == 0
