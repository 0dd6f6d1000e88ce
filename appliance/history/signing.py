"""Signatures of webhooks: HMAC-SHA256 over time and body, so that a receiver can tell ours from others' and old ones.

The header is `X-AMDA-Signature: t=<seconds>,v1=<hex>`; signed is `<seconds>.<body>`. A receiver computes the same with
the shared key, compares in constant time, and refuses what is older than a few minutes.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

SIGNATURE_HEADER: Final = "X-AMDA-Signature"
DELIVERY_HEADER: Final = "X-AMDA-Delivery"
EVENT_HEADER: Final = "X-AMDA-Event"
"""Repeat id and type of a webhook's message, for who routes by headers; they are not signed."""
TOLERANCE_S: Final = 300.0
"""Older or newer is refused: clocks of servers differ by seconds, and retries are signed anew."""


def sign(secret: str, body: bytes, at: float) -> str:
    """The value of the header for a body that is sent at `at` (seconds since the epoch)."""
    return f"t={int(at)},v1={_digest(secret, int(at), body)}"


def verify(secret: str, body: bytes, header: str, now: float) -> bool:
    """What a receiver does: whether the header is ours, for this body, and fresh."""
    fields = dict(part.partition("=")[::2] for part in header.split(","))
    stamp = fields.get("t", "")
    if not stamp.isascii() or not stamp.isdigit() or abs(now - int(stamp)) > TOLERANCE_S:
        return False
    expected = _digest(secret, int(stamp), body)
    return hmac.compare_digest(expected.encode(), fields.get("v1", "").encode())


def _digest(secret: str, at: int, body: bytes) -> str:
    return hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
