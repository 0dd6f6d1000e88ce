"""The small HTTP client against servers that answer byte by byte what the test says."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import client_wire
from appliance.client import ApiError, ApplianceClient, ClientError, NotRunningError
from appliance.client_wire import BrokenOffError, Response


@contextlib.asynccontextmanager
async def answering(socket: Path, answer: bytes, *, piece: int = 1 << 20) -> AsyncIterator[list[bytes]]:
    """A server that sends `answer` in pieces of that size and hangs up; yields the requests that it gets."""
    requests: list[bytes] = []

    async def on_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        for start in range(0, len(answer), piece):
            writer.write(answer[start : start + piece])
            await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(on_client, socket)
    async with server:
        yield requests


async def body_of(socket: Path, answer: bytes, *, piece: int = 1 << 20) -> bytes:
    async with (
        answering(socket, answer, piece=piece),
        client_wire.request(str(socket), "GET", "/x", {}, None, 5) as response,
    ):
        return await response.read()


def chunked(*chunks: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        chunked(b"he", b"l", b"lo"),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n5;note=x\r\nhello\r\n0\r\n\r\n",
    ],
)
async def test_reads_a_body_however_it_is_delimited(tmp_path: Path, answer: bytes, piece: int) -> None:
    assert await body_of(tmp_path / "s", answer, piece=piece) == b"hello"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nhello",
        chunked(b"hello")[:-5],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_an_answer_that_is_cut_or_no_http_is_an_error(tmp_path: Path, answer: bytes) -> None:
    with pytest.raises(BrokenOffError):
        await body_of(tmp_path / "s", answer)


@given(st.lists(st.binary(max_size=30), max_size=8))
def test_lines_are_whole_wherever_the_pieces_end(pieces: list[bytes]) -> None:
    async def collect() -> list[bytes]:
        reader = asyncio.StreamReader()
        reader.feed_data(chunked(*filter(None, pieces)).partition(b"\r\n\r\n")[2])
        reader.feed_eof()
        response = Response(reader, 200, "OK", {"transfer-encoding": "chunked"})
        return [line async for line in response.lines()]

    *whole, rest = b"".join(pieces).split(b"\n")
    assert asyncio.run(collect()) == [line + b"\n" for line in whole] + ([rest] if rest else [])


async def test_asks_for_what_it_was_told_to(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    async with answering(tmp_path / "s", answer) as requests:
        query = {"text": "a b&c", "since": "1.5"}
        async with client_wire.request(str(tmp_path / "s"), "POST", "/v1/a b?c", query, b"{}", 5) as response:
            assert (response.status, response.reason, await response.read()) == (200, "OK", b"")
    head = requests[0].decode()
    assert head.startswith("POST /v1/a%20b%3Fc?text=a+b%26c&since=1.5 HTTP/1.1\r\n")
    assert "Content-Length: 2\r\n" in head


async def test_the_client_explains_what_is_wrong(tmp_path: Path) -> None:
    client = ApplianceClient(tmp_path / "s")
    with pytest.raises(ClientError, match="not open"):
        await client.status()
    async with client:
        with pytest.raises(NotRunningError):
            await client.status()
        async with answering(tmp_path / "s", b"HTTP/1.1 503 Away\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\nno"):
            with pytest.raises(ApiError, match="Away") as caught:
                await client.status()
    assert caught.value.retry_after_s == 7
