"""What waits and what was set aside: shown, tried again or thrown away by hand."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from appliance.media.index import MediaIndex
from appliance.media.spool import SpoolFolder, waiting_items
from appliance.model_api import PoisonView
from appliance.model_storage import WaitingRow
from appliance.problems import not_found

_log = structlog.get_logger(__name__)


class SetAside:
    """`hint(session, store)` is told that there is something to take in again."""

    def __init__(
        self,
        sessions: Path,
        index: MediaIndex,
        hint: Callable[[str, str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sessions = sessions
        self._index = index
        self._hint = hint
        self._clock = clock

    async def waiting(self) -> list[WaitingRow]:
        """What lies in the spools, by session; those with the most bytes first."""
        found = await asyncio.to_thread(waiting_items, self._sessions)
        rows = [
            WaitingRow(
                session=session,
                items=len(items),
                size=sum(item.size for item in items),
                oldest_s=max(0.0, self._clock() - items[0].newest_at),
            )
            for session, items in found.items()
            if items
        ]
        return sorted(rows, key=lambda row: -row.size)

    async def retry(self, session: str, item: str) -> None:
        """Take an item in as if it had just been captured; if it is still wrong, it is set aside again. Raises 404."""
        found = await self._find(session, item)
        store = _store_of(found)
        try:
            with SpoolFolder(self._sessions / session, store) as spool:
                await asyncio.to_thread(spool.bring_back, item)
        except OSError as error:
            raise _gone(session, item) from error
        await self._index.forget_poison(session, item)
        _log.info("an item that was set aside is tried again", session=session, item=item)
        self._hint(session, store)

    async def discard(self, session: str, item: str) -> None:
        """Throw an item away. Raises 404."""
        found = await self._find(session, item)
        with contextlib.suppress(OSError), SpoolFolder(self._sessions / session, _store_of(found)) as spool:
            await asyncio.to_thread(spool.discard, item)
        await self._index.forget_poison(session, item)
        _log.info("an item that was set aside is thrown away", session=session, item=item)

    async def _find(self, session: str, item: str) -> PoisonView:
        found = await self._index.find_poison(session, item)
        if found is None:
            raise not_found("item that was set aside", item, "List them: amda media waiting")
        return found


def _store_of(found: PoisonView) -> str:
    """`folder` is <store>/spool/poison below the session's."""
    return Path(found.folder).parent.parent.name


def _gone(session: str, item: str) -> Exception:
    return not_found("item that was set aside", item, f"Its files are gone; amda media discard {session} {item}")
