"""What is sent in the rehearsal of media: statuses of three kinds, some of them the same for several sessions."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

import msgspec

from appliance.staging import control_types as ct

SHARES: Final = ((ct.SendKind.IMAGE, 0.6), (ct.SendKind.VIDEO, 0.3), (ct.SendKind.VOICE, 0.1))
SIZES: Final = {
    ct.SendKind.IMAGE: (150_000, 400_000),
    ct.SendKind.VIDEO: (700_000, 1_400_000),
    ct.SendKind.VOICE: (6_000, 30_000),
}
"""Bytes, drawn evenly: what WhatsApp's apps make of a photo, a short video at 480p, and some seconds of speech."""
SHARED_EVERY: Final = 4
"""Each fourth status is one that a contact of several sessions posted …"""
SHARED_BY: Final = 5
"""… this many of them."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """One status for one session; `seed` and `size` say which file it is."""

    session: str
    kind: ct.SendKind
    seed: int
    size: int


def statuses(sessions: Sequence[str], items: int, seed: int) -> list[Status]:
    """`items` for each session, in the order in which they are sent: all sessions take turns."""
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
    kinds = _kinds(items)
    shared: dict[tuple[int, int], tuple[int, int]] = {}
    plan = []
    for number, kind in enumerate(kinds):
        for place, session in enumerate(sessions):
            drawn = (chance.randrange(1, 1 << 40), chance.randint(*SIZES[kind]))
            if number % SHARED_EVERY == 0:
                drawn = shared.setdefault((number, place // SHARED_BY), drawn)
            plan.append(Status(session=session, kind=kind, seed=drawn[0], size=drawn[1]))
    return plan


def _kinds(items: int) -> list[ct.SendKind]:
    """The shares as exactly as whole numbers can, well mixed."""
    counts = {kind: round(items * share) for kind, share in SHARES}
    counts[ct.SendKind.IMAGE] += items - sum(counts.values())
    ordered = [kind for kind, count in counts.items() for _ in range(count)]
    random.Random(items).shuffle(ordered)  # noqa: S311 - repeatable on purpose
    return ordered
