"""Gathers the facts for the alert rules: from the database, and from those who know what is not stored."""

from __future__ import annotations

import collections
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import msgspec

from appliance.database import Database
from appliance.history.alert_rules import Facts, SessionFacts
from appliance.history.ledger import Ledger
from appliance.history.recorder import SETTLE_S
from appliance.history.settings import HOUR_S, MINUTE_S, AlertSettings
from appliance.history.statistics import ASKED
from appliance.interfaces import SessionControl
from appliance.model import PairingState, SessionView
from appliance.model_api import Readiness
from appliance.sessions.reasons import ENDED_WITH_ALL, REASONS, ReasonClass

CRASH_WINDOW_S: Final = 600.0
"""The same window as the policy's: five in it and the session is not restarted any more."""
_CRASHES: Final = frozenset(reason for reason, info in REASONS.items() if info.kind is ReasonClass.CRASH)
_FAILED_LINKS: Final = (PairingState.EXPIRED, PairingState.REFUSED, PairingState.FAILED)


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """What is not in the database. Troubles: what is wrong; empty: nothing; None: not known."""

    sessions: Sequence[SessionView] = ()
    fork_server: str | None = None
    storage: str | None = None
    redis: str | None = None
    settings: str | None = None
    lease: str | None = None
    webhooks: str | None = None
    storage_share: float | None = None
    """Part of the appliance's storage quota that is used."""
    session_storage_share: Mapping[str, float] = {}


LiveSource = Callable[[], Awaitable[Live]]


class QuotaUse(msgspec.Struct, frozen=True, kw_only=True):
    """Parts of the storage quotas that are used: of the appliance (None: no quota), and of sessions that have one."""

    share: float | None = None
    sessions: Mapping[str, float] = {}


async def _no_quota() -> QuotaUse:
    return QuotaUse()


def live_source(
    sessions: SessionControl,
    readiness: Callable[[], Awaitable[Readiness]],
    quota: Callable[[], Awaitable[QuotaUse]] = _no_quota,
) -> LiveSource:
    """Ask the sessions' room, the health check and the media room."""

    async def live() -> Live:
        trouble = {part.part: part.reason for part in (await readiness()).degraded}
        used = await quota()
        return Live(
            sessions=await sessions.list(),
            fork_server=trouble.get("forkserver", ""),
            storage=trouble.get("media") or trouble.get("disk", ""),
            redis=trouble.get("redis", ""),
            settings=trouble.get("settings", ""),
            lease=trouble.get("lease", ""),
            storage_share=used.share,
            session_storage_share=used.sessions,
        )

    return live


async def gather(
    database: Database, ledger: Ledger, live: Live, settings: AlertSettings, now: float, started_at: float
) -> Facts:
    """Everything as of `now`. `started_at`: of the daemon; that all processes had ended while it was away is no news
    about any session: the machine was started, or the appliance stopped by somebody."""
    window_s = settings.rate_minutes * MINUTE_S
    lost: set[str] = set()
    losses: collections.Counter[str] = collections.Counter()
    crashes: collections.Counter[str] = collections.Counter()
    for session, reason, at in await ledger.losses(now - max(window_s, HOUR_S, CRASH_WINDOW_S)):
        if reason in ASKED or at > now + MINUTE_S:  # a row of the future was written before the clock was set back
            continue
        if reason in ENDED_WITH_ALL and at <= started_at + SETTLE_S:
            continue
        if at >= now - window_s:
            lost.add(session)
        if at >= now - HOUR_S:
            losses[session] += 1
        if reason in _CRASHES and at >= now - CRASH_WINDOW_S:
            crashes[session] += 1
    linked, not_linked = await _pairings(database, now - settings.pairing_hours * HOUR_S)
    return Facts(
        now=now,
        sessions=tuple(
            SessionFacts(
                id=view.id,
                state=view.state,
                detail=view.detail,
                memory_bytes=view.memory_bytes,
                phone_seen_at=_phone_of(view),
                losses_hour=losses[view.id],
                crashes=crashes[view.id],
                storage_share=live.session_storage_share.get(view.id),
            )
            for view in live.sessions
        ),
        lost_sessions=len(lost),
        fork_server=live.fork_server,
        storage=live.storage,
        redis=live.redis,
        settings=live.settings,
        lease=live.lease,
        webhooks=live.webhooks,
        storage_share=live.storage_share,
        linked=linked,
        not_linked=not_linked,
    )


def _phone_of(view: SessionView) -> float | None:
    """When the phone was last seen; for a login that was moved in from elsewhere, when we began to look."""
    if view.phone_seen_at is None and view.generation > 0:
        return view.created_at
    return view.phone_seen_at


async def _pairings(database: Database, since: float) -> tuple[int, int]:
    rows = await database.fetch_all(
        "SELECT state, count(*) AS number FROM pairings WHERE ended_at >= ? GROUP BY state", (since,)
    )
    counts = {row["state"]: int(row["number"]) for row in rows}
    return counts.get(PairingState.LINKED, 0), sum(counts.get(state, 0) for state in _FAILED_LINKS)
