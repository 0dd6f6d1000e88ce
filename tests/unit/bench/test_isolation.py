"""Latency is counted from the last delivery to the receipt, and what got none is told."""

from __future__ import annotations

from appliance.bench.isolation import latency_of
from appliance.staging.control_types import JournalEntry, JournalKind

D, R = JournalKind.DELIVERED, JournalKind.RECEIPTED


def entry(at: float, kind: JournalKind, message: str, account: str = "1") -> JournalEntry:
    return JournalEntry(seq=round(1000 * at), at=at, kind=kind, account=account, message_id=message)


def test_only_the_others_count_and_each_message_once() -> None:
    journal = [
        entry(1.000, D, "a"),
        entry(1.010, R, "a"),
        entry(1.020, R, "a"),
        entry(2.000, D, "b"),
        entry(5.000, D, "b"),
        entry(5.030, R, "b"),
        entry(6.000, D, "c"),
        entry(7.000, D, "x", "2"),
        entry(9.000, R, "x", "2"),
    ]
    found = latency_of(journal, {"1"})
    assert (found.messages, found.unanswered) == (2, 1)
    assert (found.mean_ms, found.p50_ms, found.p95_ms) == (20.0, 10.0, 30.0)
    assert latency_of([], {"1"}).messages == 0
