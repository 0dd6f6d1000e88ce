"""Uptime rings: how much of each minute, hour and day a session was online, kept as sums of milliseconds.

Pure data: no clock, no database. Slots are addressed by absolute time, in chunks, so that a clock that was wrong for a
while writes beside the good data and not over it; what is older than the ring is only dropped when asked to.
"""

from __future__ import annotations

import array
import enum
import sys
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from appliance.model import SessionState
from appliance.model_history import UptimeSpan

MS: Final = 1000


class Condition(enum.StrEnum):
    """What a moment counts as."""

    ONLINE = "online"
    OFFLINE = "offline"
    UNWANTED = "unwanted"
    """Nobody wants it to be online: it counts for nothing."""


_UNWANTED: Final = frozenset({SessionState.NEW, SessionState.QUEUED, SessionState.PAIRING, SessionState.STOPPED})


def condition_of(state: SessionState) -> Condition:
    """`degraded` does not count as online: WhatsApp did not answer."""
    if state is SessionState.ONLINE:
        return Condition.ONLINE
    return Condition.UNWANTED if state in _UNWANTED else Condition.OFFLINE


class SpanShape(msgspec.Struct, frozen=True, kw_only=True):
    """`slots` slots of `slot_ms` each make the ring; `chunk` slots are stored together."""

    slot_ms: int
    slots: int
    chunk: int


SHAPES: Final[dict[UptimeSpan, SpanShape]] = {
    UptimeSpan.DAY: SpanShape(slot_ms=60 * MS, slots=1440, chunk=60),
    UptimeSpan.MONTH: SpanShape(slot_ms=3600 * MS, slots=720, chunk=24),
    UptimeSpan.YEAR: SpanShape(slot_ms=86_400 * MS, slots=365, chunk=30),
}
"""Chunks are small enough that writing the present one each minute is cheap (240–480 bytes), and large enough that a
session has fewer than seventy of them. Days are UTC days."""


class Chunk:
    """Consecutive slots: milliseconds online, and milliseconds that counted at all."""

    __slots__ = ("counted", "dirty", "online")

    def __init__(self, size: int) -> None:
        self.online = array.array("I", bytes(4 * size))
        self.counted = array.array("I", bytes(4 * size))
        self.dirty = False

    def pack(self) -> bytes:
        """Little-endian 32-bit numbers: all of `online`, then all of `counted`."""
        both = self.online + self.counted
        if sys.byteorder == "big":
            both.byteswap()
        return both.tobytes()

    @classmethod
    def unpack(cls, blob: bytes, size: int) -> Chunk:
        """Raises ValueError for a blob of another size."""
        if len(blob) != 8 * size:
            raise ValueError(f"a chunk of {size} slots has {8 * size} bytes, not {len(blob)}")
        both = array.array("I", blob)
        if sys.byteorder == "big":
            both.byteswap()
        chunk = cls(size)
        chunk.online, chunk.counted = both[:size], both[size:]
        return chunk


class Ring:
    """One session's slots of one span."""

    def __init__(self, shape: SpanShape) -> None:
        self.shape = shape
        self.chunks: dict[int, Chunk] = {}

    def add(self, start_ms: int, end_ms: int, *, online: bool) -> None:
        """Count the time from `start_ms` to `end_ms`. A slot that is counted more than once (the clock was set back)
        keeps the share of all that was counted in it."""
        slot_ms = self.shape.slot_ms
        at = start_ms
        while at < end_ms:
            slot = at // slot_ms
            until = min(end_ms, (slot + 1) * slot_ms)
            self._count(slot, until - at, online=online)
            at = until

    def values(self, now_ms: int) -> list[tuple[int, int]]:
        """Milliseconds online and counted of each slot, oldest first; the last slot is the one of `now_ms`."""
        last = now_ms // self.shape.slot_ms
        found = []
        for slot in range(last - self.shape.slots + 1, last + 1):
            chunk = self.chunks.get(slot // self.shape.chunk)
            at = slot % self.shape.chunk
            found.append((chunk.online[at], chunk.counted[at]) if chunk is not None else (0, 0))
        return found

    def totals(self, now_ms: int, slots: int) -> tuple[int, int]:
        """Sum of the last `slots` slots: milliseconds online and counted."""
        values = self.values(now_ms)[-slots:]
        return sum(online for online, _ in values), sum(counted for _, counted in values)

    def expired(self, now_ms: int) -> list[int]:
        """Chunks that lie wholly before the ring, or in the future."""
        last = now_ms // self.shape.slot_ms
        first_chunk = (last - self.shape.slots + 1) // self.shape.chunk
        return [number for number in self.chunks if not first_chunk <= number <= last // self.shape.chunk]

    def dirty(self) -> Iterator[tuple[int, Chunk]]:
        """Chunks that were changed since their mark was taken off."""
        return ((number, chunk) for number, chunk in self.chunks.items() if chunk.dirty)

    def _count(self, slot: int, amount: int, *, online: bool) -> None:
        number = slot // self.shape.chunk
        chunk = self.chunks.get(number)
        if chunk is None:
            chunk = self.chunks[number] = Chunk(self.shape.chunk)
        at = slot % self.shape.chunk
        counted = chunk.counted[at] + amount
        up = chunk.online[at] + (amount if online else 0)
        if counted > self.shape.slot_ms:
            up = round(up * self.shape.slot_ms / counted)
            counted = self.shape.slot_ms
        chunk.counted[at], chunk.online[at], chunk.dirty = counted, up, True


def share(online_ms: int, counted_ms: int) -> float | None:
    """None where nothing was counted."""
    return online_ms / counted_ms if counted_ms else None


def shares(values: Iterable[tuple[int, int]]) -> list[float | None]:
    """The share of each slot, to four decimals: what a strip on a screen needs."""
    return [None if not counted else round(online / counted, 4) for online, counted in values]
