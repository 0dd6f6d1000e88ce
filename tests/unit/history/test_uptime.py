"""Uptime rings against a brute-force count of every millisecond, and what a clock that is set does to them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.history.recorder import Gap, replay
from appliance.history.uptime import SHAPES, Chunk, Condition, Ring, SpanShape, condition_of, share, shares
from appliance.model import SessionState
from appliance.model_history import UptimeSpan

SMALL = SpanShape(slot_ms=10, slots=6, chunk=4)

pieces = st.lists(
    st.tuples(st.integers(min_value=0, max_value=25), st.sampled_from(list(Condition))), min_size=1, max_size=15
)


@given(start=st.integers(min_value=0, max_value=500), course=pieces)
def test_ring_counts_what_a_brute_force_count_counts(start: int, course: list[tuple[int, Condition]]) -> None:
    ring = Ring(SMALL)
    moments: dict[int, Condition] = {}
    at = start
    for length, condition in course:
        if condition is not Condition.UNWANTED:
            ring.add(at, at + length, online=condition is Condition.ONLINE)
        moments.update(dict.fromkeys(range(at, at + length), condition))
        at += length
    last = at // SMALL.slot_ms
    expected = []
    for slot in range(last - SMALL.slots + 1, last + 1):
        inside = [moments.get(moment) for moment in range(slot * 10, slot * 10 + 10)]
        online, offline = inside.count(Condition.ONLINE), inside.count(Condition.OFFLINE)
        expected.append((online, online + offline))
    assert ring.values(at) == expected
    assert ring.totals(at, 3) == (sum(o for o, _ in expected[-3:]), sum(c for _, c in expected[-3:]))


@given(
    runs=st.lists(
        st.tuples(st.integers(min_value=0, max_value=200), st.integers(min_value=0, max_value=60), st.booleans()),
        max_size=20,
    )
)
def test_counting_the_same_time_again_never_breaks_a_slot(runs: list[tuple[int, int, bool]]) -> None:
    """A clock that jumps back and forth: no slot holds more than its length, and shares stay shares."""
    ring = Ring(SMALL)
    for start, length, online in runs:
        ring.add(start, start + length, online=online)
    for up, counted in ring.values(260):
        assert 0 <= up <= counted <= SMALL.slot_ms


def test_a_slot_counted_twice_keeps_the_share_of_both() -> None:
    ring = Ring(SMALL)
    ring.add(0, 10, online=True)
    ring.add(0, 10, online=False)
    assert ring.values(0)[-1] == (5, 10)


def test_a_wrong_year_writes_beside_and_not_over() -> None:
    ring = Ring(SMALL)
    ring.add(100, 110, online=True)
    ring.add(10_000_000, 10_000_010, online=False)
    assert ring.values(100)[-1] == (10, 10)
    assert ring.expired(100) == [10_000_000 // 10 // 4]
    ring.add(110, 120, online=True)
    assert ring.values(110)[-2:] == [(10, 10), (10, 10)]


def test_expired_keeps_every_chunk_that_the_ring_shows() -> None:
    ring = Ring(SMALL)
    ring.add(0, 400, online=True)
    for number in ring.expired(399):
        del ring.chunks[number]
    assert ring.values(399) == [(10, 10)] * 6
    assert len(ring.chunks) <= 3


@given(st.lists(st.integers(min_value=0, max_value=2**32 - 1), min_size=8, max_size=8))
def test_chunks_survive_packing(numbers: list[int]) -> None:
    chunk = Chunk(4)
    for at, number in enumerate(numbers[:4]):
        chunk.online[at], chunk.counted[at] = number, numbers[at + 4]
    again = Chunk.unpack(chunk.pack(), 4)
    assert (again.online, again.counted) == (chunk.online, chunk.counted)
    with pytest.raises(ValueError):
        Chunk.unpack(chunk.pack()[1:], 4)


def test_the_rings_have_the_promised_length_and_fit_their_numbers() -> None:
    lengths = {span: shape.slots * shape.slot_ms / 86_400_000 for span, shape in SHAPES.items()}
    assert lengths == {UptimeSpan.DAY: 1, UptimeSpan.MONTH: 30, UptimeSpan.YEAR: 365}
    assert all(shape.slot_ms < 2**32 for shape in SHAPES.values())


def test_only_a_proved_connection_is_uptime() -> None:
    online = [state for state in SessionState if condition_of(state) is Condition.ONLINE]
    assert online == [SessionState.ONLINE]
    unwanted = {state for state in SessionState if condition_of(state) is Condition.UNWANTED}
    assert unwanted == {SessionState.NEW, SessionState.QUEUED, SessionState.PAIRING, SessionState.STOPPED}


def test_shares() -> None:
    assert shares([(0, 0), (1, 3), (10, 10)]) == [None, 0.3333, 1.0]
    assert share(0, 0) is None


conditions = st.sampled_from([Condition.ONLINE, Condition.OFFLINE])


@given(
    start=st.integers(min_value=0, max_value=50),
    length=st.integers(min_value=0, max_value=50),
    before=st.sampled_from(list(Condition)),
    turns=st.lists(st.tuples(st.integers(min_value=-10, max_value=120), conditions), max_size=8),
)
def test_replay_covers_the_gap_exactly_once(
    start: int, length: int, before: Condition, turns: list[tuple[int, Condition]]
) -> None:
    gap = Gap(start_ms=start, end_ms=start + length, before=before)
    found = replay(gap, turns)
    if before is Condition.UNWANTED:
        assert found == []
        return
    seen = {moment: condition for begin, end, condition in found for moment in range(begin, end)}
    assert sum(end - begin for begin, end, _ in found) == len(seen) == length
    for moment, condition in seen.items():
        past = [turn for turn in sorted(turns, key=lambda turn: turn[0]) if start <= turn[0] <= moment]
        assert condition is (past[-1][1] if past else before)
