"""The daemon's part of the lease: renews it, and lets no session run once another machine has taken over."""

from __future__ import annotations

import asyncio
import contextlib
import platform
import time
from collections.abc import AsyncIterator
from typing import Final

import structlog

from appliance.backup.adoption import LINEAGE, RENEWED, SUPERSEDED, TERM
from appliance.backup.errors import BackupError, BackupTrouble
from appliance.backup.lease import LIVE_S, RENEW_S, Claim, Lease, Verdict, judge, read_lease, view_of, write_lease
from appliance.backup.record import read_record
from appliance.backup.repository import Repository, open_repository
from appliance.config import Settings
from appliance.database import Database
from appliance.interfaces import SessionControl
from appliance.model import SessionState
from appliance.model_api import DegradedPart
from appliance.model_backup import BackupView
from appliance.problems import ProblemError
from appliance.sessions.memory import RESTING

FIRST_S: Final = 3.0
"""How long the daemon's start waits for the repository; what was known the last time counts if it does not answer."""
LONG_OFF_S: Final = 30.0
"""The same for a machine that has not renewed its lease for so long that it may have been replaced: after a boot its
network needs some seconds, and a session that starts too early throws the other machine's out."""
AGAIN_S: Final = 1.0
"""Pause between two tries of that kind."""
STEP_S: Final = 30.0
"""A repository on a network folder that hangs: the next renewal tries again."""

_ENDED: Final = frozenset(RESTING | {SessionState.STOPPED})
"""States of sessions that do not run."""

_log = structlog.get_logger(__name__)


class LeaseKeeper:
    """Implements `sessions.ownership.Ownership`. Made by `open()`; `run()` works until cancelled."""

    def __init__(self, settings: Settings, database: Database, claim: Claim, superseded_by: str) -> None:
        self._settings = settings
        self._database = database
        self._claim = claim
        self._superseded_by = superseded_by
        self._foreign = ""
        self._repository: Repository = open_repository(settings.backup)
        self._found: Lease | None = None
        self._error = ""

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, settings: Settings, database: Database, node_id: str) -> AsyncIterator[LeaseKeeper]:
        """Look once, for a moment, so that a machine that was replaced starts nothing."""
        await database.execute("INSERT OR IGNORE INTO meta (key, value) VALUES (?, ?)", (LINEAGE, node_id))
        rows = await database.fetch_all(
            "SELECT key, value FROM meta WHERE key IN (?, ?, ?, ?)", (LINEAGE, TERM, SUPERSEDED, RENEWED)
        )
        known = {row["key"]: row["value"] for row in rows}
        claim = Claim(lineage=known[LINEAGE], node_id=node_id, term=int(known.get(TERM, 0)))
        keeper = cls(settings, database, claim, known.get(SUPERSEDED, ""))
        renewed_at = float(known.get(RENEWED, time.time()))
        await keeper._renew(FIRST_S)
        if time.time() - renewed_at >= LIVE_S:
            await keeper._wait_for_a_look()
        try:
            yield keeper
        finally:
            await keeper._repository.close()

    def may_run(self, session: str, node_id: str) -> bool:  # noqa: ARG002 - the protocol's arguments
        """Unless another machine has taken over."""
        return not self._superseded_by

    def trouble(self) -> list[DegradedPart]:
        """What `amda status` has to say about it."""
        if self._superseded_by:
            return [
                DegradedPart(
                    part="lease",
                    reason=f"the machine {self._superseded_by} has taken over the sessions from a backup",
                    remedy="If that was not meant: stop them there, then here: amda backup lease --take",
                )
            ]
        if self._foreign:
            return [
                DegradedPart(
                    part="lease",
                    reason=f"the {self._repository.name} holds the backups of another appliance ({self._foreign})",
                    remedy="Give this one a folder or bucket of its own: backup.path, backup.bucket",
                )
            ]
        return []

    def view(self) -> BackupView:
        """How backups are; from what was read last."""
        lease = self._found
        return BackupView(
            repository=self._repository.name,
            media=self._settings.backup.media,
            record=read_record(self._settings.paths.backups),
            lease=None if lease is None else view_of(lease, self._claim.node_id),
            lease_error=self._error,
            superseded=bool(self._superseded_by),
        )

    async def run(self, sessions: SessionControl) -> None:
        """Renew it for ever; end what runs when another machine has taken over."""
        while True:
            if self._superseded_by:
                await self._end(sessions)
            await asyncio.sleep(RENEW_S)
            await self._renew(STEP_S)

    async def _wait_for_a_look(self) -> None:
        """Before any session may start: until it was seen who runs them, or `LONG_OFF_S` have passed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONG_OFF_S):
                while self._error:
                    await asyncio.sleep(AGAIN_S)
                    await self._renew(LONG_OFF_S)

    async def _renew(self, limit_s: float) -> None:
        try:
            async with asyncio.timeout(limit_s):
                if await self._repository.exists():
                    await self._look()
                elif self._claim.term:
                    raise BackupError(f"the {self._repository.name} is not there", "", BackupTrouble.AWAY)
                # otherwise no backup was ever made, and nobody can restore one
        except (BackupError, TimeoutError) as error:
            reason = str(error) or f"the {self._repository.name} does not answer"
            if reason != self._error:
                _log.warning("the lease beside the backups is not renewed", reason=reason)
            self._error = reason
        else:
            self._error = ""

    async def _look(self) -> None:
        found = self._found = await read_lease(self._repository)
        verdict = judge(found, self._claim)
        self._foreign = found.host if found is not None and verdict is Verdict.FOREIGN else ""
        if verdict is Verdict.HOLD:
            await self._hold(max(self._claim.term, found.term if found is not None else 1))
        elif verdict is Verdict.SUPERSEDED and found is not None:
            self._superseded_by = found.host or found.node_id
            await self._set(SUPERSEDED, self._superseded_by)

    async def _hold(self, term: int) -> None:
        claim = self._claim
        if term != claim.term:
            await self._set(TERM, str(term))
            claim = self._claim = Claim(lineage=claim.lineage, node_id=claim.node_id, term=term)
        if self._superseded_by:
            await self._database.execute("DELETE FROM meta WHERE key = ?", (SUPERSEDED,))
            self._superseded_by = ""
            _log.warning("the sessions are this machine's again")
        lease = Lease(
            lineage=claim.lineage, node_id=claim.node_id, host=platform.node(), term=term, renewed_at=time.time()
        )
        await write_lease(self._repository, lease)
        await self._set(RENEWED, str(lease.renewed_at))
        self._found = lease

    async def _set(self, key: str, value: str) -> None:
        await self._database.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))

    async def _end(self, sessions: SessionControl) -> None:
        for view in await sessions.list():
            if view.state in _ENDED:
                continue
            _log.error("another machine runs this session now", session=view.id, machine=self._superseded_by)
            try:
                await sessions.stop(view.id)
            except ProblemError as error:  # busy: it is tried again with the next renewal
                _log.warning("a session cannot be stopped now", session=view.id, reason=str(error))
