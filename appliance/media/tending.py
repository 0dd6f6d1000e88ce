"""Looks after the store: is it there, is it as full as we think, what has to go; and tells the alerts."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from typing import Final

import structlog

from appliance.events import EventBus
from appliance.history.facts import QuotaUse
from appliance.media.audit import NAMED, Auditor, Findings
from appliance.media.holdings import Holdings
from appliance.media.settings import PruneMode
from appliance.media.store import StoreError
from appliance.media.vault import Vault
from appliance.model_storage import PruneReport, PruneRequest

PROBE_S: Final = 15.0
"""A store that is away is noticed, and one that is back used again, within this time; one small request."""
FIRST_TEND_S: Final = 60.0
"""A daemon that starts has sixty sessions to look after first; quotas hold meanwhile."""

_log = structlog.get_logger(__name__)


class StoreKeeper:
    """`run()` works until cancelled."""

    def __init__(self, vault: Vault, auditor: Auditor, holdings: Holdings, bus: EventBus) -> None:
        self._vault = vault
        self._auditor = auditor
        self._holdings = holdings
        self._bus = bus
        self._due = 0.0
        self._missing: frozenset[str] = frozenset()
        self._begun = False
        self.trouble = ""
        """Why the store cannot be used now; empty: it can."""
        self.latency_s: float | None = None
        """How long the store took to answer the last small request; None: it did not."""

    async def run(self) -> None:
        """Probe every `PROBE_S`; tend soon after the start, because the daemon may have been away for long, then every
        `prune_interval_s`, and when a store is back that was away at that time."""
        self._due = time.monotonic() + min(FIRST_TEND_S, self._vault.settings.prune_interval_s)
        while True:
            try:
                await self.probe()
                if time.monotonic() >= self._due and not self.trouble:
                    self._due = time.monotonic() + self._vault.settings.prune_interval_s
                    await self.tend()
            except (StoreError, sqlite3.OperationalError) as error:  # away, or the disk is full: others say so
                _log.warning("the store cannot be looked after now", error=str(error))
            await asyncio.sleep(min(PROBE_S, max(0.0, self._due - time.monotonic())) or PROBE_S)

    def hurry(self) -> None:
        """What is looked after may have another quota or other ages: do it with the next probe."""
        self._due = 0.0

    async def probe(self) -> None:
        """Ask the store for a sign of life. When it answers for the first time, or again, what was left half done is
        cleared up and what has waited for it goes on."""
        began = time.monotonic()
        try:
            await self._vault.store.prepare()
            self.latency_s = time.monotonic() - began
            if self.trouble or not self._begun:
                await self._vault.clear_up()
                await self._vault.store.clear_leftovers()
        except StoreError as error:
            self.latency_s = None
            known, self.trouble = self.trouble, str(error)
            if not known:
                _log.error("the media store is away", reason=self.trouble)
                await self._bus.publish("storage.away", reason=self.trouble)
            return
        self._begun = True
        if self.trouble:
            self.trouble = ""
            _log.info("the media store is back")
            self._vault.tell_room()
            await self._bus.publish("storage.back")

    async def tend(self) -> PruneReport:
        """Clear up what is left, measure the store itself, then, unless pruning is manual, remove what age and quota
        ask for. Raises StoreError."""
        await self._holdings.trim_records()
        await self._vault.clear_up()
        leftovers = await self._vault.store.clear_leftovers()
        found = await self._auditor.measure()
        self._vault.count_foreign(found.foreign_size)
        strays = await self._vault.drop_strays(found.strays)
        await self._tell(found)
        if strays or leftovers.count:
            _log.warning(
                "what nothing referred to was deleted from the store",
                objects=strays,
                unfinished_uploads=leftovers.count,
                bytes=sum(found.strays.values()) + leftovers.size,
            )
        manual = self._vault.settings.prune_mode is PruneMode.MANUAL
        return await self._vault.prune(PruneRequest(dry_run=manual))

    async def quota_use(self) -> QuotaUse:
        """For the alert rules."""
        share, sessions = self._vault.shares()
        return QuotaUse(share=share, sessions=sessions)

    async def _tell(self, found: Findings) -> None:
        """Say once what is lost: only a person can know whether the bucket was restored to an older day, or emptied."""
        lost = frozenset((*found.missing, *found.damaged))
        if new := sorted(lost - self._missing):
            _log.error(
                "stored media is missing or damaged; see: amda storage check", objects=len(lost), keys=new[:NAMED]
            )
            await self._bus.publish("media.lost", objects=len(lost))
        self._missing = lost
