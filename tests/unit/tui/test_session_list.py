"""The list of sessions: who is at the top, what a filter keeps, and that every width shows whole words."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.language import use_language
from appliance.model import SessionState
from tests.unit.tui.facts import NOW, scene_of, session
from tui.paint import Ground, width_of
from tui.screens.session_list import ORDERS, ListState, column_at, columns, row_line, title_line, visible
from tui.text import _
from tui.words import STATES

WIDTHS = (60, 72, 80, 100, 110, 120, 160, 200)


@pytest.fixture(params=["en", "fr"])
def _language(request: pytest.FixtureRequest) -> Iterator[None]:
    use_language(request.param)
    yield
    use_language("en")


def names(state: ListState, *sessions: object) -> list[str]:
    return [view.name for view in visible(state, scene_of(*sessions))]  # type: ignore[arg-type]


def test_what_needs_a_person_is_at_the_top_and_fresh_trouble_does_not_jump() -> None:
    fleet = (
        session("Zoe", SessionState.BANNED),
        session("Awa"),
        session("Binta", SessionState.RECONNECTING, since=NOW - 2),
        session("Édith"),
        session("Yaye", SessionState.DEGRADED, since=NOW - 60),
    )
    assert names(ListState(), *fleet) == ["Zoe", "Yaye", "Awa", "Binta", "Édith"]


def test_filter_and_problems() -> None:
    fleet = (session("Awa"), session("Binta", SessionState.STOPPED), session("Hawa", SessionState.REPLACED))
    assert names(ListState(words="aw"), *fleet) == ["Hawa", "Awa"]
    assert names(ListState(words="STOPPED"), *fleet) == ["Binta"]
    assert names(ListState(words="aw 77"), *fleet) == ["Hawa", "Awa"]
    assert names(ListState(problems=True), *fleet) == ["Hawa"]


def test_orders() -> None:
    fleet = (session("Awa", disconnections_today=1), session("Binta", disconnections_today=5), session("Coumba"))
    assert names(ListState(order="today"), *fleet) == ["Binta", "Awa", "Coumba"]
    assert names(ListState(order="today", reverse=True), *fleet) == ["Coumba", "Awa", "Binta"]
    for order in ORDERS:
        assert sorted(names(ListState(order=order), *fleet)) == ["Awa", "Binta", "Coumba"]


@pytest.mark.usefixtures("_language")
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("state", list(SessionState))
def test_every_state_is_sign_word_and_tone_and_nothing_of_it_is_cut(width: int, state: SessionState) -> None:
    scene = scene_of(session("Awa", state))
    line = row_line(scene.store.sessions["awa"], ListState(), scene, width, most=1)
    words = STATES[state]
    assert width_of(line.text) == width
    assert _(words.word) in line.text
    assert getattr(scene.glyphs, words.sign) in line.text
    assert scene.glyphs.cut not in line.text
    assert _(words.short) in line.text or _(words.todo) in line.text
    assert {tone for text, tone, _ground in line.spans if _(words.word) in text} == {words.tone}


@pytest.mark.usefixtures("_language")
def test_eighty_columns_have_every_fact() -> None:
    ages = {"since": NOW - 13 * 3600 - 59 * 60, "last_traffic_at": NOW - 23 * 3600 - 59 * 60}
    scene = scene_of(session("Awa", disconnections_today=7, media_bytes=212_000_000, **ages))
    line = row_line(scene.store.sessions["awa"], ListState(), scene, 80, most=1).text
    assert line.split() == [
        "●",
        "Awa",
        "+22177··12",
        *_("online").split(),
        "13",
        "h",
        "23",
        "h",
        "7",
        "·" * 10,
        "212",
        _("MB"),
    ]
    sick = row_line(session("Awa", SessionState.NEEDS_PAIRING, disconnections_today=3), ListState(), scene, 80, 0).text
    assert "+22177··12" in sick
    assert "   3 " in sick


@pytest.mark.usefixtures("_language")
@pytest.mark.parametrize("width", WIDTHS)
def test_titles_are_whole_and_a_click_finds_its_column(width: int) -> None:
    for order in ORDERS:
        line = title_line(ListState(order=order), scene_of(), width)
        assert width_of(line.text) == width
        assert "…" not in line.text
    at = 0
    for column in columns(width):
        assert column_at(at, width) is column
        at += column.width
    assert column_at(width, width) is None


@given(st.text(max_size=40), st.sampled_from(WIDTHS), st.integers(0, 10**13))
def test_no_name_or_size_moves_a_column(name: str, width: int, stored: int) -> None:
    plain = "".join(letter for letter in name if letter.isprintable())
    scene = scene_of(session("Awa", media_bytes=stored))
    view = session("Awa", name=plain, media_bytes=stored, disconnections_today=10**6)
    assert width_of(row_line(view, ListState(), scene, width, most=stored).text) == width


def test_cursor_and_mark_are_signs_too() -> None:
    scene = scene_of(session("Awa"))
    view = scene.store.sessions["awa"]
    chosen = row_line(view, ListState(cursor="awa"), scene, 80, 0)
    marked = row_line(view, ListState(marks={"awa"}), scene, 80, 0)
    assert (chosen.ground, chosen.text[0]) == (Ground.CURSOR, scene.glyphs.cursor)
    assert (marked.ground, marked.text[1]) == (Ground.MARKED, scene.glyphs.mark)
