"""/livez, /readyz, /v1/status, /v1/version, /v1/config: how the appliance is and what it is set to."""

from __future__ import annotations

import http
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog
from aiohttp import web

from appliance import __version__
from appliance.api.routes import Access, Answer, Call, Route, get
from appliance.build import build_name
from appliance.events import EventBus
from appliance.interfaces import SessionControl
from appliance.media.index import MediaIndex
from appliance.model_api import (
    DegradedPart,
    IntakeState,
    Readiness,
    StatusView,
    VersionView,
)
from appliance.pairing.service import PairingService
from appliance.protocol import PROTOCOL_VERSION
from appliance.settings_watch import SettingsWatch

_log = structlog.get_logger(__name__)


class Health:
    """Asks the parts how they are; each answers with an empty text if it is well. `folder`: where everything lies;
    below `min_free_bytes` there, media is no longer fetched."""

    def __init__(
        self,
        fork_server: Callable[[], str],
        pairing: PairingService,
        intake: Callable[[], IntakeState],
        folder: Path,
        settings: Callable[[], list[DegradedPart]],
        min_free_bytes: Callable[[], int],
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._min_free_bytes = min_free_bytes
        self._fork_server = fork_server
        self._pairing = pairing
        self._intake = intake

    async def readiness(self) -> Readiness:
        """Sessions need the fork server; everything else that is away only takes something away."""
        degraded = self._settings()
        fork_server = self._fork_server()
        if fork_server:
            remedy = "It is started again by itself; if it stays: journalctl -u amda-sessions, or logs/forkserver.log"
            degraded.append(DegradedPart(part="forkserver", reason=fork_server, remedy=remedy))
        if reason := await self._pairing.trouble():
            remedy = "Sessions run; linking waits. See journalctl -u amda-redis or logs/redis.log; redis.url names it."
            degraded.append(DegradedPart(part="redis", reason=reason, remedy=remedy))
        if reason := self._intake().trouble:
            remedy = "Sessions run; captured media waits in their spools. Free some space or mend the store."
            degraded.append(DegradedPart(part="media", reason=reason, remedy=remedy))
        if (free := shutil.disk_usage(self._folder).free) < self._min_free_bytes():
            remedy = "Free some space: media is not fetched until then, and soon nothing more can be recorded."
            degraded.append(DegradedPart(part="disk", reason=f"only {free >> 20} MiB are free", remedy=remedy))
        return Readiness(ready=not fork_server, degraded=degraded)

    async def log_degraded(self) -> None:
        """A start that lacks something says so."""
        for part in (await self.readiness()).degraded:
            _log.warning("degraded start", part=part.part, reason=part.reason, remedy=part.remedy)


class StatusResource:
    def __init__(
        self,
        *,
        settings: SettingsWatch,
        node_id: str,
        started_at: float,
        sessions: SessionControl,
        media: MediaIndex,
        intake: Callable[[], IntakeState],
        bus: EventBus,
        health: Health,
    ) -> None:
        self._settings = settings
        self._node_id = node_id
        self._started_at = started_at
        self._sessions = sessions
        self._media = media
        self._intake = intake
        self._bus = bus
        self._health = health

    def routes(self) -> Sequence[Route]:
        return (
            get("/livez", self.live, access=Access.PUBLIC, produces="text/plain"),
            get("/readyz", self.ready, access=Access.PUBLIC, also=(503,)),
            get("/v1/status", self.status),
            get("/v1/version", self.version),
        )

    async def live(self) -> web.Response:
        """The daemon's event loop answers: that is all that this says."""
        return web.Response(text="ok\n")

    async def ready(self, call: Call) -> Answer[Readiness]:
        """Whether sessions can run, and what is missing; 503 if they cannot.

        Why is only told to callers with a token.
        """
        found = await self._health.readiness()
        status = http.HTTPStatus.OK if found.ready else http.HTTPStatus.SERVICE_UNAVAILABLE
        if call.caller.scope is None:
            found = Readiness(ready=found.ready, degraded=[])
        return Answer(found, status)

    async def status(self) -> StatusView:
        """The appliance at a glance: counts, what is degraded, and what to do about it."""
        usage = (await self._media.usage()).values()
        return StatusView(
            release=__version__,
            node_id=self._node_id,
            pid=os.getpid(),
            started_at=self._started_at,
            network="whatsapp" if self._settings.used.network.staging is None else "staging",
            sessions=self._sessions.states(),
            media_count=sum(used.count for used in usage),
            media_bytes=sum(used.size for used in usage),
            intake=self._intake(),
            last_event=self._bus.last_seq,
            degraded=(await self._health.readiness()).degraded,
            settings_waiting=self._settings.waiting,
        )

    async def version(self) -> VersionView:
        """The release, and the version of what its processes say to each other."""
        forks = self._sessions.forks()
        return VersionView(
            release=__version__,
            protocol=PROTOCOL_VERSION,
            build=build_name({}),
            forks=None if forks is None else forks.build,
            engine="" if forks is None else forks.engine,
        )
