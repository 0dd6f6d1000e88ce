"""How often somebody may ask, and how often somebody may be wrong. Pure: time is given, nothing is stored elsewhere."""

from __future__ import annotations

import collections
import functools
import ipaddress
from typing import Final, Generic, TypeVar

FORGET_ABOVE: Final = 10_000
"""Names that are remembered; beyond, the one that was not seen for longest is forgotten. A million costs 100 MB."""
WINDOW_S: Final = 60.0
"""Within this, failures add up."""
LONGEST_WAIT_S: Final = 3600.0
"""The wait doubles up to this: whoever mends the token must not wait for a day."""

_ROUNDING_S: Final = 1e-6
"""Times since the epoch are known to a fraction of a microsecond."""

V = TypeVar("V")


class Remembered(Generic[V]):
    """A bounded dictionary; what was not looked at for longest goes first."""

    def __init__(self, limit: int = FORGET_ABOVE) -> None:
        self._limit = limit
        self._values: collections.OrderedDict[str, V] = collections.OrderedDict()

    def get(self, name: str) -> V | None:
        if name in self._values:
            self._values.move_to_end(name)
        return self._values.get(name)

    def put(self, name: str, value: V) -> None:
        self._values[name] = value
        self._values.move_to_end(name)
        if len(self._values) > self._limit:
            self._values.popitem(last=False)

    def __len__(self) -> int:
        return len(self._values)


class Rate:
    """A bucket of tokens for each name: `burst` at once, `per_s` in the long run."""

    def __init__(self, per_s: float, burst: int) -> None:
        self._per_s = per_s
        self._burst = burst
        self._full: Remembered[float] = Remembered()
        """When the bucket will be (or was) full."""

    def wait(self, name: str, now: float) -> float:
        """0.0: go on; otherwise nothing was counted, and it is the time in seconds until the next is let in."""
        full = max(self._full.get(name) or now, now)
        after = full + 1 / self._per_s
        if (excess := after - now - self._burst / self._per_s) > _ROUNDING_S:
            return excess
        self._full.put(name, after)
        return 0.0


class Guesses:
    """Who was wrong `limit` times within a minute has to wait: a minute, then twice as long each time."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen: Remembered[tuple[int, float]] = Remembered()
        """How many failures, since when."""
        self._locked: Remembered[tuple[float, float]] = Remembered()
        """Until when, and how long that was."""

    def locked_for(self, name: str, now: float) -> float:
        """Seconds to wait; 0.0: none."""
        until, _ = self._locked.get(name) or (0.0, 0.0)
        return max(0.0, until - now)

    def failed(self, name: str, now: float) -> bool:
        """Count one; True if that was one too many."""
        count, since = self._seen.get(name) or (0, now)
        count, since = (count + 1, since) if now - since < WINDOW_S else (1, now)
        self._seen.put(name, (count, since))
        if count < self._limit:
            return False
        until, wait = self._locked.get(name) or (0.0, 0.0)
        wait = min(wait * 2, LONGEST_WAIT_S) if wait and now - until < LONGEST_WAIT_S else WINDOW_S
        self._locked.put(name, (now + wait, wait))
        self._seen.put(name, (0, now))
        return True


def plain_address(address: str) -> str:
    """As it is written in settings: a door that listens on all addresses sees IPv4 clients in the clothes of IPv6.
    Raises ValueError.

    >>> plain_address("::ffff:192.0.2.1"), plain_address("2001:DB8::1")
    ('192.0.2.1', '2001:db8::1')
    """
    parsed = ipaddress.ip_address(address)
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


@functools.lru_cache(FORGET_ABOVE)
def peer_of(address: str) -> str:
    """What one client can easily vary is one peer: an IPv6 client has a whole /64.

    >>> peer_of("2001:db8::1"), peer_of("::ffff:192.0.2.1"), peer_of("192.0.2.1")
    ('2001:db8::/64', '192.0.2.1', '192.0.2.1')
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # a process on the unix socket
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed.packed[:8] + bytes(8), 64)))
