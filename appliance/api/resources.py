"""Everything that the API serves: each resource with the room that it speaks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from appliance.api.alerts import AlertsResource
from appliance.api.backup import BackupResource
from appliance.api.config import ConfigResource
from appliance.api.doctor import DoctorResource
from appliance.api.events import EventsResource
from appliance.api.history import HistoryResource
from appliance.api.logs import LogsResource
from appliance.api.media import MediaResource
from appliance.api.metrics import MetricsResource
from appliance.api.pairings import PairingsResource
from appliance.api.routes import Resource
from appliance.api.sessions import SessionsResource
from appliance.api.status import Health, StatusResource
from appliance.api.storage import StorageResource
from appliance.api.system import SystemResource
from appliance.api.webhooks import WebhooksResource
from appliance.backup.lease_keeper import LeaseKeeper
from appliance.database import Database
from appliance.doctor.service import Doctor
from appliance.events import EventBus
from appliance.history.all_logs import AllLogs, stores_finder
from appliance.history.logs import store_finder
from appliance.history.service import HistoryService
from appliance.interfaces import SessionControl
from appliance.media.room import MediaRoom
from appliance.metrics.service import MetricsService
from appliance.pairing.service import PairingService
from appliance.protocol import ForkHello, WorkerProcess
from appliance.recent_log import RECENT
from appliance.settings_change import SettingsEditor
from appliance.settings_watch import SettingsWatch


class ForkServer(Protocol):
    """Of the fork server's client, what is shown to people."""

    @property
    def hello(self) -> ForkHello | None:
        """None while it is away."""
        ...

    async def list(self) -> Sequence[WorkerProcess]: ...


def all_resources(
    *,
    node_id: str,
    started_at: float,
    database: Database,
    bus: EventBus,
    watch: SettingsWatch,
    health: Health,
    sessions: SessionControl,
    pairing: PairingService,
    media: MediaRoom,
    history: HistoryService,
    lease: LeaseKeeper,
    fork: ForkServer,
    metrics: MetricsService,
) -> Sequence[Resource]:
    """In the order in which they are documented."""
    return (
        SessionsResource(sessions, media.index, lambda: watch.used.limits.sessions),
        PairingsResource(pairing),
        MediaResource(media.index, media.vault, media.aside, media.compressor, lambda: media.state),
        StorageResource(media),
        BackupResource(lease),
        HistoryResource(history, store_finder(database)),
        AlertsResource(history.alerts, history.persons),
        EventsResource(bus),
        WebhooksResource(history.webhooks),
        ConfigResource(watch, SettingsEditor(watch)),
        StatusResource(
            settings=watch,
            node_id=node_id,
            started_at=started_at,
            sessions=sessions,
            media=media.index,
            intake=lambda: media.state,
            bus=bus,
            health=health,
        ),
        SystemResource(
            settings=lambda: watch.used,
            started_at=started_at,
            sessions=sessions,
            pairing=pairing,
            media=media,
            fork_server=lambda: fork.hello.pid if fork.hello else None,
        ),
        DoctorResource(
            Doctor(loaded=watch.in_force, readiness=health.readiness, forked=fork.list, sessions=sessions.list)
        ),
        MetricsResource(metrics),
        LogsResource(AllLogs(stores_finder(database), RECENT)),
    )
