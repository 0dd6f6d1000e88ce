"""Keeps the engine from running ahead of the disk.

The engine decrypts a message (its key is used up and gone), queues the event for us, and receipts it, each in a
goroutine of its own; up to a hundred events may be queued. A process that is killed then has lost them: a receipted
message is not sent again, and a message that is sent again cannot be decrypted again. But the engine writes a log
line before each step and waits while we read it. So the reader of the log waits here: the next message is decrypted
only after the one before is on disk, and a receipt leaves only when its message is. What remains is the moment
between decrypting one message and recording it, about a millisecond.

Every wait is bounded: if a line or an event does not come as expected, the engine is late, not stuck.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

DECRYPTION_WAIT_S: Final = 0.25
"""Longest wait for the message before. A recording takes 1–5 ms, on a busy disk some tens; longer means that no event
comes for it, and the chain must not stop for that."""
RECEIPT_WAIT_S: Final = 5.0
"""Longest delay of a receipt. It blocks nothing but this receipt, so it may outlast a slow disk."""
REMEMBERED: Final = 4096
"""Ids of recorded messages that are kept: more than the engine can have under way (2048 in its node queue)."""


class ReceiptGate:
    """Called from the engine's threads only."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._known: OrderedDict[str, None] = OrderedDict()
        self._decrypting = False

    def recorded(self, message_id: str) -> None:
        """The event of this message is on disk."""
        self._settle(message_id)

    def no_event(self, message_id: str | None) -> None:
        """The engine will hand over nothing for the message at hand; its receipt need not wait."""
        self._settle(message_id)

    def remember(self, message_ids: list[str]) -> None:
        """Messages that an earlier process recorded: what the engine then ignores as repeated is no loss."""
        with self._changed:
            self._known.update((message_id, None) for message_id in message_ids)

    def knows(self, message_id: str) -> bool:
        with self._changed:
            return message_id in self._known

    def before_decryption(self) -> None:
        """Wait until the message before is on disk, or is known to have no event."""
        with self._changed:
            self._changed.wait_for(lambda: not self._decrypting, DECRYPTION_WAIT_S)
            self._decrypting = True

    def hold_receipt(self, message_id: str) -> None:
        """Wait until this message is on disk, or is known to have no event."""
        with self._changed:
            self._changed.wait_for(lambda: message_id in self._known, RECEIPT_WAIT_S)

    def _settle(self, message_id: str | None) -> None:
        with self._changed:
            self._decrypting = False
            if message_id is not None:
                self._known[message_id] = None
                self._known.move_to_end(message_id)
                while len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
            self._changed.notify_all()
