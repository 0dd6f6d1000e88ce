"""The media room: store, index, vault, keeper and intake, made for each other and opened in the right order."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from appliance.config import Settings
from appliance.database import Database
from appliance.events import EventBus
from appliance.media.aside import SetAside
from appliance.media.audit import Auditor, Progress
from appliance.media.compression.compressor import Compressor
from appliance.media.holdings import Holdings
from appliance.media.index import MediaIndex
from appliance.media.intake import MediaIntake
from appliance.media.jobs import StorageJobs
from appliance.media.mover import Mover
from appliance.media.pruning import Pruning
from appliance.media.settings import StorageKind
from appliance.media.store import StoreError
from appliance.media.stores import open_store
from appliance.media.tending import StoreKeeper
from appliance.media.timed_store import StoreObserver, TimedStore
from appliance.media.usage import StorageReport
from appliance.media.vault import Vault
from appliance.model_api import IntakeState, SettingList
from appliance.model_storage import CleanupReport, MoveReport, PruneRequest, StorageJob
from appliance.problems import invalid
from appliance.settings_views import describe

if TYPE_CHECKING:
    from appliance.sessions.service import SessionService

_log = structlog.get_logger(__name__)

WORK_FOLDER: Final = "compressing"
"""In the state folder: on the disk that the spools lie on, and nobody else's."""


