"""/v1/system: what every part of the appliance uses of its machine, and how the parts beside it are."""

from __future__ import annotations

import asyncio
import collections
import os
import platform
import time
from collections.abc import Callable, Sequence
from typing import Final

from appliance import __version__
from appliance.api.routes import Route, get
from appliance.config import Settings
from appliance.history.versions import configured_whatsapp_version
from appliance.interfaces import SessionControl
from appliance.media.room import MediaRoom
from appliance.media.settings import StorageKind
from appliance.model import SessionView
from appliance.model_system import EngineUse, PartUse, SpoolUse, StoreUse, SystemView
from appliance.pairing.service import PairingService
from appliance.parts import machine_use, process_use, unit_use, workers_use

_UNITS: Final = (("minio", "amda-minio.service"), ("proxy", "amda-proxy.service"))
"""Parts that run as somebody else and are seen by their groups only."""


class SystemResource:
    """`fork_server`: number of its process, None while it is away."""

    def __init__(
        self,
        *,
        settings: Callable[[], Settings],
        started_at: float,
        sessions: SessionControl,
        pairing: PairingService,
        media: MediaRoom,
        fork_server: Callable[[], int | None],
    ) -> None:
        self._settings = settings
        self._started_at = started_at
        self._sessions = sessions
        self._pairing = pairing
        self._media = media
        self._fork_server = fork_server
        self._whatsapp: str | None = None

    def routes(self) -> Sequence[Route]:
        return (get("/v1/system", self.show),)

    async def show(self) -> SystemView:
        """Memory and CPU of every part, and how Redis, the media store, the spools and the engine are."""
        settings, views = self._settings(), await self._sessions.list()
        redis, redis_part = await self._pairing.redis_use()
        if self._whatsapp is None:
            self._whatsapp = await asyncio.to_thread(configured_whatsapp_version, settings)
        parts = await asyncio.to_thread(_parts, self._fork_server(), views)
        return SystemView(
            at=time.time(),
            release=__version__,
            python=platform.python_version(),
            started_at=self._started_at,
            machine=await asyncio.to_thread(machine_use, settings.paths.state_dir),
            parts=[*parts, redis_part],
            redis=redis,
            store=self._store(settings),
            spool=await self._spool(),
            engines=_engines(views),
            whatsapp=self._whatsapp,
        )

    def _store(self, settings: Settings) -> StoreUse:
        storage = settings.storage
        folder = self._media.kind is StorageKind.FOLDER
        return StoreUse(
            kind=self._media.kind,
            place=str(storage.path) if folder else f"{storage.endpoint or ''}/{storage.bucket}",
            used_bytes=self._media.vault.used,
            quota_bytes=storage.quota_bytes,
            trouble=self._media.state.trouble,
        )

    async def _spool(self) -> SpoolUse:
        rows = await self._media.aside.waiting()
        return SpoolUse(
            items=sum(row.items for row in rows),
            size=sum(row.size for row in rows),
            oldest_s=max((row.oldest_s for row in rows), default=0.0),
            set_aside=len(await self._media.index.poison()),
        )


def _parts(fork_server: int | None, views: Sequence[SessionView]) -> list[PartUse]:
    workers = workers_use((view.pid, view.memory_bytes) for view in views if view.pid is not None)
    units = (unit_use(name, unit) for name, unit in _UNITS)
    return [
        process_use("daemon", os.getpid()),
        process_use("forkserver", fork_server),
        workers,
        *(unit for unit in units if unit is not None),
    ]


def _engines(views: Sequence[SessionView]) -> list[EngineUse]:
    """Of those that run, the most frequent first."""
    counts = collections.Counter(view.engine for view in views if view.engine and view.pid is not None)
    return [EngineUse(version=version, sessions=count) for version, count in counts.most_common()]
