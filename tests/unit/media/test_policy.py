"""Who gives way: never who is at or below its share, never more than needed, the oldest of each first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.media.policy import Holding, above_share, choose, choose_oldest, fair_share

SIZES = st.lists(st.integers(1, 1000), max_size=12)


def _holdings(session: str, sizes: list[int]) -> list[Holding]:
    return [
        Holding(key=f"{session}/{number}", session=session, size=size, newest_at=float(number))
        for number, size in enumerate(sizes)
    ]


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.tuples(SIZES, st.integers(0, 2000)), min_size=1),
    st.integers(0, 8000),
)
def test_sessions_at_or_below_their_share_lose_nothing_and_the_others_give_their_oldest(
    fleet: dict[str, tuple[list[int], int]], target: int
) -> None:
    """The second number of each session is what it has pinned: held, and no candidate."""
    candidates = {session: _holdings(session, sizes) for session, (sizes, _) in fleet.items()}
    used = {session: sum(sizes) + pinned for session, (sizes, pinned) in fleet.items()}
    share = fair_share(used, target)
    chosen = choose(used, candidates, target)
    left = dict(used)
    for holding in chosen:
        assert sum(left.values()) > target, "nothing goes once the target is reached"
        assert left[holding.session] > share, "who is at or below its share loses nothing"
        prunable = [s for s in left if any(h not in chosen for h in candidates[s]) and left[s] > left[holding.session]]
        assert not prunable, "a session that holds more and may give goes first"
        left[holding.session] -= holding.size
    for session, found in candidates.items():
        gone = [holding for holding in chosen if holding.session == session]
        assert gone == found[: len(gone)], "the oldest first"
        if gone:
            assert session in above_share(used, target)
    if sum(left.values()) > target:
        gone_keys = {holding.key for holding in chosen}
        for session, found in candidates.items():
            assert left[session] <= share or all(holding.key in gone_keys for holding in found)


@given(SIZES, st.integers(0, 5000))
def test_one_session_gives_its_oldest_and_no_more_than_needed(sizes: list[int], target: int) -> None:
    found = _holdings("a", sizes)
    chosen = choose_oldest(sum(sizes), found, target)
    assert chosen == found[: len(chosen)]
    assert sum(sizes) - sum(holding.size for holding in chosen) <= target
    assert not chosen or sum(sizes) - sum(holding.size for holding in chosen[:-1]) > target