class MediaRoom:
    """Made by `open()`. `intake.run()` and `keeper.run()` are the caller's to run."""

    def __init__(self, settings: Settings, kind: StorageKind, database: Database, bus: EventBus) -> None:
        self.kind = kind
        """The kind of store that media lies in; a move changes it."""
        paths, storage = settings.paths, settings.storage
        self._observers: list[StoreObserver] = []
        store = TimedStore(open_store(storage, kind), kind, self._called)
        self.index = MediaIndex(database)
        self.holdings = Holdings(database)
        self.vault = Vault(store, self.index, self.holdings, storage, bus)
        self.report = StorageReport(self.vault, self.holdings)
        self.auditor = Auditor(self.vault, self.holdings)
        self.keeper = StoreKeeper(self.vault, self.auditor, self.holdings, bus)
        self.compressor = Compressor(settings.compression, paths.state_dir / WORK_FOLDER)
        self._floor = settings.capture.min_free_bytes // 2
        self.intake = MediaIntake(
            *(paths.sessions, self.vault, self.index, self.holdings, self.compressor, bus, storage.spool_bytes),
            lambda: self.keeper.trouble or self._full_disk(),  # nothing is made smaller for a store that is away
        )
        self.aside = SetAside(paths.sessions, self.index, self.intake.hint)
        self.jobs = StorageJobs("amda storage job")
        self.prunes = StorageJobs("amda storage job")
        """By themselves: what is full cannot wait for a check of everything."""
        self._pruning = Pruning()
        self._mover = Mover(
            *(self.vault, self.auditor, self.holdings),
            database.path,
            lambda kind: TimedStore(open_store(self.vault.settings, kind), kind, self._called),
            paths.backups,
            lambda: msgspec.json.format(msgspec.json.encode(SettingList(settings=list(describe(settings))))),
            self._room_in,
        )

    def on_call(self, observer: StoreObserver) -> None:
        """It is told of every call of the object store."""
        self._observers.append(observer)

    def _called(self, store: str, operation: str, seconds: float, *, failed: bool) -> None:
        for observer in self._observers:
            observer(store, operation, seconds, failed=failed)

    def listen(self, sessions: SessionService) -> None:
        """What sessions capture comes in from now on, and what is left of removed ones is dealt with."""
        sessions.on_event(self.intake.on_event)
        sessions.on_drain(self.intake.drain)
        sessions.on_remove(self.intake.on_remove)

    async def apply_settings(self, settings: Settings) -> None:
        """New settings while everything runs; where media lies is not among them."""
        self.compressor.apply_settings(settings.compression)
        self._floor = settings.capture.min_free_bytes // 2
        if settings.storage != self.vault.settings:
            self.intake.spool_bytes = settings.storage.spool_bytes
            self.vault.apply_settings(settings.storage)
            self.keeper.hurry()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, settings: Settings, database: Database, bus: EventBus) -> AsyncIterator[MediaRoom]:
        """Learn what is held. The store itself is not waited for: the keeper sees to it as soon as it runs.

        Media stays where it lies until it is moved, whatever `storage.kind` says meanwhile. Raises StoreError if the
        settings lack what that store needs.
        """
        holdings = Holdings(database)
        kind = StorageKind(await holdings.kind() or settings.storage.kind)
        if kind is not settings.storage.kind:
            _log.warning("media lies in another store than storage.kind says; see: amda storage move", kind=kind)
        try:
            room = cls(settings, kind, database, bus)
        except ValueError as error:
            raise StoreError(f"media lies in the store of kind {kind}, and {error}") from error
        await holdings.set_kind(kind)
        await room.vault.load()
        try:
            yield room
        finally:
            await room.compressor.close()  # after `intake.run()` has ended
            await room.jobs.close()
            room.stop_prune()
            await room.prunes.close()
            await room.vault.store.close()

    def _full_disk(self) -> str:
        """Why nothing may be written to a store in a folder: half of what downloads leave free is for what they have
        brought, the other half for databases."""
        folder = self.vault.settings.path
        if self.kind is not StorageKind.FOLDER or not folder.is_dir():
            return ""
        free = shutil.disk_usage(folder).free
        return "" if free >= self._floor else f"the disk is nearly full ({free >> 20} MiB are free); make room on it"

    def _room_in(self, kind: StorageKind) -> int | None:
        """Bytes that a move may write to a store; None: nobody knows."""
        folder = self.vault.settings.path
        return shutil.disk_usage(folder).free - self._floor if kind is StorageKind.FOLDER else None

    @property
    def state(self) -> IntakeState:
        """How intake is; a store that is away is its trouble, too, though nothing may wait for it yet."""
        state = self.intake.state
        return state if state.trouble else msgspec.structs.replace(state, trouble=self.keeper.trouble)

    async def begin_check(self, *, repair: bool, hashes: bool) -> StorageJob:
        """Raises ProblemError 409 if something of the kind is under way."""
        total = await self.holdings.count()
        return self.jobs.start(
            "check", total, lambda progress: self.auditor.check(repair=repair, hashes=hashes, progress=progress)
        )

    async def begin_cleanup(self, *, dry_run: bool) -> StorageJob:
        """Raises ProblemError 409 if something of the kind is under way."""

        async def cleanup(progress: Progress) -> CleanupReport:
            check = await self.auditor.check(repair=not dry_run, hashes=False, progress=progress)
            prune = await self.vault.prune(PruneRequest(dry_run=dry_run))
            return CleanupReport(dry_run=dry_run, check=check, prune=prune)

        return self.jobs.start("cleanup", await self.holdings.count(), cleanup)

    def begin_prune(self, request: PruneRequest) -> StorageJob:
        """Raises ProblemError 409 if another one is under way."""
        course = Pruning(self._tell)
        begun = self.prunes.start("prune", 0, lambda _progress: self.vault.prune(request, course), request.session)
        self._pruning = course
        return begun

    def stop_prune(self) -> StorageJob | None:
        """The prune that is under way leaves the rest after what it is at; the job ends a little later."""
        self._pruning.stop()
        return self.prunes.last

    def _tell(self, course: Pruning) -> None:
        self.prunes.tell(
            done=course.objects,
            total=course.objects_planned,
            size_done=course.size,
            size_total=course.size_planned,
        )

    async def begin_move(self, to: StorageKind, *, remove_old: bool) -> StorageJob:
        """Raises ProblemError: 409 if something of the kind is under way, 400 if settings of that store are missing."""
        try:
            await open_store(self.vault.settings, to).close()
        except ValueError as error:
            raise invalid(
                "to", f"Settings of the section storage: {error}.", "Set it, restart, and move then."
            ) from error

        async def move(progress: Progress) -> MoveReport:
            report = await self._mover.move(self.kind, to, remove_old=remove_old, progress=progress)
            self.kind = to
            return report

        return self.jobs.start("move", await self.holdings.count(), move)
