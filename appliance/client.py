"""Client of the appliance's API: what CLI, TUI, rehearsals and tests use, and nothing else of the daemon."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import msgspec

from appliance import client_wire
from appliance.client_access import AccessCalls
from appliance.client_history import HistoryCalls
from appliance.client_storage import StorageCalls
from appliance.client_webhooks import WebhookCalls
from appliance.client_wire import BrokenOffError, Query, Response, query_of
from appliance.language import _
from appliance.model import Category, EventView, MediaView, PairingView, PairMethod, Problem, SessionView
from appliance.model_api import (
    ConfigChange,
    CreateSession,
    LiftRequest,
    LiftResult,
    MediaDeleted,
    MediaDeletion,
    MediaPage,
    PairingDay,
    PairingDays,
    PairingList,
    PairRequest,
    PoisonList,
    PoisonView,
    Readiness,
    RelinkRequest,
    Removed,
    SessionList,
    SetSession,
    SettingList,
    SettingValue,
    SettingView,
    StatusView,
    VersionView,
)
from appliance.model_capture import CaptureChange, CaptureView
from appliance.model_system import SystemView

REQUEST_S: Final = 130.0
"""A little more than the daemon's own limit for a request, so that its explanation arrives."""
_WAIT_S: Final = 25.0
"""One long poll for a change of a linking attempt; the next one follows without a gap."""
RESTART_PATIENCE_S: Final = 30.0
"""A restarted daemon is back in about two seconds; one that crashed is started again a little later."""
_AWAY_PAUSE_S: Final = 0.5
"""Between two looks whether it is back."""

T = TypeVar("T")


