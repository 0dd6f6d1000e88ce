"""Who gives way when there is too much: pure, so that its promises can be proved.

Every session has the same share: the target divided by the number of sessions that hold something. As long as more than
the target is held, the session with the most, which is above its share for sure, gives its oldest. So a session at or
below its share loses nothing, however much another one takes in. What is pinned is not among the candidates.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence

import msgspec


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """One stored content of a session that may go."""

    key: str
    session: str
    size: int
    newest_at: float
    """When the newest item that refers to it was stored; seconds since the epoch."""


def fair_share(used: Mapping[str, int], target: int) -> float:
    """Bytes that each session that holds something may hold if all together shall hold `target`."""
    return target / max(1, sum(1 for size in used.values() if size > 0))


def above_share(used: Mapping[str, int], target: int) -> list[str]:
    """Sessions that `choose` may take from."""
    share = fair_share(used, target)
    return [session for session, size in used.items() if size > share]


def choose(used: Mapping[str, int], candidates: Mapping[str, Iterable[Holding]], target: int) -> list[Holding]:
    """What has to go so that at most `target` bytes are held, as far as fairness and pins allow.

    `used`: bytes held by each session, what is on its way included. `candidates`: of each session what may go, oldest
    first.
    """
    share = fair_share(used, target)
    total = sum(used.values())
    waiting = {session: iter(found) for session, found in candidates.items()}
    heap = [(-size, session) for session, size in used.items()]
    heapq.heapify(heap)
    chosen: list[Holding] = []
    while total > target and heap:
        size, session = heap[0]
        if -size <= share:
            break
        holding = next(waiting[session], None) if session in waiting else None
        if holding is None:
            heapq.heappop(heap)
            continue
        chosen.append(holding)
        total -= holding.size
        heapq.heapreplace(heap, (size + holding.size, session))
    return chosen


def choose_oldest(held: int, candidates: Sequence[Holding], target: int) -> list[Holding]:
    """What one session gives so that it holds at most `target` bytes; `candidates` oldest first."""
    chosen: list[Holding] = []
    for holding in candidates:
        if held <= target:
            break
        chosen.append(holding)
        held -= holding.size
    return chosen
