"""/v1/config: what is set, and live-changeable settings changed."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.api.routes import Route, get, patch
from appliance.model_api import ConfigChange, Scope, SettingList
from appliance.settings_change import SettingsEditor
from appliance.settings_watch import SettingsWatch


class ConfigResource:
    def __init__(self, watch: SettingsWatch, editor: SettingsEditor) -> None:
        self._watch = watch
        self._editor = editor

    def routes(self) -> Sequence[Route]:
        return (
            get("/v1/config", self.show, Scope.ADMIN),
            patch("/v1/config", self.change, Scope.ADMIN),
        )

    async def show(self) -> SettingList:
        """Every setting: its effective value, where it comes from, when a change of it takes effect, what it is for."""
        return SettingList(settings=self._watch.views())

    async def change(self, body: ConfigChange) -> SettingList:
        """Change settings that can change while everything runs, all or none; the answer has them as they are now.

        They are written into the settings file, comments stay; null takes one out, so that its default counts.
        """
        return SettingList(settings=list(await self._editor.change(body.changes)))
