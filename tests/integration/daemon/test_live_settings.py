"""Settings are changed while a real appliance runs: every process takes them at once, and nobody is disconnected."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from appliance.bench.rig import Rig, api_back
from appliance.client import ApiError
from appliance.settings_edit import replace_file, with_value
from appliance.staging import control_types as ct

PHONE = "221771000001"
CONTACT = "221772000001"
STATUS = ct.Send(account=PHONE, contact=CONTACT, kind=ct.SendKind.TEXT, text="hello", where=ct.Where.STATUS)
PICTURE = ct.Send(account=PHONE, contact=CONTACT, kind=ct.SendKind.IMAGE, view_once=ct.ViewOnce.PAYLOAD)


class Live:
    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.file = rig.settings.paths.run_dir / "settings.toml"

    def write(self, **values: object) -> None:
        text = self.file.read_text()
        for name, value in values.items():
            section, _, key = name.partition("__")
            text = with_value(text, section, key, value)
        replace_file(self.file, text)

    async def change(self, **values: object) -> list[str]:
        """Until the daemon says that it has taken them, or refused the file."""
        after = (await self.rig.api.status()).last_event
        self.write(**values)
        async for event in self.rig.events(after=after, kind="settings"):
            return list(event.data.get("settings", ()))  # type: ignore[call-overload, no-any-return]
        raise AssertionError("no event")

    async def stored_after(self, *sent: ct.Send) -> list[str]:
        """Kinds of the media that comes of these messages; the last one must be kept."""
        after = (await self.rig.api.status()).last_event
        ids = [(await self.rig.staging.send(message))[0] for message in sent]
        kinds = []
        async for event in self.rig.events(after=after, kind="media.stored"):
            kinds.append(str(event.data["category"]))
            if event.data["message_id"] == ids[-1]:
                return kinds
        raise AssertionError("no event")


@pytest.fixture
async def live() -> AsyncIterator[Live]:
    async with Rig() as rig, asyncio.timeout(110):
        await rig.link("one", f"+{PHONE}")
        await rig.staging.wait_online(PHONE)
        yield Live(rig)


@pytest.mark.staging
async def test_every_room_takes_a_change_at_once(live: Live) -> None:
    rig = live.rig
    before = await rig.staging.last()
    assert await live.stored_after(STATUS, PICTURE) == ["statuses", "view-once"]
    log = rig.appliance.state_dir / "logs" / "daemon.log"
    assert log.read_text().count('"media stored"') == 2

    # capture: the session's process; the quota: the vault; the log: the daemon itself; all in one step
    changed = await live.change(
        capture__statuses=False, limits__sessions=1, storage__quota_bytes=5 << 20, log__level="error"
    )
    assert sorted(changed) == ["capture.statuses", "limits.sessions", "log.level", "storage.quota_bytes"]
    assert await live.stored_after(STATUS, PICTURE) == ["view-once"]
    with pytest.raises(ApiError, match="1 sessions already"):
        await rig.api.create_session("two")
    assert (await rig.api.storage()).quota == 5 << 20
    assert log.read_text().count('"media stored"') == 2

    # what has to wait is named, and what is broken is refused, as a whole
    assert await live.change(limits__request_s=50, limits__sessions=3) == ["limits.sessions"]
    [waiting] = (await rig.api.status()).settings_waiting
    assert waiting == "limits.request_s needs a restart of the daemon, which disconnects nobody"
    good = live.file.read_text()
    assert await live.change(pairing__slots=99, capture__statuses=True) == []
    [part] = (await rig.api.status()).degraded
    assert part.part == "settings"
    assert "pairing.slots" in part.reason
    assert await live.stored_after(STATUS, PICTURE) == ["view-once"]

    # what changed while the daemon was away reaches the processes that it adopts
    replace_file(live.file, good)
    assert await live.change(capture__trigger=".vu") == ["capture.trigger"]
    assert (await rig.api.status()).degraded == []
    daemon = rig.appliance.pids()["daemon"]
    live.write(capture__statuses=True)
    await rig.appliance.kill_daemon()
    await api_back(rig.api)
    assert rig.appliance.pids()["daemon"] != daemon
    await rig.welcomed("one")
    assert await live.stored_after(STATUS, PICTURE) == ["statuses", "view-once"]
    assert (await rig.api.status()).settings_waiting == []

    assert await rig.staging.journal(after=before, kinds=[ct.JournalKind.CLOSED], account=PHONE) == []
