"""The screen of logs as a person uses it."""

from __future__ import annotations

from pathlib import Path

from tests.unit.tui.rig import heard, picture, running, until
from tui.actions import Place
from tui.screens.log import LogPage


async def test_everything_is_followed_filtered_and_narrowed() -> None:
    async with running() as (app, pilot, api):
        await pilot.press("6")
        await until(pilot, lambda: "health verdict for 60 sessions" in picture(app))
        assert "── everything · all but details · follows ──" in picture(app)
        assert "ping answered" not in picture(app)
        await api.stop_session("s001")
        await until(pilot, lambda: "session.state state=stopped" in picture(app))
        await pilot.press("slash", *"stopped", "enter")
        assert picture(app).count("session.state") == 1
        assert "/ stopped · 1" in picture(app)
        await pilot.press("escape", "e")
        await until(pilot, lambda: "── daemon" in picture(app) and "session.state" not in picture(app))
        await pilot.press("e", "w", "w", "w")
        await until(pilot, lambda: "── sessions · with all details" in picture(app) and "ping answered" in picture(app))


async def test_standing_still_shows_the_whole_line_and_opens_its_session() -> None:
    async with running() as (app, pilot, _api):
        await pilot.press("6")
        await until(pilot, lambda: "asking again" in picture(app))
        await pilot.press("up", "up")
        await until(pilot, lambda: "stands still: f follows" in picture(app))
        chosen = next(line for line in picture(app).splitlines() if line.startswith("▸"))
        assert picture(app).count(chosen.split(maxsplit=4)[-1]) >= 2
        await pilot.press("enter")
        await until(pilot, lambda: app.place is Place.SESSION)
        await pilot.press("escape", "f")
        await until(pilot, lambda: "· follows" in picture(app))


async def test_what_is_shown_is_saved_and_never_over_another_file(tmp_path: Path) -> None:
    async with running() as (app, pilot, _api):
        await pilot.press("6")
        await until(pilot, lambda: "asking again" in picture(app))
        target = tmp_path / "log.txt"
        for said in ("Saved: ", "Not saved: "):
            await pilot.press("s")
            await until(pilot, lambda: "as they are shown" in picture(app))
            await pilot.press("ctrl+u", *(str(target)), "enter")
            await until(pilot, lambda said=said: said in picture(app))  # type: ignore[misc]
        assert "asking again" in target.read_text()
        assert target.stat().st_mode & 0o777 == 0o600


async def test_paused_it_stands_still() -> None:
    async with running() as (app, pilot, api):
        await pilot.press("6")
        await until(pilot, lambda: "asking again" in picture(app))
        await pilot.press("z")
        await until(pilot, lambda: "Paused" in picture(app))
        await api.stop_session("s001")
        page = app.page
        assert isinstance(page, LogPage)
        await heard(app, pilot, lambda: any("state=stopped" in row.text for row in page._book))
        assert "stopped" not in picture(app)
        await pilot.press("z")
        await until(pilot, lambda: "state=stopped" in picture(app))
