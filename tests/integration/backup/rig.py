"""A machine without an engine, and settings for where its backups go."""

from __future__ import annotations

from pathlib import Path

import msgspec

from appliance.backup.contents import Given
from appliance.backup.work import Backups, no_progress
from appliance.config import LoadedSettings, Settings, load_settings, read_settings
from tests.unit.backup.rig import State

NOTHING = Given(settings=(), settings_file="", redis=None)


class Place:
    def __init__(self, folder: Path, **variables: str) -> None:
        self.state = State(folder)
        self.environment = {"AMDA_PATHS_STATE_DIR": str(self.state.paths.state_dir), **variables}
        self.settings: Settings = load_settings(None, {**self.environment, "HOME": str(folder)})

    async def save(self, reason: str = "test", **changes: int) -> str:
        backup = msgspec.structs.replace(self.settings.backup, **changes)
        async with Backups(msgspec.structs.replace(self.settings, backup=backup)) as backups:
            return (await backups.run(NOTHING, reason=reason, with_media=False, progress=no_progress)).id

    def loaded(self) -> LoadedSettings:
        return read_settings(None, {**self.environment, "HOME": str(self.state.folder)})
