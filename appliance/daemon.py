"""The daemon: one ordered start list, read top to bottom; it ends in the reverse order.

Everything with judgement lives in this process, and nothing that a session needs to stay connected: it can be restarted
at any moment. With Redis or the fork server away it starts all the same and says what is missing.
"""

from __future__ import annotations

import contextlib
import os
import platform
import time

import structlog

from appliance import __version__
from appliance.api.access import Access
from appliance.api.documentation import described_table
from appliance.api.resources import all_resources
from appliance.api.server import ApiServer
from appliance.api.status import Health
from appliance.backup.lease_keeper import LeaseKeeper
from appliance.config import LoadedSettings
from appliance.database import Database, DatabaseError
from appliance.events import EventBus, StateEvents
from appliance.forkserver.client import ForkServerClient
from appliance.history.facts import live_source
from appliance.history.ledger import Ledger
from appliance.history.service import HistoryService
from appliance.history.versions import configured_whatsapp_version
from appliance.lifecycle import AlreadyRunningError, make_private, only_one, run_until, stop_request
from appliance.logging import configure_logging
from appliance.media.room import MediaRoom
from appliance.media.store import StoreError
from appliance.metrics.service import MetricsService
from appliance.metrics.snapshot import Sources
from appliance.notify import ServiceManager
from appliance.pairing.record import PairingRecord
from appliance.pairing.redis_client import RedisClient
from appliance.pairing.service import PairingService
from appliance.sessions.service import SessionService
from appliance.settings_watch import SettingsWatch, apply_log
from appliance.sockets import PeerError
from appliance.wallclock import rehearsed_clock

_log = structlog.get_logger(__name__)


class DaemonError(Exception):
    """The daemon cannot start; one line with the remedy."""


async def run_daemon(loaded: LoadedSettings) -> None:
    """Run until SIGTERM, SIGINT or SIGHUP. Raises DaemonError if it cannot start."""
    settings = loaded.settings
    configure_logging(settings.log.level, settings.log.format)
    try:
        with only_one(settings.paths.lock_file):
            for folder in (settings.paths.state_dir, settings.paths.sessions):
                make_private(folder)
            await _run(loaded)
    except (AlreadyRunningError, DatabaseError, PeerError, StoreError) as error:
        raise DaemonError(str(error)) from error
    except OSError as error:
        raise DaemonError(
            f"{error.filename or settings.paths.state_dir}: {error.strerror}; check owner and mode"
        ) from error


async def _run(loaded: LoadedSettings) -> None:
    settings, paths, started_at = loaded.settings, loaded.settings.paths, time.time()
    manager = ServiceManager(os.environ)
    wall = rehearsed_clock(settings.network.staging)
    async with contextlib.AsyncExitStack() as stack:
        stop = stop_request()

        database = await Database.open(paths.database, copies=paths.backups)
        stack.push_async_callback(database.close)
        node_id = await database.node_id()
        bus = EventBus(database, settings.limits.events_kept)
        await bus.load()
        lease = await stack.enter_async_context(LeaseKeeper.open(settings, database, node_id))

        media = await stack.enter_async_context(MediaRoom.open(settings, database, bus))

        fork = await stack.enter_async_context(ForkServerClient(paths.fork_socket))
        ledger = Ledger(database, wall, whatsapp=configured_whatsapp_version(settings))
        sessions = SessionService(
            settings=settings, database=database, fork=fork, ledger=ledger, node_id=node_id, ownership=lease, wall=wall
        )
        live = live_source(sessions, lambda: health.readiness(), media.keeper.quota_use)
        node = platform.node() or node_id
        history = HistoryService(
            database=database, ledger=ledger, bus=bus, live=live, settings=settings, node=node, clock=wall
        )
        await history.load()
        stack.push_async_callback(history.close)
        media.listen(sessions)
        history.listen(sessions)
        sessions.on_change(StateEvents(bus).on_change)
        await sessions.load()
        stack.push_async_callback(sessions.close)

        redis = RedisClient(settings.redis_url, user=settings.redis.user, password_file=settings.redis.password_file)
        stack.push_async_callback(redis.close)
        pairing = PairingService(sessions, PairingRecord(database), redis, bus, settings.pairing, node_id, wall)
        await pairing.load()
        stack.push_async_callback(pairing.close)

        rooms = (bus, sessions, pairing, media, history)
        watch = SettingsWatch(loaded, os.environ, [*(room.apply_settings for room in rooms), apply_log], bus.publish)
        health = Health(
            lambda: "" if fork.hello else "the fork server does not answer",
            pairing,
            lambda: media.state,
            paths.state_dir,
            *(lambda: watch.trouble() + lease.trouble(), lambda: watch.used.capture.min_free_bytes),
        )
        metrics = MetricsService(Sources(database, bus, redis, sessions, pairing, media, history, health, paths))
        access = await Access.open(database, settings.api)
        resources = all_resources(
            node_id=node_id,
            started_at=started_at,
            database=database,
            bus=bus,
            watch=watch,
            health=health,
            sessions=sessions,
            pairing=pairing,
            media=media,
            history=history,
            lease=lease,
            fork=fork,
            metrics=metrics,
        )
        routes = described_table(*resources, *access.resources())
        api = await stack.enter_async_context(ApiServer(routes, paths.api_socket, settings.limits, access))
        stack.push_async_callback(bus.close)  # before the API waits for its subscribers

        await bus.publish("appliance.started", release=__version__, pid=os.getpid())
        await health.log_degraded()
        manager.ready()
        _log.info("the daemon is ready", release=__version__, seconds=round(time.time() - started_at, 3))
        await run_until(
            *(stop, media.intake.run(), media.keeper.run(), history.run(), watch.run(), api.run()),
            *(lease.run(sessions), metrics.run(), manager.keep_alive()),
        )
        manager.stopping()
        _log.info("the daemon ends; sessions go on")
