"""What a refusal by a limit says: which limit, since when it makes sense to come back, and what to do."""

from __future__ import annotations

import math
from typing import Final

from appliance.config import Pairing
from appliance.pairing.redis_queue import Limited, Rules
from appliance.problems import ProblemError, too_many

APPLIANCE_WINDOW_S: Final = 3600.0
"""`pairing.appliance_codes` counts the codes of the last hour."""
COOL_REMEMBERED_S: Final = 2 * 86_400.0
"""How long after a cool-down the next one would still be longer: WhatsApp forgets within a day or two."""
_MINUTE_S: Final = 60


def rules_of(settings: Pairing) -> Rules:
    return Rules(
        lock_s=settings.lock_s,
        session_interval_s=settings.code_interval_s,
        phone_interval_s=settings.number_interval_s,
        appliance_codes=settings.appliance_codes,
        appliance_window_s=APPLIANCE_WINDOW_S,
        cool_first_s=settings.cooldown_s,
        cool_longest_s=settings.cooldown_longest_s,
        cool_remembered_s=COOL_REMEMBERED_S,
    )


def refusal(limited: Limited, session: str, now: float, settings: Pairing) -> ProblemError:
    """As a 429 with Retry-After."""
    left = max(1.0, limited.until - now)
    when = f"Come back in {in_words(left)}"
    lift = f"or let an operator lift the limit: amda pairing lift {session}"
    match limited.what:
        case "session":
            detail = f"Session {session} was shown a code less than {in_words(settings.code_interval_s)} ago."
            return too_many(detail, f"{when}, {lift}", left)
        case "phone":
            detail = f"A code for this number was shown less than {in_words(settings.number_interval_s)} ago."
            return too_many(detail, f"{when}, {lift}", left)
        case "cool":
            detail = "WhatsApp refuses codes for this number for now (429): too many were asked for."
            return too_many(detail, f"{when}; every further try before prolongs it.", left)
        case _:
            detail = "The appliance has shown as many codes as it may within an hour."
            return too_many(detail, f"{when}. If something asks in a loop, stop it: amda pairing list", left)


def in_words(seconds: float) -> str:
    """A time as people say it, rounded up.

    >>> in_words(59), in_words(61), in_words(7201)
    ('59 seconds', '2 minutes', '3 hours')
    """
    if seconds <= _MINUTE_S:
        count, unit = math.ceil(seconds), "second"
    elif seconds <= _MINUTE_S * _MINUTE_S:
        count, unit = math.ceil(seconds / _MINUTE_S), "minute"
    else:
        count, unit = math.ceil(seconds / _MINUTE_S / _MINUTE_S), "hour"
    return f"{count} {unit}{'' if count == 1 else 's'}"
