"""Everything about who may use the API and who did what, as one part: tokens, audit, limits, repeated calls."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Sequence
from typing import Final, Self

import structlog

from appliance.api.audit import AuditResource
from appliance.api.audit_log import AuditLog
from appliance.api.caller import CallerResource
from appliance.api.gatekeeper import Gatekeeper
from appliance.api.repeats import Repeats
from appliance.api.routes import Resource
from appliance.api.settings import ApiSettings
from appliance.api.token_store import NOTE_USE_S, TokenStore
from appliance.api.tokens import TokensResource
from appliance.database import Database

FORGET_EVERY: Final = 60
"""Old rows are deleted once in so many minutes."""
DAY_S: Final = 86_400.0

_log = structlog.get_logger(__name__)


class Access:
    def __init__(self, settings: ApiSettings, tokens: TokenStore, audit: AuditLog, repeats: Repeats) -> None:
        self.settings = settings
        self.tokens = tokens
        self.audit = audit
        self.repeats = repeats
        self.gatekeeper = Gatekeeper(tokens, audit, settings)

    @classmethod
    async def open(cls, database: Database, settings: ApiSettings) -> Self:
        tokens = TokenStore(database)
        await tokens.load()
        return cls(settings, tokens, AuditLog(database, settings.record_s), Repeats(database))

    def resources(self) -> Sequence[Resource]:
        """What the API shows of this."""
        return (CallerResource(), TokensResource(self.tokens), AuditResource(self.audit))

    async def run(self) -> None:
        """Write down uses and refusals, forget what is old; until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.audit.run())
            group.create_task(self._housekeeping())

    async def close(self) -> None:
        """Write down what was collected last."""
        await self.audit.flush()
        await self.tokens.flush()

    async def _housekeeping(self) -> None:
        minutes = 0
        while True:
            try:
                if minutes % FORGET_EVERY == 0:
                    before = time.time() - self.settings.audit_days * DAY_S
                    await self.audit.forget(before)
                    await self.tokens.forget(before)
                    await self.repeats.forget()
                await self.tokens.flush()
            except sqlite3.OperationalError as error:  # a full disk; what is collected is tried again
                _log.error("the record of who uses the API cannot be kept", error=str(error))
            minutes += 1
            await asyncio.sleep(NOTE_USE_S)
