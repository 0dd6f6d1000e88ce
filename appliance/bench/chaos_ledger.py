"""Whether the ledger is right: each loss of a connection that had logged in has one row, and nothing else has.

The network's journal is the judge. A row is matched with the connection of the login that it names; the clock that
stamped it was set during the rehearsal, so its time is read back through the steps that were made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from appliance.bench.chaos_plan import Trouble
from appliance.bench.chaos_strikes import Step, Strike
from appliance.model_history import Disconnection
from appliance.staging.control_types import JournalEntry, JournalKind

KINDS: Final = [JournalKind.LOGIN, JournalKind.READY, JournalKind.CLOSED]
KNOWN_AFTER_S: Final = 1.0
"""A process that is killed so soon after the network called its connection ready may not have learnt of it: the answer
was on its way. Such a loss may have a row, and need not."""
CLOCKS_S: Final = 0.1
"""The network and the worker note the same login one after the other; both clocks are the machine's."""
_BEGUN_BY_STRIKE: Final = frozenset({Trouble.SOCKETS_STALLED, Trouble.WORKER_STOPPED})
"""A connection that dies of these is dead long before it is closed."""


class Connection(msgspec.Struct, kw_only=True):
    """One login at the network, with the machine's times."""

    number: int
    login_at: float
    ready_at: float | None = None
    closed_at: float | None = None

    @property
    def certain(self) -> bool:
        """Lost, and long enough after the login that its process knew of it."""
        if self.ready_at is None or self.closed_at is None:
            return False
        return self.closed_at - self.ready_at >= KNOWN_AFTER_S


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """`undecided`: lost within a moment of the login, without a row."""

    counted: int
    rows: int
    missing: list[str]
    extra: list[str]
    undecided: int


def connections(journal: Iterable[JournalEntry]) -> dict[str, list[Connection]]:
    """Account → its logins, oldest first."""
    found: dict[str, list[Connection]] = {}
    by_number: dict[int, Connection] = {}
    for entry in journal:
        number = int(entry.data["connection"])
        if entry.kind is JournalKind.LOGIN and entry.data["answer"] == "success":
            by_number[number] = Connection(number=number, login_at=entry.at)
            found.setdefault(entry.account, []).append(by_number[number])
        elif entry.kind is JournalKind.READY:
            by_number[number].ready_at = entry.at
        elif entry.kind is JournalKind.CLOSED and number in by_number:
            by_number[number].closed_at = entry.at
    return found


def audit(
    logins: dict[str, list[Connection]],
    rows: dict[str, list[Disconnection]],
    accounts: dict[str, str],
    steps: Sequence[Step],
) -> Audit:
    """Hold the rows of each session (oldest first) against what the network counted of its account."""
    missing, extra, undecided = [], [], 0
    for session, account in accounts.items():
        unmatched = list(logins.get(account, []))
        for row in rows.get(session, []):
            if (connection := _find(row, unmatched, steps)) is None:
                extra.append(f"{session} row {row.id}: {row.reason} {row.signal} at {row.at:.3f}")
            else:
                unmatched.remove(connection)
        lost = [connection for connection in unmatched if connection.closed_at is not None]
        missing += [
            f"{session} connection {connection.number}: {connection.login_at:.3f} to {connection.closed_at:.3f}"
            for connection in lost
            if connection.certain
        ]
        undecided += sum(not connection.certain for connection in lost)
    return Audit(
        counted=sum(connection.certain for of_account in logins.values() for connection in of_account),
        rows=sum(map(len, rows.values())),
        missing=missing,
        extra=extra,
        undecided=undecided,
    )


def recoveries(logins: dict[str, list[Connection]], accounts: dict[str, str], strikes: Sequence[Strike]) -> list[float]:
    """Seconds from each loss until the account was logged in and ready again; from the strike where that is known to
    have killed the connection before anybody noticed. The last loss of an account that never came back is left out."""
    found = []
    for session, account in accounts.items():
        struck = [s.at for s in strikes if s.trouble in _BEGUN_BY_STRIKE and session in s.targets]
        of_account = logins.get(account, [])
        for position, lost in enumerate(of_account):
            if not lost.certain or lost.ready_at is None or lost.closed_at is None:
                continue
            back = next((c.ready_at for c in of_account[position + 1 :] if c.ready_at is not None), None)
            if back is not None:
                begun = [at for at in struck if lost.ready_at <= at <= lost.closed_at]
                found.append(max(0.0, back - min([lost.closed_at, *begun])))
    return found


def _find(row: Disconnection, unmatched: Sequence[Connection], steps: Sequence[Step]) -> Connection | None:
    """The connection whose login a row names: the latest one before that moment that has no row yet and has ended."""
    if row.connected_at is None:
        return None
    for at in _real_times(row.connected_at, steps):
        before = [c for c in unmatched if c.login_at <= at + CLOCKS_S]
        if before and before[-1].closed_at is not None and at <= before[-1].closed_at + CLOCKS_S:
            return before[-1]
    return None


def _real_times(stamped: float, steps: Sequence[Step]) -> list[float]:
    """When it may have been by the machine's clock; a clock that was set back shows some times twice."""
    found = []
    for position, step in enumerate(steps):
        until = steps[position + 1].at if position + 1 < len(steps) else float("inf")
        at = stamped - step.offset
        if step.at - CLOCKS_S <= at <= until + CLOCKS_S:
            found.append(at)
    return found
