"""The screens besides the first: what they show of a simulated fleet, and what their keys do."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model import PairingState, PairingView, PairMethod, SessionState
from appliance.model_history import HourCount, ReasonCount
from appliance.model_storage import JobState, PruneRequest, StorageJob
from appliance.sessions.policy import Action
from appliance.sessions.reasons import DisconnectReason
from tests.unit.tui.facts import NOW, scene_of, session
from tests.unit.tui.rig import Run, StillApi, picture, running, until
from tui.actions import Place
from tui.app import AmdaTui
from tui.bigtype import HEIGHT, dots, halves, large
from tui.demo_fleet import Fleet
from tui.paint import PLAIN_GLYPHS, RICH_GLYPHS, Ground, Tone, width_of
from tui.screens import pairing
from tui.screens.history import hour_chart
from tui.screens.session import TITLES, SessionPage
from tui.screens.session_parts import loss_line
from tui.screens.storage_prune import ended
from tui.words import REASONS

SIZES = [(60, 20), (80, 24), (120, 40), (200, 50)]


def attempt(state: PairingState, session: str = "awa", **changes: object) -> PairingView:
    values = {
        "id": session,
        "session": session,
        "method": PairMethod.CODE,
        "state": state,
        "created_at": NOW - 20,
        "updated_at": NOW - 1,
        "phone": "+22177······12",
    }
    return PairingView(**{**values, **changes})  # type: ignore[arg-type]


# ---- pairing --------------------------------------------------------------------------------------------------------


async def asked_for(app: AmdaTui, pilot: Run, number: str) -> None:
    """Ask for a code for the session under the cursor, or for a QR code without a number."""
    await pilot.press("p")
    await until(pilot, lambda: "Pair Cheikh" in picture(app))
    await pilot.press(*number, "enter")
    await until(pilot, lambda: app.place is Place.PAIRING)


async def test_a_session_is_linked_with_the_code_in_large_type() -> None:
    async with running() as (app, pilot, api):
        await asked_for(app, pilot, "+221771234567")
        await api.later(3)
        await until(pilot, lambda: "valid for 2:" in picture(app))
        code = (await api.pairings())[0].code
        assert code is not None
        assert code in picture(app)
        assert picture(app).count("██") > 40
        await api.later(60)
        await until(pilot, lambda: "Linked within" in picture(app))
        assert api.fleet.members["s003"].view.state is SessionState.ONLINE


async def test_without_a_number_it_is_a_qr_code_dark_on_light() -> None:
    async with running() as (app, pilot, api):
        await asked_for(app, pilot, "")
        await api.later(3)
        await until(pilot, lambda: "point it here" in picture(app))
        papers = [line for line in app.page.lines if any(ground is Ground.PAPER for _, _, ground in line.spans)]
        assert len(papers) > 20


async def test_a_terminal_without_room_for_a_qr_code_says_what_it_needs() -> None:
    async with running(size=(80, 24)) as (app, pilot, api):
        await asked_for(app, pilot, "")
        await api.later(3)
        await until(pilot, lambda: "Too small for a QR code" in picture(app))


async def test_an_attempt_is_given_up() -> None:
    async with running() as (app, pilot, api):
        await asked_for(app, pilot, "+221771234567")
        await until(pilot, lambda: app.page.subject() is not None)
        await pilot.press("c")
        await until(pilot, lambda: "cancelled" in picture(app))
        assert [view.state for view in await api.pairings()] == [PairingState.CANCELLED]


def test_the_queue_is_in_the_order_in_which_somebody_is_needed() -> None:
    scene = scene_of(session("Awa"), session("Binta"))
    views = [
        attempt(PairingState.LINKED, "zoe", ended_at=NOW - 5),
        attempt(PairingState.QUEUED, "second", position=2),
        attempt(PairingState.QUEUED, "first", position=1),
        attempt(PairingState.WAITING, "awa", code="ABCD-1234", expires_at=NOW + 100),
        attempt(PairingState.FAILED, "yaye", ended_at=NOW - 1, reason="Why."),
    ]
    scene.store.refresh_pairings(views)
    assert [view.session for view in pairing.attempts(scene, "")] == ["awa", "first", "second", "yaye", "zoe"]
    assert [view.session for view in pairing.attempts(scene, "yay")] == ["yaye"]


@pytest.mark.parametrize("state", list(PairingState))
@pytest.mark.parametrize("width", [56, 76, 116, 196])
def test_every_state_of_an_attempt_is_painted_in_every_width(state: PairingState, width: int) -> None:
    scene = scene_of(session("Awa"))
    view = attempt(state, reason="The phone did not answer.", remedy="Try again.", position=1, wait_s=40)
    for line in [*pairing.code_picture(view, scene, width, 20), pairing.attempt_line(view, "awa", scene, width)]:
        assert not line.spans or width_of(line.text) == width
    assert any(pairing.STATES[state][0] in line.text for line in pairing.code_picture(view, scene, width, 20))


def test_a_dead_code_is_called_expired() -> None:
    view = attempt(PairingState.WAITING, code="ABCD-1234", expires_at=NOW - 1)
    assert "expired" in pairing.countdown(view, scene_of(), 80).text
    assert (
        "valid for 0:30" in pairing.countdown(attempt(PairingState.WAITING, expires_at=NOW + 30), scene_of(), 80).text
    )


@given(st.text("ABCDEFGHJKLMNPQRSTVWXYZ0123456789-", min_size=1, max_size=9), st.integers(10, 200))
def test_large_type_fits_and_no_two_codes_look_alike(code: str, room: int) -> None:
    rows = large(code, room, RICH_GLYPHS)
    assert len({len(row) for row in rows}) == 1
    assert len(rows[0]) <= max(room, 2 * len(code))
    assert dots(code) != dots(code[::-1]) or code == code[::-1]


def test_every_letter_has_a_shape_of_its_own() -> None:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"
    shapes = {tuple(map(tuple, dots(letter))) for letter in letters}
    assert len(shapes) == len(letters)
    assert len(halves(dots("A"))) == (HEIGHT + 1) // 2
    assert large("A", 6, PLAIN_GLYPHS)[0].strip("# ") == ""
    assert large("é", 20, RICH_GLYPHS) == ["é"]


# ---- one session ----------------------------------------------------------------------------------------------------


async def test_a_session_s_screen_explains_it_and_follows_its_log() -> None:
    async with running() as (app, pilot, _api):
        await pilot.press("enter")
        await until(pilot, lambda: "ping answered" in picture(app) and "back after" in picture(app))
        shown = picture(app)
        assert "WhatsApp removed this linked device; media and history are kept." in shown
        assert "usually on the phone. Code 401." in " ".join(shown.split())
        assert "the phone unlinked it: pair it (p)" in shown
        for title, proof in (
            ("disconnections", "back after"),
            ("media", "status"),
            ("settings", "Cheikh, fr, ntfy"),
            ("log", "logged in"),
        ):
            await pilot.press("tab")
            await until(pilot, lambda: f"[{title}]" in picture(app) and proof in picture(app))  # noqa: B023
        await pilot.press("escape")
        await until(pilot, lambda: app.place is Place.SESSIONS)


async def test_a_session_that_is_removed_meanwhile_is_said_to_be_gone() -> None:
    async with running() as (app, pilot, api):
        await pilot.press("enter")
        await until(pilot, lambda: "ping answered" in picture(app))
        await api.remove_session("s003")
        app.hurry()
        await until(pilot, lambda: "does not exist any more" in picture(app))


@pytest.mark.parametrize("size", SIZES)
async def test_titles_of_a_session_s_parts_are_whole(size: tuple[int, int]) -> None:
    async with running(size=size) as (app, pilot, _api):
        await pilot.press("enter")
        await until(pilot, lambda: app.place is Place.SESSION)
        assert isinstance(app.page, SessionPage)
        await until(pilot, lambda: all(title in picture(app) for title in TITLES.values()))


# ---- history --------------------------------------------------------------------------------------------------------


async def test_most_disconnections_since_yesterday_in_one_key() -> None:
    async with running() as (app, pilot, _api):
        await pilot.press("4")
        await until(pilot, lambda: "by session" in picture(app))
        first = picture(app).split("disconnections▼")[1].splitlines()[1]
        assert first.startswith("▸ Thérèse")
        await pilot.press("enter")
        await until(pilot, lambda: app.place is Place.SESSION and "● Thérèse" in picture(app))


def only(app: AmdaTui) -> str | None:
    """The reason that is chosen, as it is shown."""
    found = re.search(r"only: (.+)", picture(app))
    return found and found[1].strip()


async def there_are(api: StillApi) -> list[ReasonCount]:
    return (await api.history_stats(since=NOW - 7 * 86_400)).by_reason


async def test_range_reason_and_filter() -> None:
    async with running() as (app, pilot, api):
        await pilot.press("4")
        await until(pilot, lambda: "since yesterday" in picture(app))
        await pilot.press("w")
        await until(pilot, lambda: "last 7 days" in picture(app))
        await pilot.press("e")
        await until(pilot, lambda: "only: network closed" in picture(app))
        seen = []
        while (reason := only(app)) is not None:
            seen.append(reason)
            await pilot.press("e")
            await until(pilot, lambda before=reason: only(app) != before)  # type: ignore[misc]
        assert len(set(seen)) == len(seen) == len(await there_are(api)), "each once, then all again"
        await pilot.press("e")
        await until(pilot, lambda: only(app) == seen[0])
        await pilot.press("slash", *"aw", "enter")
        await until(pilot, lambda: "/ aw" in picture(app))
        await pilot.press("escape")
        await until(pilot, lambda: "only:" not in picture(app))


@pytest.mark.parametrize("decision", Action)
def test_a_loss_after_which_nobody_tries_again_says_so(decision: Action) -> None:
    row = msgspec.structs.replace(Fleet(60, now=NOW).ledger[0], decision=decision.value, back_at=None)
    told = "not tried again" if decision in (Action.NEVER, Action.FAIL) else "not yet back"
    assert told in loss_line(row, scene_of(), 120).text


@given(st.lists(st.integers(0, 500), max_size=800), st.sampled_from([56, 76, 100, 196]), st.sampled_from([3, 5]))
def test_the_chart_fits_and_its_highest_bar_is_full(counts: list[int], width: int, rows: int) -> None:
    hours = [HourCount(start=NOW + 3600 * index, count=count) for index, count in enumerate(counts)]
    lines = hour_chart(hours, scene_of(), width, rows)
    assert [width_of(line.text) for line in lines] == [width] * (rows + 1)
    assert ("█" in lines[0].text) == (max(counts, default=0) > 0)


def test_every_reason_has_a_short_word() -> None:
    assert set(REASONS) == set(DisconnectReason)
    assert all(len(word) <= 17 for word in REASONS.values())


# ---- storage and alerts ---------------------------------------------------------------------------------------------


async def test_room_is_made_after_a_look_at_what_would_go() -> None:
    async with running() as (app, pilot, api):
        await pilot.press("3")
        await until(pilot, lambda: "grows 178 MB a day" in picture(app))
        assert "▸ Georgette" in picture(app)
        before = (await api.storage()).used
        await pilot.press("x")
        await until(pilot, lambda: "30 items go" in picture(app))
        assert "Georgette (24 MB)" in picture(app)
        assert "cannot be brought back" in picture(app)
        await pilot.press("escape")
        assert (await api.storage()).used == before
        await pilot.press("x")
        await until(pilot, lambda: "30 items go" in picture(app))
        await pilot.press("y")
        await until(pilot, lambda: "Making room" in picture(app))
        await api.later(4)
        await until(pilot, lambda: "15 of 30 items" in picture(app))
        await pilot.press("x")
        await until(pilot, lambda: "Room is being made already" in picture(app))
        await pilot.press("1")
        await api.later(4)
        await until(pilot, lambda: "Deleted: " in picture(app))
        assert (await api.storage()).used < before


async def test_making_room_is_stopped_and_what_has_gone_is_said() -> None:
    async with running() as (app, pilot, api):
        await pilot.press("3", "c")
        await until(pilot, lambda: "Nothing is being deleted just now." in picture(app))
        await pilot.press("x")
        await until(pilot, lambda: "30 items go" in picture(app))
        await pilot.press("y")
        await until(pilot, lambda: "Making room" in picture(app))
        await api.later(2)
        await until(pilot, lambda: "8 of 30 items" in picture(app))
        await pilot.press("c")
        await until(pilot, lambda: "Stopped: the rest stays." in picture(app))
        assert "Making room" not in picture(app)
        job = await api.prune_job()
        assert job is not None
        assert job.prune is not None
        assert (job.prune.objects, job.prune.stopped) == (8, True)


async def test_the_prune_of_somebody_else_is_shown_with_how_far_it_is() -> None:
    async with running() as (app, pilot, api):
        await api.begin_prune(PruneRequest())
        await api.later(2)
        await pilot.press("3")
        await until(pilot, lambda: "8 of 30 items" in picture(app))
        await api.later(6)
        await until(pilot, lambda: "Making room" not in picture(app) and "grows" in picture(app))


async def test_an_appliance_that_starts_anew_forgets_what_was_still_to_go() -> None:
    begun = StorageJob(id="a", kind="prune", total=4, started_at=NOW)
    other = StorageJob(id="b", kind="prune", total=4, started_at=NOW)
    for now in (None, other):
        assert "was started anew meanwhile" in ended(now, begun.id)[0]
    failed = msgspec.structs.replace(begun, state=JobState.FAILED, error="the store is away")
    assert ended(failed, "a") == ("the store is away", Tone.BAD)


async def test_the_gauge_of_the_header_is_that_of_the_storage() -> None:
    async with running() as (app, pilot, _api):
        await until(pilot, lambda: "53 %" in picture(app))


async def test_an_alert_is_explained_acknowledged_and_muted() -> None:
    async with running() as (app, pilot, api):
        await until(pilot, lambda: "Alerts 2" in picture(app))
        await pilot.press("5")
        await until(pilot, lambda: "Link it again: amda pair s003" in picture(app))
        await pilot.press("m")
        await until(pilot, lambda: "1 silences" in picture(app))
        await pilot.press("a")
        await until(pilot, lambda: "acknowledged by demo" in picture(app))
        assert "Alerts 1" in picture(app)
        assert len(await api.silences()) == 1


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("key", ["2", "3", "4", "5", "6", "7"])
async def test_every_screen_fills_every_size_and_cuts_no_title(size: tuple[int, int], key: str) -> None:
    async with running(size=size) as (app, pilot, _api):
        await pilot.press(key)
        await until(pilot, lambda: app.place is not Place.SESSIONS and bool(app.page.lines))
        await until(pilot, lambda: "Reading" not in picture(app))
        assert {width_of(line.text) for line in app.page.lines} == {size[0]}
        for line in picture(app).splitlines():
            assert not (line.startswith("──") and "…" in line)
            assert not ("▼" in line and "…" in line)
