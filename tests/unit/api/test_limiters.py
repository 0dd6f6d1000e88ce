"""Nobody asks more often than allowed, nobody waits longer than told, and memory stays bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.api.limiters import LONGEST_WAIT_S, WINDOW_S, Guesses, Rate, Remembered, peer_of


@given(st.lists(st.floats(0, 3), max_size=60), st.integers(1, 20), st.integers(1, 9))
def test_rate_lets_in_the_burst_and_then_the_rate(pauses: list[float], burst: int, per_s: int) -> None:
    rate, now, let_in = Rate(per_s, burst), 1000.0, 0
    for pause in pauses:
        now += pause
        wait = rate.wait("a", now)
        let_in += not wait
        assert let_in <= burst + (now - 1000.0) * per_s + 1e-6
        if wait:
            assert wait <= 1 / per_s + 1e-6
            assert rate.wait("a", now + wait + 1e-6) == 0.0
            let_in, now = let_in + 1, now + wait + 1e-6


def test_rate_counts_each_name_by_itself() -> None:
    rate = Rate(1, 2)
    assert [bool(rate.wait("a", 0.0)) for _ in range(3)] == [False, False, True]
    assert not rate.wait("b", 0.0)


def test_wrong_guesses_lock_for_longer_each_time() -> None:
    guesses, now, waits = Guesses(3), 100.0, []
    for _ in range(9):
        assert guesses.locked_for("a", now) == 0.0
        assert [guesses.failed("a", now) for _ in range(3)] == [False, False, True]
        waits.append(guesses.locked_for("a", now))
        now += waits[-1]
    assert waits[:3] == [WINDOW_S, 2 * WINDOW_S, 4 * WINDOW_S]
    assert waits[-1] == LONGEST_WAIT_S
    assert guesses.locked_for("b", now) == 0.0


def test_rare_mistakes_do_not_add_up() -> None:
    guesses = Guesses(2)
    assert not any(guesses.failed("a", number * (WINDOW_S + 1)) for number in range(50))


def test_memory_is_bounded() -> None:
    seen: Remembered[int] = Remembered(limit=3)
    for name in "abcd":
        seen.put(name, 1)
        seen.get("b")
    assert (len(seen), seen.get("a"), seen.get("b")) == (3, None, 1)


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("192.0.2.7", "192.0.2.7"),
        ("pid 12", "pid 12"),
    ],
)
def test_peers(address: str, peer: str) -> None:
    assert peer_of(address) == peer
