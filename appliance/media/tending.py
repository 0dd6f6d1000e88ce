"""Looks after the store at regular times: clears up, prunes; and tells the alerts how full it is."""

from __future__ import annotations

import asyncio
import sqlite3

import structlog

from appliance.history.facts import QuotaUse
from appliance.media.store import StoreError
from appliance.media.vault import Vault

_log = structlog.get_logger(__name__)


class StoreKeeper:
    """`run()` works until cancelled."""

    def __init__(self, vault: Vault, interval_s: float) -> None:
        self._vault = vault
        self._interval_s = interval_s

    async def run(self) -> None:
        """At once, because the daemon may have been away for long, and then every `interval_s`."""
        while True:
            try:
                await self._vault.tend()
            except (StoreError, sqlite3.OperationalError) as error:
                _log.warning("the store cannot be looked after now", error=str(error))
            await asyncio.sleep(self._interval_s)

    async def quota_use(self) -> QuotaUse:
        """For the alert rules."""
        share, sessions = self._vault.shares()
        return QuotaUse(share=share, sessions=sessions)
