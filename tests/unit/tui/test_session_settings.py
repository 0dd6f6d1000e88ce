"""What is set for one session: shown, switched, typed; and its pictures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model import MediaKind
from appliance.model_capture import CaptureChange, CaptureSettings, CaptureView, FetchDeleted
from appliance.model_storage import Pixels
from tests.unit.tui.rig import Run, picture, running, until
from tui.app import AmdaTui
from tui.picture import UPPER, room, rows
from tui.screens.session_settings import FACTS, switched, typed_change, typed_person, typed_proxy


def capture(**own: object) -> CaptureView:
    change = CaptureChange(**own)  # type: ignore[arg-type]
    return CaptureView(settings=change.applied(CaptureSettings()), own=list(own))


async def to_part(app: AmdaTui, pilot: Run, title: str) -> None:
    await pilot.press("enter")
    await until(pilot, lambda: "overview" in picture(app))
    while f"[{title}]" not in picture(app):
        await pilot.press("tab")
        await pilot.pause()


async def to_row(app: AmdaTui, pilot: Run, label: str) -> None:
    await until(pilot, lambda: label in picture(app))
    while not any(line.startswith("▸") and label in line for line in picture(app).splitlines()):
        await pilot.press("down")
        await pilot.pause()


async def test_a_switch_a_line_and_the_way_back() -> None:
    async with running() as (app, pilot, api):
        await to_part(app, pilot, "settings")
        await to_row(app, pilot, "in groups, too")
        await pilot.press("enter")
        await until(pilot, lambda: "Changed: in groups, too." in picture(app))
        assert not (await api.capture("s003")).settings.groups
        await to_row(app, pilot, "remembers for")
        await pilot.press("enter")
        await until(pilot, lambda: "Empty: as for all sessions." in picture(app))
        await pilot.press(*"24", "enter")
        await until(pilot, lambda: "24 hours" in picture(app))
        await pilot.press("enter")
        await until(pilot, lambda: "› 24" in picture(app))
        await pilot.press("ctrl+u", "enter")
        await until(pilot, lambda: "72 hours" in picture(app))
        assert (await api.capture("s003")).own == ["groups"]


async def test_the_person_and_what_is_wrong_with_one() -> None:
    async with running() as (app, pilot, api):
        await to_part(app, pilot, "settings")
        await to_row(app, pilot, "is told about it")
        for typed, said in (("Awa", "three things"), ("Awa, xx, ntfy://x", "Languages: en, fr")):
            await pilot.press("enter")
            await until(pilot, lambda: "leave it as it is" in picture(app))
            await pilot.press(*typed, "enter")
            await until(pilot, lambda said=said: said in picture(app))  # type: ignore[misc]
        await pilot.press("enter")
        await until(pilot, lambda: "leave it as it is" in picture(app))
        await pilot.press(*"Awa, fr, ntfy://host/awa", "enter")
        await until(pilot, lambda: "Awa, fr, ntfy://···" in picture(app))
        assert (await api.person("s003")).name == "Awa"


async def test_what_is_fixed_and_who_may_only_look() -> None:
    async with running(read_only=True) as (app, pilot, _api):
        await to_part(app, pilot, "settings")
        await pilot.press("enter")
        await until(pilot, lambda: "this is not changed here" in picture(app))
        await to_row(app, pilot, "keep statuses")
        await pilot.press("enter")
        await until(pilot, lambda: "You may look" in picture(app))


async def test_a_picture_is_shown_pinned_and_anything_else_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AmdaTui, "draws_pictures", True)  # whatever terminal the tests run in
    async with running() as (app, pilot, api):
        first = next(item for item in api.fleet.media if item.session == "s003")
        await to_part(app, pilot, "media")
        await until(pilot, lambda: first.id in picture(app))
        kinds = [item.kind for item in api.fleet.media if item.session == "s003"]
        for _ in range(kinds.index(MediaKind.IMAGE)):
            await pilot.press("down")
        await pilot.press("enter")
        await until(pilot, lambda: picture(app).count(UPPER) > 1000)
        assert "any key closes it" in picture(app)
        await pilot.press("x")
        await until(pilot, lambda: UPPER not in picture(app))
        await pilot.press("P")
        await until(pilot, lambda: "Pinned: no pruning takes it." in picture(app))
        assert sum(item.pinned for item in api.fleet.media) == 1
        await pilot.press("home")
        for _ in range(next(index for index, kind in enumerate(kinds) if kind is not MediaKind.IMAGE)):
            await pilot.press("down")
        await pilot.press("enter")
        await until(pilot, lambda: "no picture that can be drawn" in picture(app))


async def test_without_colours_there_is_no_picture() -> None:
    async with running() as (app, pilot, api):
        app.use_theme("plain")
        await to_part(app, pilot, "media")
        await until(pilot, lambda: app.page.subject() is not None)
        assert api.fleet.media
        await pilot.press("enter")
        await until(pilot, lambda: "amda media export" in picture(app))


@given(st.integers(1, 9), st.integers(1, 9))
def test_two_rows_of_pixels_in_each_line(width: int, height: int) -> None:
    lines = rows(Pixels(width=width, height=height, rgb=bytes(index % 256 for index in range(3 * width * height))))
    assert len(lines) == (height + 1) // 2
    assert {sum(len(part.text) for part in line) for line in lines} == {width}
    assert all(part.text.strip(UPPER) == "" for line in lines for part in line)
    assert room(width, height) == (width, 2 * height)


def test_what_is_typed_becomes_a_change() -> None:
    assert typed_change("kinds", "image, video").own() == {"kinds": (MediaKind.IMAGE, MediaKind.VIDEO)}
    assert typed_change("keep_bytes", "1,5").own() == {"keep_bytes": 1_500_000}
    assert typed_change("trigger", "").trigger is None
    for field, text in (("kinds", "smells"), ("keep_hours", "soon"), ("keep_hours", "-1"), ("allow", "my mother")):
        with pytest.raises(ValueError, match=next(fact.label for fact in FACTS if fact.field == field)):
            typed_change(field, text)
    assert [typed_proxy(text) for text in ("", "none", "http://p")] == [None, "", "http://p"]
    assert typed_person("Awa, fr, tgram://a/b,c").contact == "tgram://a/b,c"


def test_a_switch_turns_round_what_holds() -> None:
    assert switched("groups", capture()).own() == {"groups": False}
    assert switched("groups", capture(groups=False)).own() == {"groups": True}
    assert switched("fetch_deleted", capture()).own() == {"fetch_deleted": FetchDeleted.ON_ARRIVAL}
