"""Settings that a caller of the API changes: into the file, as an operator would write them, and in force at once.

Only what takes effect live is taken: what needs a restart is the business of whoever can restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from appliance.config import PREFIX, ConfigError, field_type, given_by, parse_settings
from appliance.model_api import SettingChange, SettingValue, SettingView
from appliance.problems import conflict, invalid, unavailable
from appliance.settings_edit import EditError, replace_file, with_value
from appliance.settings_views import NEEDS, change_of
from appliance.settings_watch import SettingsWatch

_BY_HAND: Final = "Change it on the machine: amda config set"


class SettingsEditor:
    def __init__(self, watch: SettingsWatch) -> None:
        self._watch = watch
        self._busy = asyncio.Lock()

    async def change(self, values: Mapping[str, SettingValue]) -> Sequence[SettingView]:
        """Write all or nothing, and wait until it is in force; returns the settings that were named.

        None takes a setting out of the file: its default counts. Raises ProblemError: 400 no such setting, or not this
        value; 409 it needs a restart, or a variable overrides it; 503 the file cannot be written.
        """
        for name in values:
            self._check(name)
        async with self._busy:
            await asyncio.to_thread(self._write, values)
            await self._watch.look()
        return [view for view in self._watch.views() if f"{view.section}.{view.key}" in values]

    def _check(self, name: str) -> None:
        section, _, key = name.partition(".")
        try:
            field_type(section, key, name)
        except (ConfigError, KeyError) as error:
            raise invalid(name, f"{name} is not a setting.", "GET /v1/config lists them.") from error
        if (change := change_of(section, key)) is not SettingChange.LIVE:
            raise conflict(f"{name} {NEEDS[change]}.", _BY_HAND)
        if (section, key) in given_by(self._watch.environ):
            variable = PREFIX + name.replace(".", "_").upper()
            raise conflict(f"{name} is set by the daemon's environment.", f"Change or remove {variable}.")

    def _write(self, values: Mapping[str, SettingValue]) -> None:
        file = self._watch.file
        try:
            text = old = file.read_text("utf-8") if file.exists() else ""
            for name, value in values.items():
                section, _, key = name.partition(".")
                text = with_value(text, section, key, value)
            parse_settings(text, file, self._watch.environ)
            if text != old:
                replace_file(file, text)
        except ConfigError as error:
            raise invalid("changes", str(error).removeprefix(f"{file}: "), "Nothing was changed.") from error
        except EditError as error:
            raise conflict(str(error), _BY_HAND) from error
        except OSError as error:
            raise unavailable(f"The settings file cannot be written: {error.strerror}.", _BY_HAND) from error
