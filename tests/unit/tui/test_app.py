"""The interface as a person uses it, keys in, picture out, on a simulated fleet and without a terminal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Self

import pytest

from appliance.client import ClientError, NotRunningError
from appliance.model import EventView, SessionState, SessionView
from appliance.model_api import Removed, Scope
from tests.unit.tui.facts import NOW
from tests.unit.tui.rig import StillApi, heard, picture, running, until
from tui.demo_fleet import Fleet
from tui.widgets import footer
from tui.widgets.canvas import Canvas


async def test_the_first_picture_is_complete() -> None:
    async with running() as (app, _pilot, _api):
        shown = picture(app)
        assert "55 of 60 online · 2 need you" in shown
        assert "✖ Cheikh" in shown
        assert "the phone unlinked it: pair it (p)" in shown
        assert shown.count("online  ") > 20
        assert "? help" in shown


async def test_a_change_in_the_fleet_is_painted() -> None:
    async with running() as (app, pilot, api):
        await api.stop_session("s001")
        await until(pilot, lambda: "■ Awa" in picture(app))


async def test_filter_mark_and_act_on_several() -> None:
    async with running() as (app, pilot, api):
        await pilot.press("slash", *"aw", "enter")
        assert "2 of 60" in picture(app)
        await pilot.press("space", "space")
        assert "2 marked" in picture(app)
        await pilot.press("S")
        await until(pilot, lambda: "Stop these 2 sessions?" in picture(app))
        assert "Awa, Hawa" in picture(app)
        await pilot.press("y")
        await until(pilot, lambda: "Stopped: Awa, Hawa" in picture(app))
        states = {view.name: view.state for view in await api.sessions()}
        assert (states["Awa"], states["Hawa"]) == (SessionState.STOPPED, SessionState.STOPPED)
        await pilot.press("escape")
        assert "marked" not in picture(app)


async def test_no_is_no() -> None:
    async with running() as (app, pilot, api):
        await pilot.press("S")
        await until(pilot, lambda: "Stop this session?" in picture(app))
        await pilot.press("escape")
        await pilot.pause()
        assert all(view.state is not SessionState.STOPPED or view.name == "Viviane" for view in await api.sessions())


async def test_a_key_that_is_off_says_why() -> None:
    async with running() as (app, pilot, _api):
        await pilot.press("s")
        await until(pilot, lambda: "It is not linked: pair it first (p)." in picture(app))


async def test_who_may_only_look_is_told_so() -> None:
    async with running(read_only=True) as (app, pilot, _api):
        await pilot.press("r")
        await until(pilot, lambda: "You may look, but not change anything here: it was" in picture(app))
        assert " AMDA  read only" in picture(app)


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 40)])
async def test_whom_the_appliance_lets_only_look_is_told_so_from_the_start(size: tuple[int, int]) -> None:
    api = StillApi(Fleet(60, now=NOW), step_s=0.05)
    api.scope = Scope.READ
    async with running(api=api, size=size) as (app, pilot, _api):
        assert "read only" in picture(app).splitlines()[0]
        await pilot.press("r")
        await until(pilot, lambda: "You may look, but not change anything" in picture(app))
        await pilot.press("question_mark")
        await until(pilot, lambda: "you are user:demo" in picture(app))
        await pilot.press("escape", "7")
        await until(pilot, lambda: "Redis" in picture(app))
        await pilot.press("e")
        await until(pilot, lambda: "You may look, but not change anything" in picture(app))


async def test_palette_finds_and_does() -> None:
    async with running() as (app, pilot, _api):
        await pilot.press("colon", *"problems")
        await until(pilot, lambda: "Show only what is not well" in picture(app))
        await pilot.press("enter")
        await until(pilot, lambda: "problems only" in picture(app))


async def test_help_shows_every_key_and_why_some_are_off() -> None:
    async with running() as (app, pilot, _api):
        await pilot.press("question_mark")
        await until(pilot, lambda: "Keys of this screen" in picture(app))
        assert "Off now: It is not linked" in picture(app)
        await pilot.press("escape")
        await until(pilot, lambda: "Keys of this screen" not in picture(app))


async def test_removing_needs_the_name() -> None:
    async with running() as (app, pilot, api):
        await pilot.press("D")
        await until(pilot, lambda: "Type s003 to do it" in " ".join(picture(app).split()))
        await pilot.press(*"s004", "enter")
        await until(pilot, lambda: "Not removed" in picture(app))
        assert "s003" in api.fleet.members
        await pilot.press("D")
        await until(pilot, lambda: "Remove Cheikh" in picture(app))
        await pilot.press(*"s003", "enter")
        await until(pilot, lambda: "s003" not in api.fleet.members)


class Linked(StillApi):
    """Whose devices cannot be unlinked, and whose sessions cannot be started."""

    async def remove_session(self, session: str, *, purge: bool = False) -> Removed:
        await super().remove_session(session, purge=purge)
        return Removed(session=session, purged=purge, note="it is not online; remove it on the phone")

    async def start_session(self, session: str) -> SessionView:
        raise ClientError(f"Session {session} cannot be started.", "Link it first.")


async def test_a_device_that_is_still_in_the_phone_s_list_is_told() -> None:
    async with running(api=Linked(Fleet(60, now=NOW), step_s=0.05), size=(200, 50)) as (app, pilot, _api):
        await pilot.press("D")
        await until(pilot, lambda: "Remove Cheikh" in picture(app))
        await pilot.press(*"s003", "enter")
        told = "Removed: Cheikh. Its device could not be unlinked: it is not online; remove it on the phone"
        await until(pilot, lambda: told in picture(app))


async def test_a_refusal_comes_with_its_remedy() -> None:
    api = Linked(Fleet(60, now=NOW), step_s=0.05)
    await api.stop_session("s001")
    async with running(api=api, size=(200, 50)) as (app, pilot, _api):
        await pilot.press("slash", *"awa", "enter", "s")
        await until(pilot, lambda: "Awa: Session s001 cannot be started. Link it first." in picture(app))


async def test_linking_anew_does_not_call_well_what_does_not_work() -> None:
    async with running() as (app, pilot, api):
        await pilot.press("slash", *"awa", "enter", "p")
        await until(pilot, lambda: "It is linked and works. Link it anew?" in picture(app))
        await pilot.press("escape")
        await api.stop_session("s001")
        await until(pilot, lambda: "■ Awa" in picture(app))
        await pilot.press("p")
        await until(pilot, lambda: "It has a login already. Link it anew?" in picture(app))


async def test_paused_stands_still_and_says_so() -> None:
    async with running() as (app, pilot, api):
        await pilot.press("z")
        await until(pilot, lambda: "Paused" in picture(app))
        await api.stop_session("s001")
        await heard(app, pilot, lambda: app._store.sessions["s001"].state is SessionState.STOPPED)
        assert "● Awa" in picture(app)
        await pilot.press("z")
        await until(pilot, lambda: "■ Awa" in picture(app))


class FragileApi(StillApi):
    """Can be away, as a daemon that is being restarted."""

    away = False

    async def __aenter__(self) -> Self:
        if self.away:
            raise NotRunningError("The appliance is not running.")
        return self

    async def events(
        self, *, after: int | None = None, session: str | None = None, kind: str | None = None
    ) -> AsyncIterator[EventView]:
        async for event in super().events(after=after, session=session, kind=kind):
            if self.away:
                return
            yield event


async def test_a_lost_appliance_is_a_banner_with_an_age_and_no_change_is_possible() -> None:
    api = FragileApi(Fleet(60, now=NOW), step_s=0.05)
    async with running(api=api) as (app, pilot, _api):
        api.away = True
        await api.tell(api.fleet.shake(1))
        await until(pilot, lambda: "does not answer" in picture(app))
        assert "Sessions go on" in picture(app)
        await pilot.press("r")
        await until(pilot, lambda: "cannot be reached" in picture(app))
        api.away = False
        await until(pilot, lambda: "does not answer" not in picture(app))


async def test_every_theme_shows_the_same_words() -> None:
    async with running() as (app, pilot, _api):
        first = picture(app).splitlines()[:-1]
        for name in ("light", "high contrast", "no colour", "dark"):
            await pilot.press("T")
            await until(pilot, lambda name=name: f"Theme: {name}" in picture(app))  # type: ignore[misc]
            assert [line.split()[:2] for line in picture(app).splitlines()[:-1]] == [line.split()[:2] for line in first]


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 40), (200, 50)])
async def test_the_screen_is_full_and_nothing_overlaps(size: tuple[int, int]) -> None:
    async with running(size=size) as (app, _pilot, _api):
        canvases = [canvas for canvas in app.screen.query(Canvas) if canvas.display]
        assert sum(canvas.region.height for canvas in canvases) == size[1]
        assert {canvas.region.width for canvas in canvases} == {size[0]}
        regions = [canvas.region for canvas in canvases]
        assert not any(one.overlaps(other) for one in regions for other in regions if one is not other)


async def test_a_long_message_is_whole_on_a_phone_and_gives_its_room_back(monkeypatch: pytest.MonkeyPatch) -> None:
    told = "You may look, but not change anything here: it was started with --read-only."
    async with running(size=(60, 20), read_only=True) as (app, pilot, _api):
        keys, rows = picture(app).splitlines()[-1], app.page.size.height
        await pilot.press("r")
        await until(pilot, lambda: told in " ".join(picture(app).split()) and app.page.size.height < rows)
        assert sum(canvas.region.height for canvas in app.screen.query(Canvas) if canvas.display) == 20
        app.say("/a/path" * 60)
        await until(pilot, lambda: picture(app).endswith("…"))
        assert app.page.size.height > 20 / 3
        monkeypatch.setattr(footer, "MESSAGE_S", -1000.0)
        app.repaint()
        await until(pilot, lambda: app.page.size.height == rows)
        assert picture(app).splitlines()[-1] == keys


async def test_what_is_wrong_with_the_picture_is_whole_on_a_phone() -> None:
    api = FragileApi(Fleet(60, now=NOW), step_s=0.05)
    async with running(size=(60, 20), api=api) as (app, pilot, _api):
        api.away = True
        await api.tell(api.fleet.shake(1))
        await until(pilot, lambda: "Sessions go on; trying again." in " ".join(picture(app).split()))
        assert "…" not in "".join(picture(app).splitlines()[2:6])


async def test_the_mouse_sorts_and_chooses() -> None:
    async with running() as (app, pilot, _api):
        await pilot.click("#sessions", offset=(5, 0))
        assert "name▼" in picture(app)
        await pilot.click("#sessions", offset=(8, 3))
        assert any(line.startswith("▸ ● Awa") for line in picture(app).splitlines())


async def test_an_empty_appliance_says_what_to_do() -> None:
    async with running(sessions=0) as (app, _pilot, _api):
        assert "There is no session yet: n creates one." in picture(app)
