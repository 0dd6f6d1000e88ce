"""HTTP/1.1 as far as the API speaks it, over its unix socket: one connection for each request.

A general HTTP library costs a third of a second and fourteen megabytes in every `amda` command and in every terminal
interface, before the first byte is sent; our own daemon is the only server that is ever spoken to here. What is
understood: a body by length, in chunks, or until the end of the connection (RFC 9112, sections 6 and 7).
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final, TypeVar
from urllib.parse import quote, urlencode

import msgspec

_PIECE_BYTES: Final = 256 * 1024
"""Read at a time; also what all headers together may have."""
Query = Mapping[str, str] | Sequence[tuple[str, str]]
"""Parameters of a request; pairs where a name comes several times."""
_JSON_HEADERS: Final = "Content-Type: application/json\r\n"

T = TypeVar("T")


class BrokenOffError(ConnectionError):
    """The answer ended before it was complete, or is not HTTP."""


class Response:
    """An answer; `status`, `reason` and `headers` (names in lower case) are there, its body is read as it comes."""

    def __init__(self, reader: asyncio.StreamReader, status: int, reason: str, headers: Mapping[str, str]) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self._reader = reader
        self._content: bytes | None = None

    async def read(self) -> bytes:
        """All of it, however often it is asked for. Raises BrokenOffError."""
        if self._content is None:
            self._content = b"".join([piece async for piece in self.pieces()])
        return self._content

    async def pieces(self) -> AsyncIterator[bytes]:
        """As it arrives. Raises BrokenOffError if it ends too early."""
        try:
            if "chunked" in self.headers.get("transfer-encoding", "").lower():
                async for piece in self._chunks():
                    yield piece
            elif (length := self.headers.get("content-length")) is not None:
                async for piece in self._exactly(int(length)):
                    yield piece
            else:
                while piece := await self._reader.read(_PIECE_BYTES):
                    yield piece
        except (asyncio.IncompleteReadError, ConnectionError, ValueError) as error:
            raise BrokenOffError(f"the answer broke off: {error}") from error

    async def lines(self) -> AsyncIterator[bytes]:
        """Line by line, each with its end. Raises BrokenOffError if it ends too early."""
        rest = b""
        async for piece in self.pieces():
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                yield line + b"\n"
        if rest:
            yield rest

    async def _exactly(self, left: int) -> AsyncIterator[bytes]:
        while left:
            piece = await self._reader.read(min(left, _PIECE_BYTES))
            if not piece:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(piece)
            yield piece

    async def _chunks(self) -> AsyncIterator[bytes]:
        while size := int((await self._reader.readuntil(b"\r\n")).partition(b";")[0], 16):
            async for piece in self._exactly(size):
                yield piece
            await self._reader.readexactly(2)


class Calls(abc.ABC):
    """What groups of calls have in common. `client.ApplianceClient` is all of them, and says how a request is made."""

    @abc.abstractmethod
    def _request(
        self,
        method: str,
        path: str,
        query: Query,
        *,
        body: msgspec.Struct | None = None,
        accept: tuple[int, ...] = (),
        endless: bool = False,
    ) -> contextlib.AbstractAsyncContextManager[Response]:
        """Ask. `accept`: statuses from 400 on that are an answer, too. `endless`: its body is read as it comes."""

    async def _call(
        self,
        method: str,
        path: str,
        kind: type[T],
        body: msgspec.Struct | None = None,
        query: Query | None = None,
        accept: tuple[int, ...] = (),
    ) -> T:
        """Ask, and make a `kind` of the answer."""
        async with self._request(method, path, query or {}, body=body, accept=accept) as response:
            return msgspec.json.decode(await response.read(), type=kind)


def query_of(**values: object) -> dict[str, str]:
    """Parameters of a request; those that are None are left out."""
    return {name: str(value) for name, value in values.items() if value is not None}


@contextlib.asynccontextmanager
async def request(
    socket: str, method: str, path: str, query: Query, body: bytes | None, timeout_s: float, token: str | None = None
) -> AsyncIterator[Response]:
    """Ask once, on a connection of its own. `timeout_s`: until the headers have arrived.

    Raises OSError if nobody listens or the answer is not one, and TimeoutError.
    """
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_unix_connection(socket, limit=_PIECE_BYTES)
            writer.write(_head(method, path, query, body, token) + (body or b""))
            await writer.drain()
            response = await _response(reader)
        yield response
    finally:
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def _head(method: str, path: str, query: Query, body: bytes | None, token: str | None) -> bytes:
    target = quote(path, safe="/") + (f"?{urlencode(query)}" if query else "")
    content = "" if body is None else f"{_JSON_HEADERS}Content-Length: {len(body)}\r\n"
    if token is not None:
        content += f"Authorization: Bearer {token}\r\n"
    return f"{method} {target} HTTP/1.1\r\nHost: amda\r\nConnection: close\r\n{content}\r\n".encode()


async def _response(reader: asyncio.StreamReader) -> Response:
    try:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        _, status, *reason = lines[0].split(" ", 2)
        pairs = (line.partition(":") for line in lines[1:] if line)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        return Response(reader, int(status), " ".join(reason), headers)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
        raise BrokenOffError("the answer is not HTTP, or the connection ended") from error
