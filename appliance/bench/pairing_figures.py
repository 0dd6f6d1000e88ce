"""What the pairing rehearsal reads off the journal and its users' tallies: whether limits and promises were kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from appliance.bench.measure import percentile
from appliance.staging.control_types import JournalEntry, JournalKind

KINDS: Final = [JournalKind.LOGIN, JournalKind.READY, JournalKind.CLOSED]


class Wait(msgspec.Struct, frozen=True):
    """What somebody in line was told, and what came of it. Seconds."""

    told_s: float
    waited_s: float


def first_logins_at_once(journal: Iterable[JournalEntry]) -> int:
    """The largest number of devices that were logging in for the first time at the same moment: keys and history, the
    heavy part of linking. From the network's side, so a little shorter than what the worker does for it."""
    under_way: set[tuple[str, int | None]] = set()
    known: set[tuple[str, int | None]] = set()
    most = 0
    for entry in journal:
        device = (entry.account, entry.device)
        if entry.kind is not JournalKind.LOGIN:
            under_way.discard(device)
        elif entry.data["answer"] == "success" and device not in known:
            known.add(device)
            under_way.add(device)
            most = max(most, len(under_way))
    return most


def wait_error_s(waits: Sequence[Wait], percent: float) -> float:
    """By how much the wait differed from what was told, in either direction."""
    return round(percentile([abs(wait.waited_s - wait.told_s) for wait in waits], percent), 1)
