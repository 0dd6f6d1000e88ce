"""/v1/events: server-sent events, resumable by `Last-Event-ID` (WHATWG HTML, server-sent events)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec
from aiohttp import web

from appliance.api.routes import EVENT_STREAM, Call, Route, get
from appliance.api.streams import COMMENT, COMMENT_S, open_stream
from appliance.events import EventBus
from appliance.model import EventView
from appliance.model_api import EventsQuery
from appliance.model_events import EventTypeList, event_types
from appliance.problems import invalid


class EventsResource:
    def __init__(self, bus: EventBus) -> None:
        self._bus = bus

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
        events = self._bus.subscribe(_after(call.request, query))
        response = await open_stream(call.request)
        async for event in _with_pauses(events):
            if event is None:
                await response.write(COMMENT)
            elif _matches(event, query):
                data = msgspec.json.encode(event)
                await response.write(b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, event.type.encode(), data))
        return response

    async def types(self) -> EventTypeList:
        """Every type of event, and what it means."""
        return EventTypeList(types=event_types())


async def _with_pauses(events: AsyncIterator[EventView]) -> AsyncIterator[EventView | None]:
    """The events, and None whenever nothing came for a while."""
    waiting: asyncio.Task[EventView] | None = None
    try:
        while True:
            waiting = waiting or asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait([waiting], timeout=COMMENT_S)
            if not done:
                yield None
                continue
            try:
                event = waiting.result()
            except StopAsyncIteration:
                return
            waiting = None
            yield event
    finally:
        if waiting is not None:
            waiting.cancel()


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
