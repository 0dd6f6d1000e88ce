"""The media room: store, index, vault, keeper and intake, made for each other and opened in the right order."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from appliance.config import Settings
from appliance.database import Database
from appliance.events import EventBus
from appliance.media.compression.compressor import Compressor
from appliance.media.folder import FolderStore
from appliance.media.holdings import Holdings
from appliance.media.index import MediaIndex
from appliance.media.intake import MediaIntake
from appliance.media.settings import StorageSettings
from appliance.media.store import ObjectStore
from appliance.media.tending import StoreKeeper
from appliance.media.vault import Vault

WORK_FOLDER: Final = "compressing"
"""In the state folder: on the disk that the spools lie on, and nobody else's."""


class MediaRoom:
    """Made by `open()`. `intake.run()` and `keeper.run()` are the caller's to run."""

    def __init__(
        self,
        settings: StorageSettings,
        compressor: Compressor,
        sessions: Path,
        store: ObjectStore,
        database: Database,
        bus: EventBus,
    ) -> None:
        self.store = store
        self.index = MediaIndex(database)
        self.holdings = Holdings(database)
        self.vault = Vault(store, self.index, self.holdings, settings, bus)
        self.keeper = StoreKeeper(self.vault, settings.prune_interval_s)
        self.compressor = compressor
        self.intake = MediaIntake(
            sessions, self.vault, self.index, self.holdings, compressor, bus, settings.spool_bytes
        )

    @classmethod
    async def open(cls, settings: Settings, database: Database, bus: EventBus) -> MediaRoom:
        """Open the store and learn what it holds; what a killed daemon has left half done is cleared up."""
        store = FolderStore(settings.storage.path)
        await store.clear_incoming()
        compressor = Compressor(settings.compression, settings.paths.state_dir / WORK_FOLDER)
        room = cls(settings.storage, compressor, settings.paths.sessions, store, database, bus)
        await room.vault.load()
        return room

    async def close(self) -> None:
        """End the processes that make media smaller; after `intake.run()` has ended."""
        await self.compressor.close()
