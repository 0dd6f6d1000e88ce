"""An upgrade that is killed, loses its power or fails at any point ends in the old release or the new one, whole."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.config import load_settings
from appliance.upgrade import plan, site
from appliance.upgrade.plan import BACKWARDS, FORWARDS, Journal, Kind, Outcome, Place, Step, prunable
from appliance.upgrade.runner import carry_out
from appliance.upgrade.site import MachineSite
from tests.unit.upgrade.world import NEW, OLD, SCHEMAS, SESSIONS, Killed, PlayedMover, World, make_release

MOST_ACTIONS = 24
"""More than an upgrade and its way back have; `test_nothing_happens_to_it` counts."""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as made:
        for name in (OLD, NEW):
            make_release(Path(made), name)
        yield Path(made)


@pytest.fixture(autouse=True, scope="module")
def impatient() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site, "HEALTHY_S", 0.0)
        patch.setattr(site, "KNOWN_S", 0.0)
        patch.setattr(site, "PAUSE_S", 0.0)
        yield


class Upgrade:
    """One upgrade of a played server, begun, and gone on with after whatever happened to it."""

    def __init__(self, folder: Path) -> None:
        self.world = World(load_settings(None, {"HOME": str(folder), "AMDA_PATHS_STATE_DIR": str(folder)}), folder)
        place = Place(name=OLD, folder=str(folder / "releases" / OLD), version="1.0")
        self.journal = Journal(
            id="test",
            kind=Kind.RELEASE,
            source=place,
            target=Place(name="", folder="", version="2.0"),
            origin=["--from", "/somewhere"],
            canary=1,
            watch_s=0.0,
            step=Step.STAGE,
            driver="python",
            started_at=0.0,
            updated_at=0.0,
            schema=SCHEMAS[OLD],
            sessions=len(SESSIONS),
        )
        self.steps: list[Step] = []

    def once(self) -> None:
        """One process: to the end, or until it is killed. What it saved is all that the next one knows."""
        site = MachineSite(self.world, self.save, lambda _socket, _progress: PlayedMover(self.world))
        with contextlib.suppress(Killed):
            asyncio.run(carry_out(self.journal, site, self.save, lambda journal: self.steps.append(journal.step)))

    def save(self, journal: Journal) -> None:
        self.journal = msgspec.json.decode(msgspec.json.encode(journal), type=Journal)

    def to_the_end(self) -> Outcome:
        for _ in range(2 * MOST_ACTIONS):
            self.once()
            if self.journal.outcome is not None:
                return self.journal.outcome
        raise AssertionError(f"it does not end: {self.journal}")

    def roll_back(self) -> Outcome:
        self.journal = plan.turned_back(self.journal)
        return self.to_the_end()


def test_nothing_happens_to_it(folder: Path) -> None:
    upgrade = Upgrade(folder)
    assert upgrade.to_the_end() is Outcome.DONE
    assert upgrade.world.is_all(NEW)
    assert upgrade.steps == list(FORWARDS[Kind.RELEASE])
    assert upgrade.world.moves == [(session, NEW) for session in SESSIONS], "each once, the canary first"
    assert upgrade.world.copies == {SCHEMAS[OLD]}
    upgrade.steps.clear()
    assert upgrade.roll_back() is Outcome.UNDONE
    assert upgrade.world.is_all(OLD)
    assert upgrade.steps == list(BACKWARDS[Kind.RELEASE])
    assert upgrade.world.moves[len(SESSIONS) :] == [(session, OLD) for session in SESSIONS]
    assert upgrade.world.actions < MOST_ACTIONS


@pytest.mark.parametrize("unable", [True, False])
def test_a_canary_that_fails_takes_everything_back_and_nobody_else_has_moved(folder: Path, *, unable: bool) -> None:
    upgrade = Upgrade(folder)
    (upgrade.world.unable if unable else upgrade.world.broken).add(NEW)
    assert upgrade.to_the_end() is Outcome.UNDONE
    assert upgrade.world.is_all(OLD)
    assert upgrade.journal.error
    moved = [(SESSIONS[0], NEW), (SESSIONS[0], OLD)]
    assert upgrade.world.moves == (moved if unable else [])


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    kills=st.dictionaries(st.integers(0, MOST_ACTIONS), st.tuples(st.booleans(), st.booleans()), max_size=4),
    fails=st.sets(st.integers(0, MOST_ACTIONS), max_size=3),
    back=st.booleans(),
)
def test_it_ends_in_the_old_or_the_new_release_whole(
    folder: Path, kills: dict[int, tuple[bool, bool]], fails: set[int], back: bool
) -> None:
    upgrade = Upgrade(folder)
    upgrade.world.kills, upgrade.world.fails = dict(kills), set(fails)
    outcome = upgrade.to_the_end()
    assert upgrade.world.is_all(NEW if outcome is Outcome.DONE else OLD)
    if not fails:
        assert outcome is Outcome.DONE, "being killed is no reason to go back"
    if not any(power for _, power in kills.values()):
        moves = upgrade.world.moves
        assert len(moves) == len(set(moves)), "nobody moves twice in the same direction"
    if back and outcome is Outcome.DONE:
        assert upgrade.roll_back() is Outcome.UNDONE
        assert upgrade.world.is_all(OLD)


def test_a_failure_before_anything_has_changed_ends_it() -> None:
    journal = msgspec.structs.replace(Upgrade(Path("/")).journal, step=Step.BACK_UP)
    failed = plan.failed(journal, "the disk is full", "make room", 49)
    assert (failed.outcome, failed.error, failed.fault) == (Outcome.UNDONE, "the disk is full", 49)


def test_a_failure_to_tidy_up_takes_nothing_back() -> None:
    journal = msgspec.structs.replace(Upgrade(Path("/")).journal, step=Step.TIDY)
    assert plan.failed(journal, "busy", "", 50).outcome is Outcome.DONE


def test_every_step_has_a_course_and_a_place() -> None:
    for kind in Kind:
        for course in (FORWARDS[kind], BACKWARDS[kind]):
            for number, step in enumerate(course, start=1):
                journal = msgspec.structs.replace(Upgrade(Path("/")).journal, kind=kind, step=step)
                assert plan.place_in(journal) == f"{number} of {len(course)}"
    assert {step for courses in (FORWARDS, BACKWARDS) for course in courses.values() for step in course} == set(Step)


@given(
    releases=st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 9), max_size=8),
    needed=st.sets(st.sampled_from("abcdefgh"), max_size=4),
)
def test_the_newest_and_the_needed_are_kept(releases: dict[str, float], needed: set[str]) -> None:
    gone = prunable(releases, frozenset(needed), 3)
    kept = set(releases) - set(gone)
    assert not needed & set(gone)
    assert len(kept) == min(len(releases), max(3, len(needed & set(releases))))
    others = kept - needed
    assert all(releases[name] <= min((releases[other] for other in others), default=9.0) for name in gone)
