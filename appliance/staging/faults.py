"""What is to go wrong, for whom, and for how long. Knows nothing of sockets: the other parts ask it."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from appliance.staging.control_types import FaultKind, FaultView, JournalKind, SetFault
from appliance.staging.journal import Journal

INSTANT: Final = frozenset({FaultKind.RESET, FaultKind.CLOSE, FaultKind.STREAM_ERROR})
"""These act on the connections of the moment and are over."""


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a question is about; what is not known yet is None."""

    connection: int | None = None
    account: str | None = None
    device: int | None = None


@dataclass(slots=True)
class Fault:
    id: int
    spec: SetFault
    set_at: float
    ends_at: float | None
    struck: int = 0

    def view(self) -> FaultView:
        return FaultView(id=self.id, fault=self.spec, set_at=self.set_at, struck=self.struck)

    def matches(self, target: Target) -> bool:
        spec = self.spec
        return (
            (not spec.account or spec.account == target.account)
            and (spec.device is None or spec.device == target.device)
            and (spec.connection is None or spec.connection == target.connection)
        )

    @property
    def spent(self) -> bool:
        """Has struck as often as it may."""
        return bool(self.spec.count) and self.struck >= self.spec.count

    @property
    def name(self) -> str:
        code = f" {self.spec.code}" if self.spec.code else ""
        return f"{self.spec.kind.value}{code}{' ' + self.spec.text if self.spec.text else ''}"


@dataclass
class Faults:
    """The faults that are set. `on_end` callbacks run when one ends, so that stalled sockets go on."""

    journal: Journal
    on_end: list[Callable[[Fault], None]] = field(default_factory=list)
    _active: dict[int, Fault] = field(default_factory=dict)
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _chance: random.Random = field(default_factory=random.Random)

    def set(self, spec: SetFault) -> Fault:
        now = time.monotonic()
        fault = Fault(next(self._ids), spec, time.time(), now + spec.duration_s if spec.duration_s > 0 else None)
        self.journal.add(
            JournalKind.FAULT_SET,
            spec.account,
            spec.device,
            fault=fault.name,
            id=fault.id,
            duration_s=spec.duration_s,
            count=spec.count,
        )
        if spec.kind not in INSTANT:
            self._active[fault.id] = fault
        return fault

    def end(self, fault_id: int) -> None:
        """End one fault; without effect if it has ended already."""
        fault = self._active.pop(fault_id, None)
        if fault is None:
            return
        self.journal.add(
            JournalKind.FAULT_CLEARED, fault.spec.account, fault.spec.device, fault=fault.name, id=fault.id
        )
        for callback in self.on_end:
            callback(fault)

    def clear(self) -> None:
        for fault_id in list(self._active):
            self.end(fault_id)

    def active(self) -> list[Fault]:
        return list(self._active.values())

    def expire(self) -> None:
        """End what has lasted long enough; called by a timer and before every question."""
        now = time.monotonic()
        for fault in [f for f in self._active.values() if f.ends_at is not None and f.ends_at <= now]:
            self.end(fault.id)

    def find(self, kinds: Iterable[FaultKind], target: Target, text: str | None = None) -> Fault | None:
        """The oldest fault of these kinds that strikes the target now, counted as one strike."""
        if not self._active:
            return None
        self.expire()
        wanted = frozenset(kinds)
        for fault in self._active.values():
            if fault.spec.kind not in wanted or not fault.matches(target):
                continue
            if text is not None and fault.spec.text != text:
                continue
            if fault.spec.percent < 100 and self._chance.uniform(0, 100) >= fault.spec.percent:
                continue
            self.strike(fault, target)
            return fault
        return None

    def strike(self, fault: Fault, target: Target) -> None:
        """Record that a fault acted; one with a count ends with its last strike."""
        fault.struck += 1
        self.journal.add(
            JournalKind.FAULT_STRUCK,
            target.account or "",
            target.device,
            fault=fault.name,
            id=fault.id,
            connection=target.connection or 0,
        )
        if fault.spent:
            self.end(fault.id)
