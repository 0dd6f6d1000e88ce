"""Fetches attachments: few at a time, statuses first, again after failures, never for ever.

The queue is a table, so that a restart goes on where it was. A download has no time limit of its own in the engine; one
that hangs is given up after a while, though its thread may stay behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from appliance.protocol import CaptureNote, CaptureSettings, EventBody, Spooled, SpoolItem
from appliance.worker.engine.calls import EngineBusyError, EngineTimeoutError
from appliance.worker.engine.events import MediaRef
from appliance.worker.engine.library import EngineError
from appliance.worker.held import Held
from appliance.worker.rules import HELD, Fetch, Note
from appliance.worker.spool import Spool, is_full
from appliance.worker.store import CaptureStore, PendingDownload, is_disk_full

MAX_ATTEMPTS: Final = 12
"""With the pauses below about three and a half hours of trying while connected: longer than any outage of WhatsApp's
media hosts that became known, shorter than the 24 h of a status."""
FIRST_PAUSE_S: Final = 5.0
LONGEST_PAUSE_S: Final = 3600.0
FULL_PAUSE_S: Final = 60.0
"""Pause when the disk is full; such an attempt is not counted."""
BASE_TIME_S: Final = 60.0
"""Time limit of an empty download: the engine itself tries each of two hosts for 15 s when they answer 503."""
SLOWEST_BYTES_PER_S: Final = 64 * 1024
"""A slower connection is taken for a hanging one; the size comes on top of BASE_TIME_S at this rate."""
HELD_ATTEMPTS: Final = 3
"""For media whose message may never be deleted."""
_HTTP_STATUS: Final = re.compile(r"status code (\d{3})")
_GONE: Final = frozenset({404, 410})


class Downloader(Protocol):
    """What is needed of the engine."""

    async def download(self, media: MediaRef, part: Path, timeout_s: float) -> int:
        """Fetch into the new file `part`."""


def time_limit(size: int) -> float:
    """Seconds that a download of this many bytes may take."""
    return BASE_TIME_S + size / SLOWEST_BYTES_PER_S


def pause_after(attempts: int) -> float:
    """Seconds to wait after the attempt with this number (from 1)."""
    return min(FIRST_PAUSE_S * 2.0 ** (attempts - 1), LONGEST_PAUSE_S)


class Downloads:
    """Works through the table of downloads while the engine is connected."""

    def __init__(
        self,
        *,
        store: CaptureStore,
        spool: Spool,
        held: Held,
        copy: Callable[[SpoolItem, Path], None],
        downloader: Downloader,
        settings: Callable[[], CaptureSettings],
        emit: Callable[[EventBody], None],
        write_log: Callable[[str, str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._spool = spool
        self._held = held
        self._copy = copy
        self._downloader = downloader
        self._settings = settings
        self._emit = emit
        self._write_log = write_log
        self._clock = clock
        self._wake = asyncio.Event()
        self._connected = asyncio.Event()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._told_full = False
        self._part_number = 0

    def wake(self) -> None:
        """The table has changed, or the settings have."""
        self._wake.set()

    def connected(self, *, now: bool) -> None:
        """Attempts are made only while the engine is connected, so that an outage does not use them up."""
        if now:
            self._connected.set()
        else:
            self._connected.clear()

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            while True:
                await self._connected.wait()
                self._wake.clear()
                self._start_due()
                await self._wait()
        finally:
            for task in self._running.values():
                task.cancel()

    def _start_due(self) -> None:
        free = self._settings().parallel_downloads - len(self._running)
        if free <= 0:
            return
        now = self._clock()
        self._store.hasten_downloads(now, FULL_PAUSE_S, FIRST_PAUSE_S, LONGEST_PAUSE_S)
        for pending in self._store.due_downloads(now, free + len(self._running)):
            item = pending.fetch.item.item
            if item in self._running or len(self._running) >= self._settings().parallel_downloads:
                continue
            task = asyncio.create_task(self._attempt(pending), name=f"download {item}")
            self._running[item] = task
            task.add_done_callback(lambda _, item=item: self._finished(item))  # type: ignore[misc]

    def _finished(self, item: str) -> None:
        task = self._running.pop(item)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._write_log("ERROR", f"a download ended badly: {type(error).__name__}: {error}")
        self._wake.set()

    async def _wait(self) -> None:
        """Until something changes or the next attempt is due."""
        next_at = self._store.next_download_at()
        busy = len(self._running) >= self._settings().parallel_downloads
        timeout = None if next_at is None or busy else max(next_at - self._clock(), 0.0)
        if timeout == 0.0 and self._running:
            timeout = None  # what is due is under way already
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), timeout)

    async def _attempt(self, pending: PendingDownload) -> None:
        fetch = pending.fetch
        self._part_number += 1
        part = self._spool.part(fetch.item.item, self._part_number)
        try:
            if not await asyncio.to_thread(self._held.take, fetch.media.sha256, part):
                if self._spool.free_bytes() < self._settings().min_free_bytes + fetch.media.size:
                    self._disk_full(pending)
                    return
                await self._downloader.download(fetch.media, part, time_limit(fetch.media.size))
                if part.stat().st_size > self._settings().max_media_bytes:  # it is larger than it was said to be
                    part.unlink()
                    self._too_large(fetch)
                    return
            if fetch.item.category == HELD:
                await self._hold(fetch, part)
                return
            item = await asyncio.to_thread(self._spool.put_file, fetch.item, part)
        except EngineTimeoutError as error:
            self._failed(pending, str(error))  # its thread may still write to the part; the next start removes it
        except (EngineError, EngineBusyError) as error:
            part.unlink(missing_ok=True)
            self._failed(pending, str(error))
        except OSError as error:
            part.unlink(missing_ok=True)
            if not is_full(error):
                self._failed(pending, f"{errno.errorcode.get(error.errno or 0, 'error')} while writing")
            else:
                self._disk_full(pending)
        else:
            self._told_full = False
            if self._settings().copy_to_self:
                await asyncio.to_thread(self._copy, item, self._spool.folder / f"{item.item}.data")
            self._settle(fetch, Spooled(item=item.item))

    async def _hold(self, fetch: Fetch, part: Path) -> None:
        await asyncio.to_thread(self._held.put, part, fetch.media.sha256)
        with self._store.transaction():
            self._store.forget_download(fetch.item.item)
        await asyncio.to_thread(self._held.prune, self._settings(), self._store.remembered_bytes())

    def _failed(self, pending: PendingDownload, reason: str) -> None:
        fetch, attempts = pending.fetch, pending.attempts + 1
        status = _HTTP_STATUS.search(reason)
        self._write_log("WARN", f"download of {fetch.item.kind} failed ({attempts}/{MAX_ATTEMPTS}): {reason}")
        if fetch.item.category == HELD:
            if attempts >= HELD_ATTEMPTS or (status and int(status[1]) in _GONE):
                self._store.forget_download(fetch.item.item)
            else:
                self._store.postpone_download(fetch.item.item, attempts, self._clock() + pause_after(attempts))
        elif status and int(status[1]) in _GONE:
            self._settle(fetch, CaptureNote(note=Note.GONE, message_id=fetch.item.message_id, kind=fetch.item.kind))
        elif attempts >= MAX_ATTEMPTS:
            self._settle(fetch, CaptureNote(note=Note.GAVE_UP, message_id=fetch.item.message_id, kind=fetch.item.kind))
        else:
            self._store.postpone_download(fetch.item.item, attempts, self._clock() + pause_after(attempts))

    def _too_large(self, fetch: Fetch) -> None:
        if fetch.item.category == HELD:
            self._store.forget_download(fetch.item.item)
        else:
            note = CaptureNote(note=Note.TOO_LARGE, message_id=fetch.item.message_id, kind=fetch.item.kind)
            self._settle(fetch, note)

    def _disk_full(self, pending: PendingDownload) -> None:
        fetch = pending.fetch
        try:
            self._store.postpone_download(fetch.item.item, pending.attempts, self._clock() + FULL_PAUSE_S)
            if not self._told_full:
                self._emit(CaptureNote(note=Note.DISK_FULL, message_id=fetch.item.message_id, kind=fetch.item.kind))
                self._told_full = True
        except sqlite3.Error as error:
            if not is_disk_full(error):
                raise
        if not self._told_full:
            self._write_log("ERROR", "the disk is full: downloads wait")

    def _settle(self, fetch: Fetch, body: EventBody) -> None:
        with self._store.transaction():
            self._store.forget_download(fetch.item.item)
            self._emit(body)
