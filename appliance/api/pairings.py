"""/v1/pairings: ask for a code or a QR code, follow an attempt, cancel it, lift a limit, see how it went day by day."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from aiohttp import web

from appliance.api.routes import EVENT_STREAM, Call, Creates, Route, get, post
from appliance.api.streams import COMMENT, COMMENT_S, open_stream
from appliance.model import PairingView
from appliance.model_api import (
    DaysQuery,
    LiftRequest,
    LiftResult,
    PairingDays,
    PairingList,
    PairingQuery,
    PairRequest,
    RelinkRequest,
    ResourceId,
    SessionId,
    WaitQuery,
)
from appliance.pairing.service import PairingService

EVENTS_PATH: Final = "/v1/pairings/{pairing}/events"


class PairingsResource:
    def __init__(self, pairing: PairingService) -> None:
        self._pairing = pairing

    def routes(self) -> Sequence[Route]:
        creates = Creates[PairingView](name=lambda view: view.id, recall=self._current)
        return (
            get("/v1/pairings", self.list),
            post("/v1/pairings", self.request, status=202, creates=creates),
            get("/v1/pairings/days", self.days),
            post("/v1/pairings/lift", self.lift),
            get("/v1/pairings/{pairing}", self.show, own_session_check=True),
            get(EVENTS_PATH, self.follow, produces=EVENT_STREAM, endless=True, own_session_check=True),
            post("/v1/sessions/{session}/relink", self.relink, status=202, creates=creates),
            post("/v1/pairings/{pairing}/cancel", self.cancel, own_session_check=True),
        )

    async def list(self, query: PairingQuery) -> PairingList:
        """Linking attempts, newest first."""
        return PairingList(pairings=await self._pairing.recent(query.session, query.limit))

    async def request(self, body: PairRequest) -> PairingView:
        """Ask for a code or a QR code to link a session.

        Asking again while an attempt is under way returns that attempt, with the code that it shows.
        """
        return await self._pairing.request(body.session, body.method, body.phone, relink=body.relink)

    async def relink(self, session: SessionId, body: RelinkRequest) -> PairingView:
        """Link a session again although it is linked; the old login is kept until the new one has succeeded."""
        return await self._pairing.request(session, body.method, body.phone, relink=True)

    async def show(self, call: Call, pairing: ResourceId, query: WaitQuery) -> PairingView:
        """One attempt; with `wait_s` as soon as it changes."""
        await self._own(call, pairing)
        return await self._pairing.wait(pairing, query.since, query.wait_s)

    async def follow(self, call: Call, pairing: ResourceId) -> web.StreamResponse:
        """The attempt now and after every change as server-sent events, until it has ended.

        Each event is called `pairing`; its data is a `PairingView`.
        """
        view = await self._own(call, pairing)
        stream = await open_stream(call.request)
        while True:
            await stream.write(b"event: pairing\ndata: %s\n\n" % msgspec.json.encode(view))
            if view.state.final:
                return stream
            seen = view.updated_at
            while view.updated_at <= seen and not view.state.final:
                view = await self._pairing.wait(pairing, seen, COMMENT_S)
                if view.updated_at <= seen:
                    await stream.write(COMMENT)

    async def cancel(self, call: Call, pairing: ResourceId) -> PairingView:
        """End an attempt; a device that the phone has accepted already is unlinked."""
        await self._own(call, pairing)
        return await self._pairing.cancel(pairing)

    async def lift(self, body: LiftRequest) -> LiftResult:
        """For operators: the next request of this session is let in, whatever was counted."""
        return LiftResult(lifted=await self._pairing.lift(body.session, body.phone))

    async def days(self, query: DaysQuery) -> PairingDays:
        """How attempts ended, day by day."""
        return PairingDays(days=await self._pairing.days(query.days))

    async def _own(self, call: Call, pairing: str) -> PairingView:
        view = await self._current(pairing)
        call.caller.must_own(view.session, "pairing", pairing)
        return view

    async def _current(self, pairing: str) -> PairingView:
        return await self._pairing.wait(pairing, 0.0, 0.0)