class ClientError(Exception):
    """Something went wrong; `str()` is one line, `remedy` what to do about it (may be empty)."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class NotRunningError(ClientError):
    """No daemon answers on the socket."""


class ApiError(ClientError):
    """The daemon refused; `problem` is its explanation."""

    def __init__(self, problem: Problem, retry_after_s: float | None = None) -> None:
        super().__init__(problem.detail or problem.title, problem.remedy)
        self.problem = problem
        self.retry_after_s = retry_after_s


class ApplianceClient(HistoryCalls, StorageCalls, AccessCalls, WebhookCalls):
    """An asynchronous context manager. Every method raises `ApiError` or `NotRunningError`."""

    def __init__(self, socket: Path, token: str | None = None) -> None:
        """`token`: what it counts as instead of the local user."""
        self._socket = socket
        self._token = token
        self._folder_fd = -1

    async def __aenter__(self) -> Self:
        try:
            self._folder_fd = os.open(self._socket.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise self._unreachable(error) from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._folder_fd >= 0:
            os.close(self._folder_fd)
            self._folder_fd = -1

    # ---- sessions

    async def sessions(self) -> list[SessionView]:
        return (await self._get("/v1/sessions", SessionList)).sessions

    async def session(self, session: str) -> SessionView:
        return await self._get(f"/v1/sessions/{session}", SessionView)

    async def create_session(self, session: str, name: str = "") -> SessionView:
        return await self._call("POST", "/v1/sessions", SessionView, CreateSession(id=session, name=name))

    async def rename_session(self, session: str, name: str) -> SessionView:
        """For people; the id stays."""
        return await self._call("PATCH", f"/v1/sessions/{session}", SessionView, SetSession(name=name))

    async def set_proxy(self, session: str, proxy: str | None) -> SessionView:
        """Its own way to WhatsApp; empty: no proxy at all, None: as for all. One that runs gets a new process."""
        return await self._call("PATCH", f"/v1/sessions/{session}", SessionView, SetSession(proxy=proxy))

    async def capture(self, session: str) -> CaptureView:
        """What is kept of its messages."""
        return await self._call("GET", f"/v1/sessions/{session}/capture", CaptureView)

    async def set_capture(self, session: str, change: CaptureChange) -> CaptureView:
        """From the next message on; what is unset stays."""
        return await self._call("PATCH", f"/v1/sessions/{session}/capture", CaptureView, change)

    async def start_session(self, session: str) -> SessionView:
        return await self._call("POST", f"/v1/sessions/{session}/start", SessionView)

    async def stop_session(self, session: str) -> SessionView:
        return await self._call("POST", f"/v1/sessions/{session}/stop", SessionView)

    async def restart_session(self, session: str) -> SessionView:
        return await self._call("POST", f"/v1/sessions/{session}/restart", SessionView)

    async def move_session(self, session: str) -> SessionView:
        """A process of the release that new processes have, if it does not have one."""
        return await self._call("POST", f"/v1/sessions/{session}/move", SessionView)

    async def remove_session(self, session: str, *, purge: bool = False) -> Removed:
        """Unlinks the device at WhatsApp and forgets the session; its media stays unless `purge`."""
        return await self._call("DELETE", f"/v1/sessions/{session}", Removed, query={"purge": str(purge).lower()})

    # ---- linking

    async def pair(
        self, session: str, *, phone: str | None = None, relink: bool = False, method: PairMethod | None = None
    ) -> PairingView:
        """Ask for a code for `phone`, or for a QR code without one."""
        chosen = method or (PairMethod.QR if phone is None else PairMethod.CODE)
        body = PairRequest(session=session, method=chosen, phone=phone, relink=relink)
        return await self._call("POST", "/v1/pairings", PairingView, body)

    async def pairings(self, session: str | None = None, limit: int = 50) -> list[PairingView]:
        query = query_of(session=session, limit=limit)
        return (await self._get("/v1/pairings", PairingList, query)).pairings

    async def pairing(self, pairing: str, *, since: float = 0.0, wait_s: float = 0.0) -> PairingView:
        """The attempt; with `wait_s` as soon as it is newer than `since` (its `updated_at`)."""
        return await self._get(f"/v1/pairings/{pairing}", PairingView, {"since": repr(since), "wait_s": repr(wait_s)})

    async def follow_pairing(
        self, view: PairingView, *, patience_s: float = RESTART_PATIENCE_S
    ) -> AsyncIterator[PairingView]:
        """The attempt as it is now and after every change, until it has ended. A daemon that is away for less than
        `patience_s` is waited for: the next one tells what became of the attempt."""
        while True:
            yield view
            if view.state.final:
                return
            seen = view
            while view.updated_at <= seen.updated_at and not view.state.final:
                view = await self._pairing_patiently(seen, patience_s)

    async def _pairing_patiently(self, seen: PairingView, patience_s: float) -> PairingView:
        """Raises NotRunningError when nobody has answered for `patience_s`."""
        loop = asyncio.get_running_loop()
        away_since: float | None = None
        while True:
            try:
                return await self.pairing(seen.id, since=seen.updated_at, wait_s=_WAIT_S)
            except NotRunningError:
                away_since = loop.time() if away_since is None else away_since
                if loop.time() - away_since >= patience_s:
                    raise
            await asyncio.sleep(_AWAY_PAUSE_S)

    async def relink(self, session: str, *, phone: str | None = None) -> PairingView:
        """Link a session that is linked anew; the old login is kept until the new one has succeeded."""
        body = RelinkRequest(method=PairMethod.QR if phone is None else PairMethod.CODE, phone=phone)
        return await self._call("POST", f"/v1/sessions/{session}/relink", PairingView, body)

    async def cancel_pairing(self, pairing: str) -> PairingView:
        return await self._call("POST", f"/v1/pairings/{pairing}/cancel", PairingView)

    async def lift_pairing_limits(self, session: str, phone: str | None = None) -> int:
        """Let the next request of a session in, whatever was counted; how many limits there were."""
        body = LiftRequest(session=session, phone=phone)
        return (await self._call("POST", "/v1/pairings/lift", LiftResult, body)).lifted

    async def pairing_days(self, days: int = 14) -> list[PairingDay]:
        """Success and time to link, day by day, newest first."""
        return (await self._get("/v1/pairings/days", PairingDays, query_of(days=days))).days

    # ---- media

    async def media(
        self,
        *,
        session: str | None = None,
        category: Category | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> MediaPage:
        """One page, newest first."""
        query = query_of(session=session, category=category, limit=limit, cursor=cursor)
        return await self._get("/v1/media", MediaPage, query)

    async def all_media(
        self, *, session: str | None = None, category: Category | None = None, page: int = 500
    ) -> AsyncIterator[MediaView]:
        """Every stored item, page by page."""
        cursor = None
        while True:
            found = await self.media(session=session, category=category, limit=page, cursor=cursor)
            for item in found.items:
                yield item
            if (cursor := found.next) is None:
                return

    async def media_item(self, media: str) -> MediaView:
        return await self._get(f"/v1/media/{media}", MediaView)

    async def media_content(self, media: str) -> AsyncIterator[bytes]:
        """The stored bytes, in pieces. Raises ClientError if the stream breaks off."""
        async with self._request("GET", f"/v1/media/{media}/content", {}, endless=True) as response:
            try:
                async for piece in response.pieces():
                    yield piece
            except BrokenOffError as error:
                words = _("The file broke off: {why}").format(why=error)
                raise ClientError(words, _("Try again.")) from error

    async def delete_several_media(self, ids: Sequence[str]) -> MediaDeleted:
        """Many items at once, pinned or not."""
        return await self._call("POST", "/v1/media/delete", MediaDeleted, MediaDeletion(ids=list(ids)))

    async def media_set_aside(self) -> list[PoisonView]:
        return (await self._get("/v1/media/set-aside", PoisonList)).items

    # ---- the appliance

    async def events(
        self, *, after: int | None = None, session: str | None = None, kind: str | None = None
    ) -> AsyncIterator[EventView]:
        """Events after a number (None: from now on), until the daemon ends the stream; resume with the last `seq`."""
        query = query_of(after=after, session=session, type=kind)
        async with self._request("GET", "/v1/events", query, endless=True) as response:
            with contextlib.suppress(BrokenOffError):  # the daemon has ended: so has this
                async for line in response.lines():
                    if line.startswith(b"data: "):
                        yield msgspec.json.decode(line[len(b"data: ") :], type=EventView)

    async def status(self) -> StatusView:
        return await self._get("/v1/status", StatusView)

    async def system(self) -> SystemView:
        """Memory and CPU of every part, and how the parts beside the daemon are."""
        return await self._get("/v1/system", SystemView)

    async def readiness(self) -> Readiness:
        return await self._get("/readyz", Readiness, accept=(200, 503))

    async def version(self) -> VersionView:
        return await self._get("/v1/version", VersionView)

    async def config(self) -> list[SettingView]:
        return (await self._get("/v1/config", SettingList)).settings

    async def change_config(self, changes: Mapping[str, SettingValue]) -> list[SettingView]:
        """SECTION.KEY → value, None for its default; only what takes effect live. Returns these as they are now."""
        body = ConfigChange(changes=dict(changes))
        return (await self._call("PATCH", "/v1/config", SettingList, body)).settings

    # ---- how

    async def _get(
        self, path: str, kind: type[T], query: Mapping[str, str] | None = None, accept: tuple[int, ...] = ()
    ) -> T:
        return await self._call("GET", path, kind, None, query or {}, accept)

    @contextlib.asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        query: Query,
        *,
        body: msgspec.Struct | None = None,
        accept: tuple[int, ...] = (),
        endless: bool = False,
    ) -> AsyncIterator[Response]:
        if self._folder_fd < 0:
            raise ClientError("the client is not open; write: async with ApplianceClient(socket) as client")
        # Through the descriptor, because paths of sockets are limited to 108 bytes.
        place = f"/proc/self/fd/{self._folder_fd}/{self._socket.name}"
        data = None if body is None else msgspec.json.encode(body)
        async with contextlib.AsyncExitStack() as stack:
            try:
                opened = client_wire.request(place, method, path, query, data, REQUEST_S, self._token)
                response = await stack.enter_async_context(opened)
                if not endless or response.status >= 400:
                    async with asyncio.timeout(REQUEST_S):
                        await response.read()
            except TimeoutError as error:
                remedy = _("See: amda status, and the daemon's log.")
                raise ClientError(_("The daemon does not answer."), remedy) from error
            except OSError as error:
                raise self._unreachable(error) from error
            if response.status >= 400 and response.status not in accept:
                raise _api_error(response, await response.read())
            yield response

    def _unreachable(self, error: OSError) -> NotRunningError:
        if isinstance(error, PermissionError):
            words = _("You may not speak to the appliance: {socket} is for another user and group.")
            remedy = _("Join its group, and log in again: sudo usermod -aG amda YOUR_NAME")
            return NotRunningError(words.format(socket=self._socket), remedy)
        words = _("The appliance is not running: nobody answers on {socket}.").format(socket=self._socket)
        remedy = _("Start it: amda run (or systemctl start amda), or name its settings file with --config.")
        return NotRunningError(words, remedy)


def _api_error(response: Response, content: bytes) -> ApiError:
    try:
        problem = msgspec.json.decode(content, type=Problem)
    except msgspec.DecodeError:
        problem = Problem(type="about:blank", title=response.reason or "Error", status=response.status)
    retry_after = response.headers.get("retry-after", "")
    return ApiError(problem, float(retry_after) if retry_after.isdigit() else None)
