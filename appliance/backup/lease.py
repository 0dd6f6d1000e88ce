"""Who runs the sessions of a repository: a small file beside the backups that the running appliance renews.

Two machines with the same logins would throw each other out of WhatsApp for ever. So a restore looks here first, and
takes the lease over with a higher term; the machine that had it reads that at its next renewal, and runs no session any
more. A repository that cannot be reached stops nobody: whoever ran goes on.
"""

from __future__ import annotations

import contextlib
import enum
import platform
import sqlite3
import time
from pathlib import Path
from typing import Final

import msgspec

from appliance.backup.adoption import LINEAGE, TERM
from appliance.backup.errors import BackupError, BackupTrouble
from appliance.backup.repository import Repository
from appliance.model_backup import LeaseView

NAME: Final = "amda-lease.json"
RENEW_S: Final = 60.0
LIVE_S: Final = 600.0
"""A lease this old is not renewed any more: ten renewals were missed, more than any restart or upgrade takes."""
CLOCK_SLACK_S: Final = 300.0
"""A lease from the future is as good as one of this moment; beyond this, a clock is wrong, and it is said."""


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    lineage: str
    """Name of the first machine that these sessions ran on: the same after every restore."""
    node_id: str
    """Of the machine that runs them now."""
    host: str
    """Its name, for people."""
    term: int
    """Grows with every restore; the highest one is right."""
    renewed_at: float


class Verdict(enum.Enum):
    """What a machine may do after it has read the lease."""

    HOLD = "hold"
    """Write it with our name and go on."""
    SUPERSEDED = "superseded"
    """Another machine has taken over: run nothing."""
    FOREIGN = "foreign"
    """The repository belongs to another appliance: leave it alone."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine believes of itself."""

    lineage: str
    node_id: str
    term: int


def judge(found: Lease | None, ours: Claim) -> Verdict:
    """Pure: what the lease that lies there means for us."""
    if found is None or found.node_id == ours.node_id:
        return Verdict.HOLD
    if found.lineage != ours.lineage:
        return Verdict.FOREIGN
    return Verdict.HOLD if found.term < ours.term else Verdict.SUPERSEDED


async def read_lease(repository: Repository) -> Lease | None:
    """None if nobody has written one. Raises BackupError, also for one that cannot be read."""
    content = await repository.read(NAME)
    if content is None:
        return None
    try:
        return msgspec.json.decode(content, type=Lease)
    except msgspec.DecodeError as error:
        raise BackupError(
            f"the lease in the {repository.name} cannot be read ({error})",
            f"Remove {NAME} there if you know that no other machine runs these sessions.",
        ) from error


async def write_lease(repository: Repository, lease: Lease) -> None:
    """Raises BackupError."""
    await repository.write(NAME, msgspec.json.format(msgspec.json.encode(lease)))


async def check_nobody_runs(repository: Repository, node_id: str | None, *, old_machine_is_off: bool) -> Lease | None:
    """Whether a restore may go on; returns the lease as it lies there. `node_id`: this machine's own, if it has one.

    Raises BackupError of kind REFUSED while another machine renews it.
    """
    found = await read_lease(repository)
    if found is None or found.node_id == node_id or old_machine_is_off:
        return found
    age = await repository.age(NAME, found.renewed_at)
    if age < LIVE_S:
        when = f"{max(0.0, age):.0f} s ago" if age > -CLOCK_SLACK_S else "in the future: look at both clocks"
        raise BackupError(
            f"the machine {found.host} still runs these sessions (it said so {when})",
            "Stop it (there: systemctl stop amda.target), and wait until it has said nothing for "
            f"{LIVE_S / 60:.0f} minutes; or, if it is gone for sure: --old-machine-is-off. Two machines with the same "
            "logins throw each other out for ever.",
            BackupTrouble.REFUSED,
        )
    return found


def taken_over(found: Lease | None, lineage: str, node_id: str, host: str, term: int = 0) -> Lease:
    """The lease of a machine that takes over: its term is above every other."""
    highest = max(term, found.term if found is not None else 0)
    return Lease(lineage=lineage, node_id=node_id, host=host, term=highest + 1, renewed_at=time.time())


def claim_of(database: Path) -> Claim:
    """What this machine's database says of it. Raises BackupError if there is none."""
    if not database.exists():
        raise BackupError(
            f"there is no appliance in {database.parent}", "Name its settings: --config FILE", BackupTrouble.NOT_FOUND
        )
    with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as own:
        rows = own.execute("SELECT key, value FROM meta WHERE key IN ('node_id', ?, ?)", (LINEAGE, TERM)).fetchall()
    known = dict(rows)
    node_id = str(known.get("node_id", ""))
    return Claim(lineage=str(known.get(LINEAGE, node_id)), node_id=node_id, term=int(known.get(TERM, 0)))


async def check_ours(repository: Repository, claim: Claim) -> None:
    """Whether a backup of this machine belongs there: that of one that was replaced would be the newest, and wrong.

    Raises BackupError of kind REFUSED.
    """
    found = await read_lease(repository)
    verdict = judge(found, claim)
    if found is not None and verdict is Verdict.SUPERSEDED:
        raise BackupError(
            f"the machine {found.host} has taken over these sessions, and its backups are those that count",
            "If they are this machine's again: amda backup lease --take",
            BackupTrouble.REFUSED,
        )
    if verdict is Verdict.FOREIGN:
        raise _foreign(repository)


async def take_lease(repository: Repository, claim: Claim) -> Lease:
    """Make these sessions this machine's again, whoever had them; a running daemon reads it at its next renewal.

    Raises BackupError, also for a repository of another appliance.
    """
    found = await read_lease(repository)
    if judge(found, claim) is Verdict.FOREIGN:
        raise _foreign(repository)
    lease = taken_over(found, claim.lineage, claim.node_id, platform.node(), claim.term)
    await write_lease(repository, lease)
    return lease


def _foreign(repository: Repository) -> BackupError:
    return BackupError(
        f"the {repository.name} holds the backups of another appliance",
        "Name another one: backup.path, backup.bucket",
        BackupTrouble.REFUSED,
    )


def view_of(lease: Lease, node_id: str) -> LeaseView:
    """As CLI and API show it to the machine `node_id`."""
    return LeaseView(
        node_id=lease.node_id,
        host=lease.host,
        term=lease.term,
        renewed_at=lease.renewed_at,
        ours=lease.node_id == node_id,
    )
