"""A change of the file is taken by everybody at once, a broken file by nobody, and what has to wait is named."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.config import SECTIONS, Settings, read_settings
from appliance.model_api import SettingChange
from appliance.settings_views import _CHANGES, change_of
from appliance.settings_watch import SettingsWatch


class Room:
    def __init__(self) -> None:
        self.taken: list[Settings] = []
        self.changed = asyncio.Event()

    async def apply_settings(self, settings: Settings) -> None:
        self.taken.append(settings)
        self.changed.set()


class Watched:
    def __init__(self, folder: Path, text: str | None = "", **environ: str) -> None:
        self.file = folder / "amda.toml"
        self.environ = {"AMDA_PATHS_STATE_DIR": str(folder), **environ}
        if text is not None:
            self.write(text)
        self.room = Room()
        loaded = read_settings(None if text is None else self.file, {**self.environ, "XDG_CONFIG_HOME": str(folder)})
        self.watch = SettingsWatch(loaded, self.environ, [self.room.apply_settings])

    def write(self, text: str) -> None:
        temporary = self.file.with_suffix(".new")
        temporary.write_text(text)
        temporary.replace(self.file)

    async def change(self, text: str) -> None:
        self.write(text)
        await self.watch.look()


@pytest.fixture
def watched(tmp_path: Path) -> Callable[..., Watched]:
    return lambda *args, **kwargs: Watched(tmp_path, *args, **kwargs)


async def test_what_can_change_live_reaches_every_room(watched: Callable[..., Watched]) -> None:
    it = watched("[pairing]\nslots = 3\n")
    await it.change("[pairing]\nslots = 5\n[fleet]\nstarts_per_s = 2\n")
    [taken] = it.room.taken
    assert (taken.pairing.slots, taken.fleet.starts_per_s) == (5, 2)
    assert it.watch.used is taken
    assert it.watch.waiting == []
    await it.watch.look()
    assert len(it.room.taken) == 1


async def test_what_cannot_is_named_and_stays_as_it_is(watched: Callable[..., Watched], tmp_path: Path) -> None:
    it = watched()
    await it.change(f'[redis]\nown = false\n[limits]\nrequest_s = 5\nsessions = 7\n[paths]\nrun_dir = "{tmp_path}/r"\n')
    [taken] = it.room.taken
    assert taken.limits.sessions == 7
    assert taken.redis.own is True
    assert it.watch.waiting == [
        "paths.run_dir needs a restart of the whole appliance",
        "redis.own needs a restart of the whole appliance",
        "limits.request_s needs a restart of the daemon, which disconnects nobody",
    ]
    assert {f"{view.section}.{view.key}" for view in it.watch.views() if view.waits} == {
        "paths.run_dir",
        "redis.own",
        "limits.request_s",
    }
    await it.change("")
    assert it.watch.waiting == []
    assert it.watch.used.limits.sessions == 100


@pytest.mark.parametrize("text", ["[pairing]\nslots = 5\nslotz = 1\n", "[pairing", "[alerts]\nquiet_from = '22:00'\n"])
async def test_a_broken_file_changes_nothing_and_is_told(watched: Callable[..., Watched], text: str) -> None:
    it = watched("[pairing]\nslots = 3\n")
    await it.change(text)
    assert it.room.taken == []
    assert it.watch.used.pairing.slots == 3
    [part] = it.watch.trouble()
    assert part.part == "settings"
    assert str(it.file) in part.reason or "quiet_from" in part.reason
    assert "\n" not in part.reason
    await it.change("[pairing]\nslots = 4\n")
    assert it.watch.trouble() == []
    assert it.watch.used.pairing.slots == 4


async def test_a_file_that_vanishes_is_a_mistake(watched: Callable[..., Watched]) -> None:
    it = watched("[pairing]\nslots = 3\n")
    it.file.unlink()
    await it.watch.look()
    assert it.watch.used.pairing.slots == 3
    assert "no such file" in it.watch.error


async def test_the_environment_still_wins(watched: Callable[..., Watched]) -> None:
    it = watched("", AMDA_PAIRING_SLOTS="9")
    await it.change("[pairing]\nslots = 5\ntries = 2\n")
    [taken] = it.room.taken
    assert (taken.pairing.slots, taken.pairing.tries) == (9, 2)


async def test_the_kernel_tells_of_a_change(watched: Callable[..., Watched]) -> None:
    it = watched("[pairing]\nslots = 3\n")
    running = asyncio.create_task(it.watch.run())
    try:
        for slots in (4, 5):
            it.room.changed.clear()
            it.write(f"[pairing]\nslots = {slots}\n")
            async with asyncio.timeout(10):
                await it.room.changed.wait()
            assert it.watch.used.pairing.slots == slots
    finally:
        running.cancel()
        await asyncio.wait([running])


def test_every_setting_says_when_it_changes() -> None:
    names = {f"{section}.{key}" for section, struct in SECTIONS.items() for key in struct.__struct_fields__}
    assert set(_CHANGES) <= names
    assert change_of("paths", "state_dir") is SettingChange.APPLIANCE
    assert change_of("pairing", "slots") is SettingChange.LIVE
    assert change_of("something", "new") is SettingChange.DAEMON
