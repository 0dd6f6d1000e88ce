"""A thousand subscribers of events: each follows, drops its connection now and then, and goes on where it was.

They speak HTTP by themselves, as little of it as they need: a general client would cost the machine more than the
daemon that is measured.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Final

from appliance.bench.api_plan import LoadPlan, Series, origin

LIFE: Final = (0.15, 0.8)
"""How long a connection is kept before it is dropped, drawn evenly, as a part of the measured time."""
AWAY_S: Final = (0.05, 0.6)
"""How long it takes to come back."""
CONNECTS_PER_S: Final = 250.0
"""At the start; a back end that restarts is not faster."""
CONNECT_S: Final = 20.0
WRONG_KEPT: Final = 10
ANSWER_KEPT: Final = 300
"""Bytes of an answer that refuses: its headers and the beginning of the Problem."""
_OK: Final = b"HTTP/1.1 200 "
_BLOCK_END: Final = b"\n\n"
_ID: Final = b"id: "


class Tally:
    """What all subscribers have met."""

    """`wanted`: how many have to be connected until it can begin."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self.complete = asyncio.Event()
        self.connected = 0
        self.reconnections = 0
        self.disconnects = 0
        self.delivered = 0
        self.wrong: list[str] = []
        self.steady = asyncio.Event()
        """Once it is set nobody drops a connection any more."""

    def came(self) -> None:
        """One more is connected."""
        self.connected += 1
        if self.connected >= self._wanted:
            self.complete.set()

    def went_wrong(self, text: str) -> None:
        """Something that must not happen."""
        self.disconnects += 1
        if len(self.wrong) < WRONG_KEPT:
            self.wrong.append(text)


class _Stream(asyncio.Protocol):
    """One connection. `take` is called with each event's number; `begun` and `lost` say how far it is."""

    def __init__(self, take: Callable[[int], None]) -> None:
        loop = asyncio.get_running_loop()
        self.begun: asyncio.Future[bool] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()
        self.status = b""
        self._take = take
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        *blocks, self._rest = (self._rest + data).split(_BLOCK_END)
        for block in blocks:
            if not self.begun.done():  # the headers end with the first comment
                self.status = block.partition(b"\r\n")[0]
                self.begun.set_result(self.status.startswith(_OK))
            # Before the id stands the size of a chunk; JSON has no line feeds, and so no line of it looks like one.
            elif (place := block.rfind(_ID, 0, block.find(b"\nevent: ") + 1)) >= 0:
                self._take(int(block[place + len(_ID) : block.index(b"\n", place)]))
        if not self.begun.done() and len(self._rest) > len(_OK) and not self._rest.startswith(_OK):
            self._refuse()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if not self.begun.done():
            self._refuse()
        if not self.lost.done():
            self.lost.set_result(None)

    def _refuse(self) -> None:
        self.status = (self._rest or b"closed")[:ANSWER_KEPT]
        self.begun.set_result(False)


class Subscriber:
    """Follows from `plan.after` on until it is cancelled."""

    def __init__(self, number: int, plan: LoadPlan, tally: Tally) -> None:
        self.series = Series(plan.after)
        self._plan = plan
        self._tally = tally
        self._origin = origin(number)
        self._token = plan.tokens[number % len(plan.tokens)]
        self._chance = random.Random(plan.seed * 1_000_003 + number)  # noqa: S311 - repeatable on purpose

    async def run(self, delay_s: float) -> None:
        """`delay_s`: until it connects for the first time."""
        await asyncio.sleep(delay_s)
        first = True
        while True:
            await self._follow(first=first)
            first = False
            await asyncio.sleep(self._chance.uniform(*AWAY_S))

    async def _follow(self, *, first: bool) -> None:
        """One connection, from its beginning to its end."""
        loop, tally = asyncio.get_running_loop(), self._tally
        try:
            async with asyncio.timeout(CONNECT_S):
                transport, stream = await loop.create_connection(
                    lambda: _Stream(self._take), "127.0.0.1", self._plan.port, local_addr=(self._origin, 0)
                )
                transport.write(self._request())
                begun = await stream.begun
        except (OSError, TimeoutError) as error:
            tally.went_wrong(f"no connection from {self._origin}: {error or 'no answer'}")
            return
        if not begun:
            tally.went_wrong(f"refused to {self._origin}: {stream.status.decode('utf-8', 'replace')}")
            transport.abort()
            return
        tally.came()
        tally.reconnections += not first
        try:
            if await self._lost(stream):
                tally.went_wrong(f"a stream to {self._origin} ended")
        finally:
            tally.connected -= 1
            transport.abort()

    async def _lost(self, stream: _Stream) -> bool:
        """Until it is time to drop the connection; True if it ended before."""
        life_s = self._chance.uniform(*LIFE) * self._plan.seconds
        await asyncio.wait((stream.lost,), timeout=life_s)
        if self._tally.steady.is_set() and not stream.lost.done():
            await stream.lost
        return stream.lost.done()

    def _request(self) -> bytes:
        return (
            f"GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n"
            f"Authorization: Bearer {self._token}\r\nLast-Event-ID: {self.series.last}\r\n\r\n"
        ).encode()

    def _take(self, seq: int) -> None:
        self._tally.delivered += 1
        self.series.take(seq)
