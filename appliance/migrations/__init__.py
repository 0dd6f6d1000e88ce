"""The daemon's database schema, as numbered steps. A step that was released is never changed; a new one is added."""

from __future__ import annotations

from typing import Final

from appliance.migrations import (
    m0001_first,
    m0002_history,
    m0003_sessions,
    m0004_pairing,
    m0005_storage,
    m0006_api,
    m0007_webhooks,
)

MIGRATIONS: Final[tuple[str, ...]] = (
    m0001_first.SQL,
    m0002_history.SQL,
    m0003_sessions.SQL,
    m0004_pairing.SQL,
    m0005_storage.SQL,
    m0006_api.SQL,
    m0007_webhooks.SQL,
)
"""Step n (counted from 1) brings `user_version` from n - 1 to n."""
