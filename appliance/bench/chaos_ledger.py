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
    heard: bool = True
    """Whether the device has said anything after the network called it ready."""

    @property
    def certain(self) -> bool:
        """Lost, and its process knew of the login: it was long ago enough, and the device went on speaking."""
        if not self.heard or self.ready_at is None or self.closed_at is None:
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
            by_number[number].heard = bool(entry.data.get("heard", True))
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


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """One loss and the way back. `lost_at`: the strike where that is known to have killed the connection before anybody
    noticed; `gone_s`: for how much of it this account's server was gone, so that nobody could have been back."""

    session: str
    lost_at: float
    back_at: float
    gone_s: float
    because: list[str]
    """Strikes that concerned this session or everybody, from the loss on: seconds after it, and what."""

    @property
    def seconds(self) -> float:
        return self.back_at - self.lost_at

    @property
    def own_s(self) -> float:
        """What the appliance itself took."""
        return max(0.0, self.seconds - self.gone_s)


def recoveries(
    logins: dict[str, list[Connection]], accounts: dict[str, str], strikes: Sequence[Strike], gone_s: float
) -> list[Recovery]:
    """From each loss until the account was logged in and ready again. The last loss of an account that never came back
    is left out: it is counted elsewhere. `gone_s`: how long the server is gone when it is."""
    found = []
    for session, account in accounts.items():
        mine = [strike for strike in strikes if not strike.targets or session in strike.targets]
        dark = [(s.at, s.at + gone_s) for s in mine if s.trouble is Trouble.SERVER_GONE]
        struck = [strike.at for strike in mine if strike.trouble in _BEGUN_BY_STRIKE]
        of_account = logins.get(account, [])
        for position, lost in enumerate(of_account):
            if not lost.certain or lost.ready_at is None or lost.closed_at is None:
                continue
            back = next((c.ready_at for c in of_account[position + 1 :] if c.ready_at is not None), None)
            if back is None:
                continue
            begun = min([lost.closed_at, *(at for at in struck if lost.ready_at <= at <= lost.closed_at)])
            found.append(
                Recovery(
                    session=session,
                    lost_at=begun,
                    back_at=max(begun, back),
                    gone_s=_covered(dark, begun, back),
                    because=[f"{s.at - begun:+.0f} s {s.trouble} {s.note}" for s in mine if begun - 1 <= s.at < back],
                )
            )
    return found


def _covered(spans: Sequence[tuple[float, float]], begin: float, end: float) -> float:
    """For how much of the time between two moments one of the spans lasted."""
    total, reached = 0.0, begin
    for start, stop in sorted(spans):
        total += max(0.0, min(stop, end) - max(start, reached))
        reached = max(reached, min(stop, end))
    return total


def _find(row: Disconnection, unmatched: Sequence[Connection], steps: Sequence[Step]) -> Connection | None:
    """The connection whose login a row names: the latest one before that moment that has no row yet and has ended. One
    that began a trifle later, by clocks that differ, is taken only if there is none: two may be as close as that."""
    if row.connected_at is None:
        return None
    for at in _real_times(row.connected_at, steps):
        for apart in (0.0, CLOCKS_S):
            before = [c for c in unmatched if c.login_at <= at + apart]
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
