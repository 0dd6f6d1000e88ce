"""How much is held, for whom and since when: for people, alerts and metrics. It only reads."""

from __future__ import annotations

import collections
import time
from collections.abc import Callable
from typing import Final

from appliance.media.holdings import Holdings
from appliance.media.vault import Vault
from appliance.model_storage import SessionUse, StorageUsage

_TREND_S: Final = 7 * 86_400.0
_DAY_S: Final = 86_400.0


class StorageReport:
    def __init__(self, vault: Vault, holdings: Holdings, clock: Callable[[], float] = time.time) -> None:
        self._vault = vault
        self._holdings = holdings
        self._clock = clock

    async def usage(self) -> StorageUsage:
        """What is held, by session, category and age, and how long the quota will last."""
        now = self._clock()
        vault, settings = self._vault, self._vault.settings
        rows = await self._holdings.usage(now)
        per_day = await self._holdings.stored_since(now - _TREND_S) / (_TREND_S / _DAY_S)
        share, sessions = vault.shares()
        items: collections.Counter[str] = collections.Counter()
        for row in rows:
            items[row.session] += row.items
        left = max(0, settings.quota_bytes - vault.used)
        used = vault.used_by_session()
        return StorageUsage(
            store=vault.store.name,
            used=vault.used,
            in_flight=vault.in_flight,
            foreign=vault.foreign,
            quota=settings.quota_bytes,
            share=share,
            pinned=sum(row.pinned for row in rows),
            original_size=sum(row.original_size for row in rows),
            per_day=per_day,
            days_left=left / per_day if per_day else None,
            prune_mode=settings.prune_mode.value,
            sessions=[
                SessionUse(
                    session=session, items=items[session], size=used.get(session, 0), share=sessions.get(session)
                )
                for session in sorted({*used, *items})
            ],
            rows=rows,
        )
