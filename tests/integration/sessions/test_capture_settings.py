"""What one session keeps is its own matter: set while everything runs, remembered, and told to adopted workers."""

from __future__ import annotations

import asyncio

import pytest

from appliance.bench.rig import Rig, api_back, phone_number
from appliance.model import MediaKind, SessionState
from appliance.model_capture import CaptureChange
from appliance.staging import control_types as ct

pytestmark = [pytest.mark.staging, pytest.mark.timeout(180)]
CONTACT = "+33612345601"


async def stored_kinds(rig: Rig, phones: dict[str, str]) -> dict[str, set[MediaKind]]:
    """Send a picture, then a voice message as statuses; what becomes of them once everything that is due is stored."""
    last = (await rig.api.status()).last_event
    for phone in phones.values():
        for kind in (ct.SendKind.IMAGE, ct.SendKind.VOICE):
            await rig.staging.send(ct.Send(account=phone, contact=CONTACT, kind=kind, where=ct.Where.STATUS))
    wanted = {session: set((await rig.api.capture(session)).settings.kinds) for session in phones}
    due = sum(len({MediaKind.IMAGE, MediaKind.VOICE} & kinds) for kinds in wanted.values())
    found: dict[str, set[MediaKind]] = {session: set() for session in phones}
    async for event in rig.events(after=last, kind="media.stored"):
        found[event.session or ""].add(MediaKind(str(event.data["kind"])))
        due -= 1
        if not due:
            return found
    return found


async def test_it_holds_at_once_for_one_session_and_survives_restarts() -> None:
    phones = {"one": phone_number(1), "two": phone_number(2)}
    both = {MediaKind.IMAGE, MediaKind.VOICE}
    async with Rig() as rig, asyncio.timeout(150):
        for session, phone in phones.items():
            await rig.link(session, phone)
        before = (await rig.api.session("one")).pid
        view = await rig.api.set_capture("one", CaptureChange(kinds=(MediaKind.IMAGE,), trigger="save"))
        assert (view.own, view.settings.trigger) == (["kinds", "trigger"], "save")
        assert await stored_kinds(rig, phones) == {"one": {MediaKind.IMAGE}, "two": both}
        assert (await rig.api.session("one")).pid == before, "no new process"
        await rig.api.restart_session("one")
        await rig.wait_state("one", SessionState.ONLINE)
        assert await stored_kinds(rig, phones) == {"one": {MediaKind.IMAGE}, "two": both}
        await rig.appliance.restart_daemon()
        await api_back(rig.api)
        await rig.welcomed("one")
        view = await rig.api.set_capture("one", CaptureChange(kinds=None))
        assert view.own == ["trigger"]
        assert await stored_kinds(rig, phones) == {"one": both, "two": both}
