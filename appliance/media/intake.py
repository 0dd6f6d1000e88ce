"""Takes what workers have spooled into the store: verify, deduplicate, store, record, and only then delete.

A crash between any two steps is repaired by doing the item again: the key depends on the item alone, and the index
knows what it has. The folder is the truth; a worker's `Spooled` event is the hint that makes it quick. (No file watch:
the events come from the same worker, survive both sides' restarts, and cost nothing while sixty databases are written.)
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from appliance.events import EventBus
from appliance.media.holdings import Holdings
from appliance.media.index import MediaIndex
from appliance.media.keys import SNIFF_BYTES, extension, object_key, sniff
from appliance.media.policy import choose
from appliance.media.spool import POISON, BadItemError, SpoolFolder, spool_folders, waiting_items
from appliance.media.store import ContentChangedError, StoreError
from appliance.media.vault import NoRoomError, Vault
from appliance.model import Category
from appliance.model_api import IntakeState, PoisonView
from appliance.problems import unavailable
from appliance.protocol import Event, Spooled, SpoolItem

RESCAN_S: Final = 60.0
"""The truth is looked at this often, should a hint ever be missing; sixty folder listings take a millisecond."""

_log = structlog.get_logger(__name__)


class MediaIntake:
    """`run()` works until cancelled. Only one may exist: keys are chosen without asking anybody else."""

    def __init__(
        self,
        sessions: Path,
        vault: Vault,
        index: MediaIndex,
        holdings: Holdings,
        bus: EventBus,
        spool_bytes: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sessions = sessions
        self._vault = vault
        self._index = index
        self._holdings = holdings
        self._spool_bytes = spool_bytes
        self._bus = bus
        self._clock = clock
        self._hints: dict[tuple[str, str], None] = {}
        self._wake = asyncio.Event()
        self._again = False
        self._troubles: dict[tuple[str, str], str] = {}
        """Of each spool folder that cannot be emptied just now: why."""
        self._busy = asyncio.Lock()
        self._state = IntakeState()
        vault.on_room(self._try_again)

    @property
    def state(self) -> IntakeState:
        return self._state

    async def on_event(self, session: str, store: str, event: Event) -> None:
        """Callback for the sessions' room."""
        if isinstance(event.body, Spooled):
            self._hints[(session, store)] = None
            self._wake.set()

    async def on_remove(self, session: str, purge: bool) -> None:
        """Callback for the sessions' room: nothing that was captured may go with the folder, unless all of it shall."""
        if purge:
            await self.forget_session(session)
        else:
            await self.drain(session)

    async def run(self) -> None:
        """Look everywhere at once and then every `RESCAN_S`; in between only where a hint says so."""
        while True:
            self._again = False
            self._hints = dict.fromkeys(await asyncio.to_thread(spool_folders, self._sessions))
            deadline = asyncio.get_running_loop().time() + RESCAN_S
            while True:
                await self._follow_hints()
                self._wake.clear()
                try:
                    async with asyncio.timeout_at(deadline):
                        await self._wake.wait()
                except TimeoutError:
                    break
                if self._again:
                    break

    async def drain(self, session: str) -> None:
        """Store what lies in a session's spools now: call it when its worker has ended and before its folder goes.

        Raises `ProblemError` 503 if that is not possible: then the folder must stay.
        """
        for found, store in await asyncio.to_thread(spool_folders, self._sessions):
            if found == session:
                await self._take_folder(session, store)
                if trouble := self._troubles.get((session, store)):
                    raise unavailable(f"The media of {session} cannot be stored: {trouble}", "Try again.")

    async def forget_session(self, session: str) -> int:
        """Delete everything that is stored of a session; returns the number of objects. Raises `ProblemError` 503 if
        that is not possible just now."""
        async with self._busy:
            try:
                return await self._vault.forget_session(session)
            except StoreError as error:
                raise unavailable(f"The media of {session} cannot be deleted: {error}", "Try again.") from error

    def _try_again(self) -> None:
        """Something was removed: look everywhere whether what waits has room now."""
        if self._state.trouble:
            self._again = True
            self._wake.set()

    async def _follow_hints(self) -> None:
        while self._hints:
            session, store = next(iter(self._hints))
            del self._hints[(session, store)]
            await self._take_folder(session, store)

    async def _take_folder(self, session: str, store: str) -> None:
        """One folder after the other, one item after the other: the disk is the bottleneck, not we."""
        async with self._busy:
            trouble = ""
            try:
                with SpoolFolder(self._sessions / session, store) as spool:
                    trouble = await self._take_items(spool, session)
            except (FileNotFoundError, NotADirectoryError):
                pass  # removed meanwhile, or never there
            except (StoreError, OSError, sqlite3.OperationalError) as error:
                trouble = str(error)
            self._report(session, store, trouble)
            if trouble:
                await self._bound_spools(trouble)

    async def _take_items(self, spool: SpoolFolder, session: str) -> str:
        """Returns why some of it has to wait for room; empty: all is stored."""
        items = await asyncio.to_thread(spool.items)
        self._change(waiting=len(items))
        trouble = ""
        for number, name in enumerate(items, start=1):
            try:
                await self._take_item(spool, session, name)
            except (BadItemError, ContentChangedError) as error:
                await self._set_aside(spool, session, name, str(error))
            except FileNotFoundError:
                pass  # the sidecar went meanwhile: nothing is lost that was there
            except NoRoomError as error:
                trouble = str(error)  # it waits; a smaller one may still have room
            self._change(waiting=len(items) - number)
        return trouble

    async def _take_item(self, spool: SpoolFolder, session: str, name: str) -> None:
        item = await asyncio.to_thread(spool.read, name, session)
        if await self._index.find_item(item) is None:
            await self._store_item(spool, item)
        await asyncio.to_thread(spool.remove, name)

    async def _store_item(self, spool: SpoolFolder, item: SpoolItem) -> None:
        with await asyncio.to_thread(spool.open_verified, item) as data:
            head = data.read(SNIFF_BYTES)
            data.seek(0)
            suffix = extension(head, item.mimetype)
            key = object_key(Category(item.category), item.session, item.captured_at, item.sha256, suffix)
            view = await self._vault.add(item, key, sniff(head) or item.mimetype, data)
        self._change(stored=self._state.stored + 1)
        _log.info("media stored", session=item.session, category=item.category, kind=view.kind, size=view.size)
        await self._bus.publish(
            "media.stored",
            item.session,
            id=view.id,
            category=view.category,
            kind=view.kind,
            size=view.size,
            message_id=view.message_id,
        )

    async def _bound_spools(self, trouble: str) -> None:
        """What waits may not fill the disk: beyond the bound the session with the most gives its oldest, visibly."""
        waiting = await asyncio.to_thread(waiting_items, self._sessions)
        used = {session: sum(found.size for found in items) for session, items in waiting.items()}
        for found in choose(used, waiting, self._spool_bytes):
            store, _, name = found.key.partition("/")
            await self._refuse(found.session, store, name, trouble)

    async def _refuse(self, session: str, store: str, name: str, trouble: str) -> None:
        reason = f"the spool is full ({self._spool_bytes} bytes) because: {trouble}"
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # removed meanwhile
            with SpoolFolder(self._sessions / session, store) as spool:
                try:
                    item = await asyncio.to_thread(spool.read, name, session)
                except BadItemError:
                    return  # it is set aside as soon as its turn comes
                await self._holdings.refuse(item, reason, self._clock())
                await asyncio.to_thread(spool.remove, name)
            self._change(refused=self._state.refused + 1)
            _log.error("media refused", session=session, category=item.category, kind=item.kind, reason=reason)
            await self._bus.publish("media.refused", session, kind=item.kind, message_id=item.message_id, reason=reason)

    async def _set_aside(self, spool: SpoolFolder, session: str, name: str, reason: str) -> None:
        await asyncio.to_thread(spool.set_aside, name, reason)
        folder = str(spool.path / POISON)
        await self._index.add_poison(
            PoisonView(session=session, item=name, reason=reason, folder=folder, at=self._clock())
        )
        self._change(poisoned=self._state.poisoned + 1)
        _log.warning("media set aside", session=session, item=name, reason=reason)
        await self._bus.publish("media.set_aside", session, item=name, reason=reason)

    def _report(self, session: str, store: str, trouble: str) -> None:
        """Note how one folder is; what is told is the trouble of any."""
        if trouble:
            self._troubles[session, store] = trouble
        else:
            self._troubles.pop((session, store), None)
        told = next(iter(self._troubles.values()), "")
        if told != self._state.trouble:
            if told:
                _log.error("media waits in the spool", trouble=told)
            else:
                _log.info("media intake works again")
            self._change(trouble=told)

    def _change(self, **changes: Any) -> None:
        self._state = msgspec.structs.replace(self._state, **changes)
