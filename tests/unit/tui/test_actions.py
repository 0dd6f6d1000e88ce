"""The action table: no key does two things, what is off says why, and everything in it is carried out by somebody."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from appliance.model import SessionState
from tests.unit.tui.facts import NOW, session, store_of
from tui import actions
from tui.actions import ACTIONS, Place, Situation
from tui.app import PAGES, AmdaTui
from tui.demo import DemoApi
from tui.demo_fleet import Fleet


def test_ids_are_unique_and_no_key_does_two_things_on_one_screen() -> None:
    assert len({action.id for action in ACTIONS}) == len(ACTIONS)
    for place in Place:
        if place is Place.EVERYWHERE:
            continue
        own = [key for action in ACTIONS if place in action.places for key in action.keys]
        everywhere = [key for action in ACTIONS if Place.EVERYWHERE in action.places for key in action.keys]
        assert len(set(own)) == len(own), place
        assert len(set(everywhere)) == len(everywhere)
        assert not set(own) & set(everywhere), place


def test_every_action_is_done_by_somebody() -> None:
    app = AmdaTui(DemoApi(Fleet(1, now=NOW)), store_of())
    for action in ACTIONS:
        for place in PAGES:
            if action.offered(place):
                assert action.id in app.table(app.page_of(place)), (action.id, place)


@pytest.mark.parametrize(
    ("action", "state", "changes", "off"),
    [
        ("start", SessionState.ONLINE, {}, "running"),
        ("start", SessionState.COOLING, {}, ""),
        ("start", SessionState.STOPPED, {}, ""),
        ("start", SessionState.OUTDATED, {}, ""),
        ("start", SessionState.RECONNECTING, {}, ""),
        ("start", SessionState.NEEDS_PAIRING, {}, "pair it first"),
        ("stop", SessionState.ONLINE, {}, ""),
        ("stop", SessionState.STOPPED, {}, "does not run"),
        ("restart", SessionState.STOPPED, {}, "start it"),
        ("restart", SessionState.ONLINE, {"read_only": "You may look, but not change."}, "look, but not change"),
        ("pair", SessionState.ONLINE, {"live": False}, "cannot be reached"),
    ],
)
def test_why_off(action: str, state: SessionState, changes: dict[str, bool], off: str) -> None:
    situation = Situation(place=Place.SESSIONS, targets=[session("Awa", state)], **changes)
    reason = actions.by_id(action).why_off(situation)
    assert (off in reason) if off else not reason


def test_without_a_session_under_the_cursor_its_keys_say_so() -> None:
    nothing = Situation(place=Place.SESSIONS)
    assert actions.by_id("restart").why_off(nothing) == "No session is under the cursor."
    two = Situation(place=Place.SESSIONS, targets=[session("Awa"), session("Binta")])
    assert "Only one" in actions.by_id("remove").why_off(two)


def test_a_screen_s_own_action_comes_first() -> None:
    found = actions.find("q", Place.SESSIONS)
    assert found is not None
    assert found.id == "quit"
    assert actions.find("p", Place.ALERTS) is None


def test_the_page_of_keys_is_in_step_with_the_table() -> None:
    script = Path(__file__).resolve().parents[3] / "scripts" / "keys.py"
    assert subprocess.run([sys.executable, str(script), "--check"], check=False).returncode == 0, "run scripts/keys.py"
