"""Bounds in time of one connection: they are the client's, not ours."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import cast

import pytest
from aiohttp import web

from appliance.api.audit_log import AuditLog, Deed
from appliance.api.connection import Connection
from appliance.api.gatekeeper import Peer
from appliance.api.settings import ApiSettings

HEADER_S = 0.3
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Refusals:
    def __init__(self) -> None:
        self.why: list[str] = []

    def refuse(self, deed: Deed) -> None:
        self.why.append(deed.action)


async def connected(refusals: Refusals) -> tuple[Connection, socket.socket]:
    """A connection and its client's end."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        connection = cast("Connection", request.protocol)
        connection.begin()
        connection.end()
        return web.Response(text="well")

    ours, theirs = socket.socketpair()
    theirs.settimeout(0)
    settings = ApiSettings(header_s=HEADER_S)
    peer = Peer(door="unix", address="", who="somebody")
    audit = cast("AuditLog", refusals)
    made = Connection(web.Server(handle), peer, settings, audit, lambda: None, lambda: None)
    await asyncio.get_running_loop().connect_accepted_socket(lambda: made, ours)
    return made, theirs


@pytest.mark.parametrize("requests", [1, 2])
async def test_a_loop_that_is_held_up_does_not_blame_the_client(requests: int) -> None:
    """The first request of a connection, and one that comes later on it."""
    refusals, loop = Refusals(), asyncio.get_running_loop()
    connection, client = await connected(refusals)
    with client:
        for _ in range(requests):
            client.sendall(REQUEST)
            time.sleep(2 * HEADER_S)  # noqa: ASYNC251 - what holds it up
            async with asyncio.timeout(5):
                assert b" 200 " in await loop.sock_recv(client, 65536)
        assert refusals.why == []
        connection.force_close()


async def test_a_client_that_does_not_end_its_headers_is_cut() -> None:
    refusals, loop = Refusals(), asyncio.get_running_loop()
    _, client = await connected(refusals)
    with client:
        client.sendall(REQUEST[:-2])
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):
                assert await loop.sock_recv(client, 65536) == b""
        assert refusals.why == ["slow_header"]
