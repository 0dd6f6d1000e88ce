"""The engine may not decrypt or receipt ahead of the disk, and is never held for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from appliance.worker.engine import gate as module
from appliance.worker.engine.gate import ReceiptGate


class FakeMark:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def arm(self) -> None:
        self.calls.append("arm")

    def disarm(self) -> None:
        self.calls.append("disarm")


@pytest.fixture
def mark() -> FakeMark:
    return FakeMark()


@pytest.fixture
def gate(mark: FakeMark) -> ReceiptGate:
    return ReceiptGate(mark)


def in_thread(function: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def blocked(thread: threading.Thread) -> bool:
    thread.join(0.05)
    return thread.is_alive()


def test_next_decryption_waits_for_the_recording_of_the_message_before(
    gate: ReceiptGate, mark: FakeMark, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DECRYPTION_WAIT_S", 10.0)
    gate.arrived("A", 1)
    gate.arrived("B", 1)
    gate.before_decryption()
    second = in_thread(gate.before_decryption)
    assert blocked(second)
    gate.recorded("A")
    second.join(5)
    assert not second.is_alive()
    gate.recorded("B")
    assert mark.calls == ["arm", "disarm", "arm", "disarm"]


def test_message_of_two_parts_is_settled_by_its_second_event(gate: ReceiptGate, mark: FakeMark) -> None:
    gate.arrived("S", 2)
    gate.before_decryption()
    gate.recorded("S")
    assert not gate.knows("S")
    assert mark.calls == ["arm"]
    gate.recorded("S")
    assert gate.knows("S")
    assert mark.calls == ["arm", "disarm"]


def test_part_that_is_ignored_counts_as_settled(gate: ReceiptGate) -> None:
    gate.arrived("S", 2)
    gate.before_decryption()
    gate.no_event("S")
    gate.recorded("S")
    assert gate.knows("S")


def test_unreadable_message_is_settled_as_a_whole(gate: ReceiptGate, mark: FakeMark) -> None:
    gate.arrived("S", 2)
    gate.before_decryption()
    gate.no_event("S", whole=True)
    assert mark.calls == ["arm", "disarm"]


def test_receipt_waits_for_its_message(gate: ReceiptGate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECEIPT_WAIT_S", 10.0)
    gate.arrived("A", 1)
    gate.before_decryption()
    receipt = in_thread(lambda: gate.hold_receipt("A"))
    assert blocked(receipt)
    gate.recorded("A")
    receipt.join(5)
    assert not receipt.is_alive()


def test_nothing_waits_for_ever(gate: ReceiptGate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECEIPT_WAIT_S", 0.01)
    monkeypatch.setattr(module, "DECRYPTION_WAIT_S", 0.01)
    gate.hold_receipt("never")
    for name in ("A", "B", "C"):
        gate.arrived(name, 1)
        gate.before_decryption()
    gate.before_decryption()


def test_mark_stays_while_an_older_message_is_missing(
    gate: ReceiptGate, mark: FakeMark, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DECRYPTION_WAIT_S", 0.01)
    gate.arrived("A", 1)
    gate.arrived("B", 1)
    gate.before_decryption()
    gate.before_decryption()
    gate.recorded("A")
    assert mark.calls == ["arm"]
    gate.recorded("B")
    assert mark.calls == ["arm", "disarm"]


def test_later_event_settles_what_came_before_without_one(
    gate: ReceiptGate, mark: FakeMark, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DECRYPTION_WAIT_S", 0.01)
    gate.arrived("A", 1)
    gate.arrived("B", 1)
    gate.before_decryption()
    gate.before_decryption()
    gate.recorded("B")  # events come in order: A has none
    assert mark.calls == ["arm", "disarm"]


def test_what_former_processes_recorded_is_known(gate: ReceiptGate) -> None:
    gate.remember(["old"])
    assert gate.knows("old")
    gate.hold_receipt("old")  # returns at once


def test_memory_is_bounded(gate: ReceiptGate) -> None:
    for number in range(module.REMEMBERED + 10):
        gate.recorded(str(number))
    assert not gate.knows("0")
    assert gate.knows(str(module.REMEMBERED + 9))
