"""Keeps the engine from running ahead of the disk.

The engine decrypts a message (its key is used up and gone), queues the event for us, and receipts it, each in a
goroutine of its own; up to a hundred events may be queued. A process that is killed then has lost them: a receipted
message is not sent again, and a message that is sent again cannot be decrypted again. But the engine writes a log
line before each step and waits while we read it. So the reader of the log waits here: the next message is decrypted
only when the one before is on disk, and a receipt leaves only when its message is. For the moment between a
decryption and its recording there is a mark (`rewind`), by which the next process can take the decryption back.

Every wait is bounded: if a line or an event does not come as expected, the engine is late, not stuck.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Final, Protocol

DECRYPTION_WAIT_S: Final = 0.25
"""Longest wait for the message before. A recording takes 1–5 ms, on a busy disk some tens; longer means that no event
comes for it, and the chain must not stop for that."""
RECEIPT_WAIT_S: Final = 5.0
"""Longest delay of a receipt. It blocks nothing but this receipt, so it may outlast a slow disk."""
REMEMBERED: Final = 4096
"""Ids of recorded messages that are kept: more than the engine can have under way (2048 in its node queue)."""
_UNSETTLED: Final = 128
"""Decrypted messages whose events are missing; the engine's event channel holds a hundred."""


class Mark(Protocol):
    """What is told when decrypting begins, and when nothing decrypted is unrecorded any more."""

    def arm(self) -> None:
        """A decryption begins."""

    def disarm(self) -> None:
        """All is recorded."""


class ReceiptGate:
    """Called from the engine's threads only."""

    def __init__(self, mark: Mark) -> None:
        self._mark = mark
        self._changed = threading.Condition()
        self._known: OrderedDict[str, None] = OrderedDict()
        self._arrived: deque[tuple[str, int]] = deque(maxlen=REMEMBERED)
        self._unsettled: OrderedDict[str, int] = OrderedDict()
        """Message id → events that are still to come. Empty: nothing decrypted is unrecorded."""

    def remember(self, message_ids: Iterable[str]) -> None:
        """Messages that an earlier process recorded: what the engine then ignores as repeated is no loss."""
        with self._changed:
            self._known.update((message_id, None) for message_id in message_ids)

    def knows(self, message_id: str) -> bool:
        """Whether all of this message is on disk, or has no event."""
        with self._changed:
            return message_id in self._known

    def arrived(self, message_id: str, parts: int) -> None:
        """A message of so many encrypted parts was received; they are decrypted in the order of arrival, and each gives
        one event."""
        with self._changed:
            self._arrived.append((message_id, parts))

    def before_decryption(self) -> None:
        """Wait until the message before is on disk, or is known to have no event; then mark the next one."""
        with self._changed:
            self._changed.wait_for(lambda: not self._unsettled, DECRYPTION_WAIT_S)
            if not self._arrived:
                return  # not announced: nothing to wait for
            message_id, parts = self._arrived.popleft()
            if not self._unsettled:
                self._mark.arm()
            self._unsettled[message_id] = parts
            if len(self._unsettled) > _UNSETTLED:
                self._unsettled.popitem(last=False)

    def recorded(self, message_id: str) -> None:
        """One event of this message is on disk."""
        with self._changed:
            self._settle(message_id, 1)

    def no_event(self, message_id: str, *, whole: bool = False) -> None:
        """The engine hands over nothing for a part of this message, or (`whole`) for all that is left of it."""
        with self._changed:
            self._settle(message_id, self._unsettled.get(message_id, 1) if whole else 1)

    def hold_receipt(self, message_id: str) -> None:
        """Wait until this message is on disk, or is known to have no event."""
        with self._changed:
            self._changed.wait_for(lambda: message_id in self._known, RECEIPT_WAIT_S)

    def _settle(self, message_id: str, parts: int) -> None:
        left = self._unsettled.get(message_id, 0) - parts
        if left > 0:
            self._unsettled[message_id] = left
            return
        self._forget_before(message_id)
        self._known[message_id] = None
        self._known.move_to_end(message_id)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        if not self._unsettled:
            self._mark.disarm()
        self._changed.notify_all()

    def _forget_before(self, message_id: str) -> None:
        """Events come in order: what was decrypted before this message and has no event will not get one any more."""
        if message_id in self._unsettled:
            while self._unsettled.popitem(last=False)[0] != message_id:
                pass
