"""Takes changes of the settings file while the daemon runs: what can change at once does, everywhere; the rest is told.

A file that cannot be used changes nothing: the settings that were good before stay in force, and everybody who looks
(log, status, alert) is told what is wrong with it. Nothing is taken over in part.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import structlog
import watchfiles

from appliance.config import ConfigError, LoadedSettings, Settings, read_settings
from appliance.logging import configure_logging
from appliance.model_api import DegradedPart, SettingChange, SettingView
from appliance.settings_views import NEEDS, change_of, describe, differences, with_values_of

LOOK_AGAIN_S: Final = 30.0
"""A notice of the kernel is the hint that makes it quick; the file is looked at this often in any case, also where its
folder did not exist or was replaced."""
DEBOUNCE_MS: Final = 600
"""Editors write in several steps; what is read in the middle would be called broken for a moment."""
STEP_MS: Final = 200
"""How often the library looks whether there is news; also how long the daemon's end may have to wait for it."""

Apply = Callable[[Settings], Awaitable[None]]
"""One room takes new settings; only those that can change live differ. Must not fail for values that are valid."""

Publish = Callable[..., Awaitable[object]]
"""`EventBus.publish`."""

_log: Final = structlog.get_logger(__name__)


class SettingsWatch:
    """`run` until cancelled. `used` are the settings in force."""

    def __init__(
        self,
        loaded: LoadedSettings,
        environ: Mapping[str, str],
        rooms: Sequence[Apply] = (),
        publish: Publish | None = None,
    ) -> None:
        self.used = loaded.settings
        self.rooms = list(rooms)
        """Who is told, in this order."""
        self._loaded = loaded
        self.environ = environ
        """Its variables win over the file."""
        self._publish = publish
        self._error = ""
        self._state = _state_of(loaded.file)

    @property
    def file(self) -> Path:
        return self._loaded.file

    @property
    def error(self) -> str:
        """What is wrong with the file as it is now; empty: it is in force."""
        return self._error

    @property
    def waiting(self) -> list[str]:
        """What the file says and what waits for a restart of something, one sentence each."""
        return [
            f"{section}.{key} {NEEDS[change_of(section, key)]}"
            for section, key in differences(self.used, self._loaded.settings)
        ]

    def in_force(self) -> LoadedSettings:
        """The settings that count, and where they come from."""
        return msgspec.structs.replace(self._loaded, settings=self.used)

    def views(self) -> list[SettingView]:
        """Every setting as it is in force."""
        return list(describe(self.used, self._loaded))

    def trouble(self) -> list[DegradedPart]:
        """For the status: a file that cannot be used."""
        if not self._error:
            return []
        remedy = "The settings from before stay in force. Correct the file; it is read again by itself."
        return [DegradedPart(part="settings", reason=self._error, remedy=remedy)]

    async def run(self) -> None:
        """Look at the file whenever something happens to it."""
        while True:
            await self.look()
            try:
                await self._follow()
            except OSError:  # there is no such folder, yet
                await asyncio.sleep(LOOK_AGAIN_S)

    async def look(self) -> None:
        """Read the file again if it is another one than last time."""
        state = _state_of(self.file)
        if state == self._state:
            return
        self._state = state
        try:
            # A file that was there must not vanish into defaults: an editor or a mistake, never a decision.
            named = self.file if self._loaded.found else None
            loaded = await asyncio.to_thread(read_settings, named, self.environ)
            await self._take(loaded)
        except (ConfigError, ValueError) as error:
            self._error = str(error)
            _log.error("the settings file cannot be used; the settings from before stay in force", error=str(error))
            if self._publish is not None:
                await self._publish("settings.refused", error=self._error)

    async def _take(self, loaded: LoadedSettings) -> None:
        changed = differences(self.used, loaded.settings)
        now = [name for name in changed if change_of(*name) in (SettingChange.LIVE, SettingChange.SESSION)]
        used = with_values_of(self.used, loaded.settings, now)
        if self._error:
            _log.info("the settings file can be used again")
        self._loaded, self._error = loaded, ""
        if now:
            self.used = used
            for room in self.rooms:
                await room(used)
            names = [f"{section}.{key}" for section, key in now]
            _log.info("settings changed", settings=names)
            if self._publish is not None:
                await self._publish("settings.changed", settings=names)
        for section, key in changed:
            if (change := change_of(section, key)) is not SettingChange.LIVE:
                _log.warning("a setting waits", setting=f"{section}.{key}", needs=NEEDS[change])

    async def _follow(self) -> None:
        """Until nothing has happened in the file's folder for a while."""
        async for changes in watchfiles.awatch(
            self.file.parent,
            watch_filter=lambda _change, path: Path(path).name == self.file.name,
            debounce=DEBOUNCE_MS,
            step=STEP_MS,
            rust_timeout=round(LOOK_AGAIN_S * 1000),
            yield_on_timeout=True,
            recursive=False,
        ):
            if not changes:
                return
            await self.look()


def _state_of(file: Path) -> tuple[int, int, int] | None:
    """What changes with every change of a file; None: there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


async def apply_log(settings: Settings) -> None:
    """For `apply`: what the log shows, and how."""
    configure_logging(settings.log.level, settings.log.format)
