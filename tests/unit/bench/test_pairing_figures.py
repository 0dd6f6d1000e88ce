"""What the pairing rehearsal reads off the network's journal."""

from __future__ import annotations

from appliance.bench.pairing_figures import Wait, first_logins_at_once, wait_error_s
from appliance.staging.control_types import JournalEntry, JournalKind


def entry(kind: JournalKind, account: str, device: int = 1, answer: str = "success") -> JournalEntry:
    data: dict[str, str | int | float | bool] = {"answer": answer} if kind is JournalKind.LOGIN else {}
    return JournalEntry(seq=1, at=0.0, kind=kind, account=account, device=device, data=data)


def test_overlap_counts_first_logins_only() -> None:
    login, ready, closed = JournalKind.LOGIN, JournalKind.READY, JournalKind.CLOSED
    journal = [
        entry(login, "a"),
        entry(login, "b", answer="failure 503"),
        entry(login, "b"),
        entry(ready, "a"),
        entry(login, "c"),
        entry(login, "a"),  # again: not its first
        entry(closed, "b"),
        entry(login, "a", device=2),
        entry(ready, "c"),
    ]
    assert first_logins_at_once(journal) == 2
    assert first_logins_at_once([]) == 0


def test_being_early_is_as_wrong_as_being_late() -> None:
    waits = [Wait(told_s=10.0, waited_s=4.0), Wait(told_s=10.0, waited_s=12.0)]
    assert wait_error_s(waits, 50) == 2.0
    assert wait_error_s(waits, 95) == 6.0
