"""Whom a fault strikes, how often, and how long."""

from __future__ import annotations

import time

import pytest

from appliance.staging.control_types import FaultKind, JournalKind, JournalQuery, SetFault
from appliance.staging.faults import Fault, Faults, Target
from appliance.staging.journal import Journal

ANYBODY = Target(connection=7, account="221771", device=1)


@pytest.mark.parametrize(
    ("spec", "strikes"),
    [
        (SetFault(kind=FaultKind.NO_ACK), True),
        (SetFault(kind=FaultKind.NO_ACK, account="221771"), True),
        (SetFault(kind=FaultKind.NO_ACK, account="221771", device=1), True),
        (SetFault(kind=FaultKind.NO_ACK, connection=7), True),
        (SetFault(kind=FaultKind.NO_ACK, account="221772"), False),
        (SetFault(kind=FaultKind.NO_ACK, account="221771", device=2), False),
        (SetFault(kind=FaultKind.NO_ACK, connection=8), False),
        (SetFault(kind=FaultKind.NO_PONG), False),
        (SetFault(kind=FaultKind.NO_ACK, percent=0), False),
    ],
)
def test_scope(faults: Faults, spec: SetFault, strikes: bool) -> None:
    faults.set(spec)
    assert bool(faults.find([FaultKind.NO_ACK], ANYBODY)) is strikes


def test_an_unknown_account_is_struck_by_faults_for_all_only(faults: Faults) -> None:
    faults.set(SetFault(kind=FaultKind.REFUSE, account="221771"))
    assert faults.find([FaultKind.REFUSE], Target(connection=1)) is None


def test_a_count_is_used_up(faults: Faults, journal: Journal) -> None:
    faults.set(SetFault(kind=FaultKind.FAILURE, code=503, count=2))
    found = [faults.find([FaultKind.FAILURE], ANYBODY) for _ in range(3)]
    assert [fault is not None for fault in found] == [True, True, False]
    assert faults.active() == []
    kinds = [entry.kind for entry in journal.page(JournalQuery()).entries]
    assert kinds == [
        JournalKind.FAULT_SET,
        JournalKind.FAULT_STRUCK,
        JournalKind.FAULT_STRUCK,
        JournalKind.FAULT_CLEARED,
    ]


def test_a_duration_ends_it_and_says_so_once(faults: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[Fault] = []
    faults.on_end.append(ended.append)
    fault = faults.set(SetFault(kind=FaultKind.STALL, duration_s=10))
    assert faults.find([FaultKind.STALL], ANYBODY) is fault
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 11)
    assert faults.find([FaultKind.STALL], ANYBODY) is None
    faults.end(fault.id)
    assert ended == [fault]


def test_a_namespace_is_compared(faults: Faults) -> None:
    faults.set(SetFault(kind=FaultKind.SILENT_IQ, text="blocklist"))
    assert faults.find([FaultKind.SILENT_IQ], ANYBODY, text="usync") is None
    assert faults.find([FaultKind.SILENT_IQ], ANYBODY, text="blocklist")


def test_what_acts_at_once_does_not_stay(faults: Faults) -> None:
    faults.set(SetFault(kind=FaultKind.RESET))
    assert faults.active() == []


def test_a_percentage_strikes_some(faults: Faults) -> None:
    faults.set(SetFault(kind=FaultKind.DROP, percent=50))
    struck = sum(faults.find([FaultKind.DROP], ANYBODY) is not None for _ in range(400))
    assert 100 < struck < 300
