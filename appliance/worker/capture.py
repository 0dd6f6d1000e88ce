"""Judges recorded messages one after the other, and makes what was decided durable.

Killed at any point it starts again with the same entry of the inbox: files have names that depend on their content
only, and everything in the database is one transaction with the removal of the entry.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from appliance.model import Category
from appliance.protocol import CaptureNote, CaptureSettings, EventBody, Spooled, SpoolItem
from appliance.worker.engine.decode import DecodeFailedError, decode_message, decode_undecryptable
from appliance.worker.engine.events import RawKind
from appliance.worker.held import Held
from appliance.worker.rules import NOTHING, Decision, Note, content_key, judge, judge_undecryptable
from appliance.worker.spool import Spool, is_full
from appliance.worker.store import CaptureStore, InboxEntry, is_disk_full

RETRY_S: Final = 5.0
"""Pause when the disk is full: somebody has to make room, and nothing is lost meanwhile."""
PRUNE_EVERY: Final = 500
"""Messages between two looks at the limits of what is remembered; a look sums up one indexed table."""
PRUNE_INTERVAL_S: Final = 3600.0
"""Without any message, what is too old still goes."""
PRIORITIES: Final = {Category.STATUS.value: 0, Category.VIEW_ONCE.value: 1, Category.DELETED.value: 2}
"""A status vanishes after 24 h; the others' files stay with WhatsApp for weeks."""


class Capture:
    """The one consumer of the inbox."""

    def __init__(
        self,
        *,
        session: str,
        store: CaptureStore,
        spool: Spool,
        held: Held,
        copy: Callable[[SpoolItem, Path], None],
        settings: Callable[[], CaptureSettings],
        emit: Callable[[EventBody], None],
        on_downloads: Callable[[], None],
        write_log: Callable[[str, str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`emit` stores an event in the outbox (inside the transaction at hand); `on_downloads` hears that there are
        new ones; `settings` gives those that are valid now."""
        self._session = session
        self._store = store
        self._spool = spool
        self._held = held
        self._copy = copy
        self._settings = settings
        self._emit = emit
        self._on_downloads = on_downloads
        self._write_log = write_log
        self._clock = clock
        self._wake = asyncio.Event()
        self._since_prune = 0
        self._told_full = False

    def wake(self) -> None:
        """Something has been recorded."""
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled."""
        await self._prune()
        while True:
            self._wake.clear()
            try:
                while (entry := self._store.next_recorded()) is not None:
                    await self._handle(entry)
                    await asyncio.sleep(0)  # a long inbox must not starve the control socket
            except (OSError, sqlite3.Error) as error:
                await self._wait_for_space(error)
                continue
            try:
                await asyncio.wait_for(self._wake.wait(), PRUNE_INTERVAL_S)
            except TimeoutError:
                await self._prune()

    async def _handle(self, entry: InboxEntry) -> None:
        decision, key, message_id = self._judge(entry)
        for text in decision.texts:
            await asyncio.to_thread(self._spool.put_text, text.item, text.text)
            if self._settings().copy_to_self:
                await asyncio.to_thread(self._copy, text.item, self._spool.folder / f"{text.item.item}.data")
        with self._store.transaction():
            if key is None or self._store.is_new(key, message_id):
                self._apply(entry, decision)
            self._store.forget_recorded(entry.id)
        self._told_full = False
        if decision.fetch:
            self._on_downloads()
        self._since_prune += 1
        if self._since_prune >= PRUNE_EVERY:
            self._since_prune = 0
            await self._prune()

    async def _prune(self) -> None:
        self._store.prune(self._settings())
        await asyncio.to_thread(self._held.prune, self._settings(), self._store.remembered_bytes())

    def _judge(self, entry: InboxEntry) -> tuple[Decision, bytes | None, str]:
        """Decision, key for de-duplication, message id. What cannot be decoded is dropped, and said."""
        try:
            if entry.kind is RawKind.UNDECRYPTABLE:
                placeholder = decode_undecryptable(entry.raw, entry.hint)
                return judge_undecryptable(placeholder), b"placeholder:" + placeholder.id.encode(), placeholder.id
            message = decode_message(entry.raw)
        except DecodeFailedError as error:
            self._write_log("ERROR", f"a recorded event cannot be read: {error}")
            return NOTHING, None, ""
        key = content_key(message)
        if self._store.has_seen(key):
            return NOTHING, key, message.id
        settings = self._settings()
        return judge(message, self._store.recall, settings, self._session, self._clock()), key, message.id

    def _apply(self, entry: InboxEntry, decision: Decision) -> None:
        if decision.remember:
            self._store.remember(decode_message(entry.raw))
        for fetch in decision.fetch:
            self._store.add_download(fetch, PRIORITIES.get(fetch.item.category, len(PRIORITIES)))
        for text in decision.texts:
            self._emit(Spooled(item=text.item.item))
        for note in decision.notes:
            self._emit(note)

    async def _wait_for_space(self, error: OSError | sqlite3.Error) -> None:
        full = is_full(error) if isinstance(error, OSError) else is_disk_full(error)
        if not full:
            raise error
        if not self._told_full:
            self._told_full = True
            self._write_log("ERROR", "the disk is full: messages wait in the inbox")
            try:
                self._emit(CaptureNote(note=Note.DISK_FULL, message_id=""))
            except sqlite3.Error:
                self._told_full = False  # not even that could be written down; said with the next attempt
        await asyncio.sleep(RETRY_S)
