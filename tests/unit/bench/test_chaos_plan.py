"""The plan of the chaos rehearsal: enough of each kind, in time, and nothing that cannot strike."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from appliance.bench.chaos_plan import COUNTS, GONE_S, Deck, Trouble, gone_s, plan

seeds = st.integers(min_value=0, max_value=1 << 32)


@given(seeds)
def test_five_minutes_hold_a_hundred_faults_and_three_of_each(seed: int) -> None:
    found = plan(random.Random(seed), 5.0)
    counted = {trouble: sum(p.trouble is trouble for p in found) for trouble in Trouble}
    assert len(found) >= 100
    assert min(counted.values()) >= 3
    assert counted == COUNTS
    assert [p.at_s for p in found] == sorted(p.at_s for p in found)
    assert found[0].at_s > 0
    assert found[-1].at_s < 300


@given(seeds, st.floats(min_value=0.5, max_value=10))
def test_while_the_server_is_gone_for_everybody_nothing_needs_a_connection(seed: int, minutes: float) -> None:
    found = plan(random.Random(seed), minutes)
    (dark,) = (p for p in found if p.everybody)
    assert dark.trouble is Trouble.SERVER_GONE
    blind = (Trouble.SOCKETS_CLOSED, Trouble.SOCKETS_RESET, Trouble.SOCKETS_STALLED, Trouble.STORM_503)
    assert not [p for p in found if p.trouble in blind and dark.at_s <= p.at_s < dark.at_s + gone_s(minutes)]
    assert all(0 <= p.at_s <= minutes * 60 for p in found)


def test_the_minute_is_a_minute_in_a_whole_rehearsal() -> None:
    assert gone_s(5.0) == GONE_S == 60.0
    assert gone_s(1.0) == 12.0


def test_the_same_seed_gives_the_same_plan() -> None:
    assert plan(random.Random(7), 5.0) == plan(random.Random(7), 5.0)
    assert plan(random.Random(7), 5.0) != plan(random.Random(8), 5.0)


@given(seeds)
def test_nobody_is_hit_twice_before_everybody_was_hit(seed: int) -> None:
    sessions = [f"s{number}" for number in range(8)]
    deck = Deck(random.Random(seed), sessions)
    dealt = [deck.deal(set(sessions)) for _ in sessions]
    assert sorted(str(session) for session in dealt) == sessions
    assert deck.deal(set()) is None
    assert deck.deal({str(dealt[-1])}) is None, "not at once again"
    assert deck.deal({str(dealt[0])}) == dealt[0]


@given(seeds, st.lists(st.sets(st.sampled_from([f"s{number}" for number in range(8)])), max_size=60))
def test_nobody_is_struck_twice_in_half_a_deck(seed: int, online: list[set[str]]) -> None:
    deck = Deck(random.Random(seed), [f"s{number}" for number in range(8)])
    dealt = [session for allowed in online if (session := deck.deal(allowed)) is not None]
    assert all(len(set(dealt[at : at + 5])) == len(dealt[at : at + 5]) for at in range(len(dealt)))
