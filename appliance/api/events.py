"""/v1/events: server-sent events, resumable by `Last-Event-ID` (WHATWG HTML, server-sent events)."""

from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from aiohttp import web

from appliance.api.routes import EVENT_STREAM, Call, Route, get
from appliance.api.streams import COMMENT, COMMENT_S, open_stream
from appliance.events import EventBus
from appliance.model import EventView
from appliance.model_api import EventsQuery
from appliance.model_events import EventTypeList, event_types
from appliance.problems import invalid

FRAMES_KEPT: Final = 256
"""What a thousand subscribers are sent at about the same time, those included that come back after some seconds."""


class Frames:
    """Events as they are sent: each is encoded once, for however many subscribers."""

    def __init__(self) -> None:
        self._made: collections.OrderedDict[int, bytes] = collections.OrderedDict()

    def of(self, event: EventView) -> bytes:
        if (frame := self._made.get(event.seq)) is None:
            data = msgspec.json.encode(event)
            frame = b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, event.type.encode(), data)
            self._made[event.seq] = frame
            if len(self._made) > FRAMES_KEPT:
                self._made.popitem(last=False)
        return frame


class EventsResource:
    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self._frames = Frames()
        self._streams = 0
        self._pulse: asyncio.Task[None] | None = None

    def routes(self) -> Sequence[Route]:
        headers = ("Last-Event-ID",)
        return (
            get("/v1/events", self.stream, produces=EVENT_STREAM, endless=True, headers=headers),
            get("/v1/events/types", self.types, own_session_check=True),
        )

    async def stream(self, call: Call, query: EventsQuery) -> web.StreamResponse:
        """What happens, as server-sent events that never end; each one's data is an `EventView`.

        Each event has a number that only grows; a client that comes back with `Last-Event-ID` misses nothing that is
        still kept.
        """
        after = _after(call.request, query)
        batches = self._bus.follow(self._bus.last_seq if after is None else after)
        response = await open_stream(call.request)
        # Who leaves is found out when writing. An error that went up to the framework would hold its own frames and
        # all that they know of the connection, until a collection of garbage that holds up everybody else.
        with self._commenting(), contextlib.suppress(ConnectionError):
            async for batch in batches:
                if frames := b"".join([self._frames.of(event) for event in batch if _matches(event, query)]):
                    await response.write(frames)
                elif not batch:
                    await response.write(COMMENT)
        return response

    async def types(self) -> EventTypeList:
        """Every type of event, and what it means."""
        return EventTypeList(types=event_types())

    @contextlib.contextmanager
    def _commenting(self) -> Iterator[None]:
        """All streams are sent a comment now and then, at about the same time: one timer does for all of them."""
        self._streams += 1
        if self._pulse is None:
            self._pulse = asyncio.create_task(self._nudge(), name="comments")
        try:
            yield
        finally:
            self._streams -= 1
            if not self._streams and self._pulse is not None:
                self._pulse.cancel()
                self._pulse = None

    async def _nudge(self) -> None:
        while True:
            await asyncio.sleep(COMMENT_S)
            await self._bus.nudge()


def _after(request: web.Request, query: EventsQuery) -> int | None:
    header = request.headers.get("Last-Event-ID", "").strip()
    if not header:
        return query.after
    if not (header.isascii() and header.isdigit()):
        raise invalid("Last-Event-ID", "Last-Event-ID: not the number of an event.", "Leave it out to begin now.")
    return int(header)


def _matches(event: EventView, query: EventsQuery) -> bool:
    wanted = not query.type or event.type.startswith(query.type)
    return wanted and (query.session is None or event.session == query.session)
