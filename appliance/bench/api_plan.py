"""What the rehearsal of the API and its load generator tell each other, and the reads that clients make."""

from __future__ import annotations

import enum
from typing import Final

import msgspec

ORIGINS: Final = 12
"""Machines that the clients come from, as loopback addresses: one alone may not hold a thousand connections."""
FIRST_ORIGIN: Final = 11
"""127.0.0.11, and those after it."""
READS: Final = (
    ("/v1/status", 3),
    ("/v1/sessions?state=online&state=degraded&sort=since&descending=true", 3),
    ("/v1/sessions?limit=20&text=session", 2),
    ("/v1/media?limit=50", 3),
    ("/v1/media?limit=20&category=statuses&kind=image", 2),
    ("/v1/history?limit=50", 3),
    ("/v1/storage", 1),
    ("/v1/sessions", 1),
)
"""What back ends, screens and scripts ask for, and how often in proportion."""
POLLED: Final = ("/v1/sessions?limit=20", "/v1/media?limit=10", "/v1/history?limit=10")
"""Asked again and again with the `ETag` of the last answer …"""
POLL_SHARE: Final = 0.25
"""… by so many of the requests."""
UNIX_SHARE: Final = 0.4
"""Of the requests, by the unix socket; the others by TCP with a token."""


class LoadPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What the load generator shall do. It holds tokens: its file is private."""

    socket: str
    """Path of the unix socket."""
    port: int
    tokens: list[str]
    """One for each origin."""
    subscribers: int
    spare: int
    """Subscribers beyond those that must be connected at any moment: some are always on their way back."""
    requests_per_s: float
    seconds: float
    after: int
    """Number of the last event before it all begins: everybody must be told of each one after it."""
    seed: int


class LoadFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What the clients have seen."""

    subscribers: int
    """The fewest that were connected at any moment."""
    reconnections: int
    disconnects: int
    """Streams that did not end by the subscriber's own wish, and answers other than 200."""
    events_missed: int
    events_repeated: int
    delivered: int
    """Events, counted once for each subscriber."""
    requests: int
    requests_per_s: float
    requests_failed: int
    """Neither 200 nor 304, or no answer."""
    not_modified: int
    read_p50_ms: float
    read_p99_ms: float
    """From the moment when the request was due until the whole answer was there."""
    read_max_ms: float
    slowest_reads_p99_ms: dict[str, float]
    generator_cpu_s: float
    wrong: list[str]
    """The first few things that went wrong, in words."""


class Phase(enum.StrEnum):
    """How far the load generator is."""

    CONNECTED = "connected"
    """Everybody follows; the reads begin."""
    MEASURED = "measured"
    """They have ended."""
    DONE = "done"
    """The figures are there."""


class LoadNews(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the load generator's output."""

    phase: Phase
    figures: LoadFigures | None = None


def origin(number: int) -> str:
    """The address that a client comes from.

    >>> origin(0), origin(13)
    ('127.0.0.11', '127.0.0.12')
    """
    return f"127.0.0.{FIRST_ORIGIN + number % ORIGINS}"


class Series:
    """Whether one subscriber is told of every event after a number, once and in order."""

    def __init__(self, after: int) -> None:
        self.last = after
        self.missed = 0
        self.repeated = 0

    def take(self, seq: int) -> None:
        """An event has come.

        >>> series = Series(5)
        >>> for seq in (6, 7, 7, 10): series.take(seq)
        >>> series.last, series.missed, series.repeated
        (10, 2, 1)
        """
        if seq <= self.last:
            self.repeated += 1
            return
        self.missed += seq - self.last - 1
        self.last = seq
