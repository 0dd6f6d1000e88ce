"""How everything is at this moment, for one scrape: what the rooms know anyway, and a few questions to the database.

Nothing here looks into `/proc`: what a worker weighs and how late its loop runs stands in its last heartbeat.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from appliance.config import Paths
from appliance.database import Database
from appliance.events import EventBus
from appliance.history.service import HistoryService
from appliance.interfaces import SessionControl
from appliance.media.holdings import CategorySum
from appliance.media.room import MediaRoom
from appliance.model import Category, SessionState, SessionView
from appliance.model_api import IntakeState, Readiness
from appliance.model_history import AlertRule, AlertSeverity
from appliance.model_storage import WaitingRow
from appliance.model_webhooks import DeliveryState
from appliance.pairing.dispatcher import Line
from appliance.pairing.redis_client import RedisClient
from appliance.pairing.service import PairingService
from appliance.protocol import Heartbeat


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """Something that waits to be told."""

    waiting: int = 0
    oldest_s: float = 0.0
    """Age of what waits longest; 0: nothing waits."""
    dead: int = 0
    """Given up, and kept to be sent again."""


class Storage(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that are held."""

    categories: Mapping[Category, CategorySum]
    sessions: Mapping[str, int]
    used: int
    in_flight: int
    foreign: int
    quota: int


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    states: Mapping[SessionState, int]
    sessions: Sequence[SessionView]
    heartbeats: Mapping[str, Heartbeat]
    line: Line
    line_oldest_s: float
    storage: Storage
    spools: Sequence[WaitingRow]
    intake: IntakeState
    alerts: Mapping[tuple[AlertRule, AlertSeverity], int]
    messages: Queue
    webhooks: Mapping[str, Queue]
    degraded: Sequence[str]
    disk_free: int
    disk_size: int
    last_event: int
    followers: int


class Health(Protocol):
    async def readiness(self) -> Readiness:
        """What is degraded."""
        ...


@dataclasses.dataclass(frozen=True)
class Sources:
    """Who is asked."""

    database: Database
    bus: EventBus
    redis: RedisClient
    sessions: SessionControl
    pairing: PairingService
    media: MediaRoom
    history: HistoryService
    health: Health
    paths: Paths
    clock: Callable[[], float] = time.time


async def look(sources: Sources) -> Snapshot:
    """Raises sqlite3.Error if the database cannot be read."""
    now, vault, media = sources.clock(), sources.media.vault, sources.media
    line = sources.pairing.line()
    disk = shutil.disk_usage(sources.paths.state_dir)
    return Snapshot(
        states=sources.sessions.states(),
        sessions=await sources.sessions.list(),
        heartbeats=sources.sessions.heartbeats(),
        line=line,
        line_oldest_s=_age(now, line.oldest_at),
        storage=Storage(
            categories=await media.holdings.by_category(),
            sessions=vault.used_by_session(),
            used=vault.used,
            in_flight=vault.in_flight,
            foreign=vault.foreign,
            quota=vault.settings.quota_bytes,
        ),
        spools=await media.aside.waiting(),
        intake=media.state,
        alerts=sources.history.alerts.down,
        messages=await _messages(sources.database, now),
        webhooks=await _webhooks(sources.database, now),
        degraded=[part.part for part in (await sources.health.readiness()).degraded],
        disk_free=disk.free,
        disk_size=disk.total,
        last_event=sources.bus.last_seq,
        followers=sources.bus.followers,
    )


async def _messages(database: Database, now: float) -> Queue:
    rows = await database.fetch_shared("SELECT count(*) AS number, min(created_at) AS oldest FROM deliveries")
    return Queue(waiting=rows[0]["number"], oldest_s=_age(now, rows[0]["oldest"]))


async def _webhooks(database: Database, now: float) -> dict[str, Queue]:
    rows = await database.fetch_shared(
        "SELECT webhooks.id AS id, sum(state = ?) AS waiting, sum(state = ?) AS dead,"
        " min(CASE WHEN state = ? THEN queued_at END) AS oldest"
        " FROM webhooks LEFT JOIN webhook_deliveries ON webhook = webhooks.id GROUP BY webhooks.id",
        (DeliveryState.WAITING, DeliveryState.DEAD, DeliveryState.WAITING),
    )
    return {
        row["id"]: Queue(waiting=row["waiting"] or 0, dead=row["dead"] or 0, oldest_s=_age(now, row["oldest"]))
        for row in rows
    }


def _age(now: float, since: float | None) -> float:
    return 0.0 if since is None else max(0.0, now - since)
