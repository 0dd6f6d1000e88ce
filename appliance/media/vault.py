"""The store with its index and its quotas: whatever is stored or removed goes through here.

Promise: the bytes in the store never pass the quota, not even for a moment, whatever is killed when. Room is reserved
before an upload begins and given back after a deletion has ended; both are on record before anything happens, so that a
daemon that starts again counts what may lie there, and clears it up.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import functools
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, BinaryIO, Final, ParamSpec, TypeVar

import structlog

from appliance.events import EventBus
from appliance.media.holdings import Holdings, Pending
from appliance.media.index import MediaIndex, StoredAs
from appliance.media.keys import session_of
from appliance.media.policy import Holding
from appliance.media.pruner import Plan, Pruner
from appliance.media.pruning import Pruning
from appliance.media.settings import PruneMode, StorageSettings
from appliance.media.store import ContentChangedError, ObjectStore, StoreError
from appliance.model import MediaView
from appliance.model_storage import PruneReport, PruneRequest
from appliance.protocol import SpoolItem

_BATCH: Final = 500
"""Contents removed at a time: one write to the disk for all of them."""

P = ParamSpec("P")
T = TypeVar("T")
_log = structlog.get_logger(__name__)


def _whole(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Awaitable[T]]:
    """Whoever is cancelled waits until the step is done: half a step would leave the counts wrong."""

    @functools.wraps(method)
    async def uncut(*args: P.args, **kwargs: P.kwargs) -> T:
        step = asyncio.ensure_future(method(*args, **kwargs))
        try:
            return await asyncio.shield(step)
        except asyncio.CancelledError:
            await asyncio.wait([step])
            raise

    return uncut


class NoRoomError(Exception):
    """A quota is reached and nothing may go. One line: which, and what to do."""


class Vault:
    """Call `load()` before anything else. Only one may exist for a store."""

    def __init__(
        self,
        store: ObjectStore,
        index: MediaIndex,
        holdings: Holdings,
        settings: StorageSettings,
        bus: EventBus,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._index = index
        self._holdings = holdings
        self._settings = settings
        self._bus = bus
        self._clock = clock
        self._pruner = Pruner(holdings, clock)
        self._lock = asyncio.Lock()
        """Held while room is judged, reserved or made, and while the index changes; not during an upload."""
        self._upload_ended = asyncio.Condition(self._lock)
        self._contents: weakref.WeakValueDictionary[tuple[str, str], asyncio.Lock] = weakref.WeakValueDictionary()
        self._used: collections.Counter[str] = collections.Counter()
        self._pending: dict[str, Pending] = {}
        self._uploads: set[str] = set()
        """Keys of `_pending` that are being uploaded just now; the others wait to be cleared up."""
        self._changed: list[Callable[[], None]] = []
        self._foreign = 0
        self.puts = 0
        """Uploads that ended well since the daemon started, and …"""
        self.put_seconds = 0.0
        """… how long they took together."""

    def on_room(self, callback: Callable[[], None]) -> None:
        """`callback` is called when what waits for room, or for the store, may try again."""
        self._changed.append(callback)

    async def load(self) -> None:
        """Learn what is held. What a daemon that was killed has left half done counts until `clear_up()`."""
        async with self._lock:
            self._pending = {found.key: found for found in await self._holdings.pending()}
            self._used = collections.Counter(await self._holdings.used())

    @property
    def store(self) -> ObjectStore:
        return self._store

    @property
    def settings(self) -> StorageSettings:
        return self._settings

    def apply_settings(self, settings: StorageSettings) -> None:
        """New quotas, marks, ages and mode; they count from now on. Where media lies does not change by this."""
        self._settings = settings
        self.tell_room()

    @_whole
    async def add(self, item: SpoolItem, key: str, data: BinaryIO, stored: StoredAs) -> MediaView:
        """Store an item as the bytes of `data`; what the session holds already is only referred to. Durable on return.

        Raises `NoRoomError`, `ContentChangedError` and `StoreError`; then nothing was stored.
        """
        content = (item.session, item.sha256)
        async with self._contents.setdefault(content, asyncio.Lock()):
            async with self._lock:
                if found := await self._index.find_object(*content):
                    return await self._index.add(item, found, stored, self._clock())
                await self._reserve(Pending(key=key, session=item.session, size=stored.size, upload=True))
                store = self._store
            try:
                began = time.monotonic()
                await store.put(key, data, size=stored.size, sha256=stored.sha256)
                self.puts += 1
                self.put_seconds += time.monotonic() - began
            except (StoreError, ContentChangedError):
                async with self._lock:
                    self._end_upload(key)
                    await self._try_clear_up()
                raise
            except BaseException:
                async with self._lock:
                    self._end_upload(key)
                raise
            async with self._lock:
                try:
                    view = await self._index.add(item, key, stored, self._clock())
                    del self._pending[key]  # from now on the object itself counts
                finally:
                    self._end_upload(key)
            return view

    @_whole
    async def pin(self, media_id: str, *, pinned: bool) -> MediaView | None:
        """What is pinned is never pruned. None: there is no such item."""
        async with self._lock:
            view = await self._index.pin(media_id, pinned=pinned)
        if not pinned:
            self.tell_room()
        return view

    @_whole
    async def delete_item(self, media_id: str, reason: str = "deleted") -> bool:
        """Remove one item, pinned or not; False: there is none. Its content goes if nothing else refers to it."""
        async with self._lock:
            if await self._index.get(media_id) is None:
                return False
            self._take_over(await self._holdings.release_item(media_id, reason, self._clock()))
            await self._try_clear_up()
        self.tell_room()
        return True

    @_whole
    async def forget_session(self, session: str) -> int:
        """Remove everything of a session, pinned or not; returns the number of contents. Raises StoreError."""
        async with self._lock:
            found = await self._holdings.keys_of(session)
            await self._release(found, "session removed", even_pinned=True)
            await self._clear_up()
            await self._index.forget_session(session)
        self.tell_room()
        return len(found)

    @_whole
    async def forget_lost(self, keys: Sequence[str], reason: str) -> int:
        """Drop contents that the store does not have, or has damaged, with their items, pinned or not, each on record;
        returns how many. Raises StoreError."""
        async with self._lock:
            found = await self._release(keys, reason, even_pinned=True)
            await self._clear_up()
        return found

    @_whole
    async def drop_strays(self, found: Mapping[str, int]) -> int:
        """Delete objects (key → bytes) that nothing refers to and nobody is storing; returns how many. What cannot be
        deleted counts as held. Raises StoreError."""
        async with self._lock:
            known = await self._holdings.known(list(found))
            strays = [
                Pending(key=key, session=session_of(key), size=size)
                for key, size in found.items()
                if key not in known and key not in self._pending
            ]
            for batch in _batches(strays):
                await self._holdings.expect_gone(batch, self._clock())
                for stray in batch:
                    self._pending[stray.key] = stray
                    self._used[stray.session] += stray.size
            await self._clear_up()
        return len(strays)

    def count_foreign(self, size: int) -> None:
        """Bytes in the store that are not the appliance's own and that it must not delete; they count all the same."""
        self._foreign = size

    @_whole
    async def clear_up(self) -> None:
        """Delete what was removed while the store was away, and what is left of broken-off uploads. Raises
        StoreError."""
        async with self._lock:
            await self._clear_up()

    @_whole
    async def prune(self, request: PruneRequest, course: Pruning | None = None) -> PruneReport:
        """Remove what the request asks for, or only tell; `course` is told how far it is, and may stop it. Raises
        StoreError when the store is away: what could not be deleted counts until it is."""
        course = course or Pruning()
        async with self._lock:
            plan = await self._pruner.asked(self._used, self._settings, request, self._foreign)
            course.begin(plan)
            if request.dry_run:
                for reason, found in plan.items():
                    course.gone(reason, found)
            else:
                await self._carry_out(plan, course)
            used = self.used - course.size if request.dry_run else self.used
        report = course.report(dry_run=request.dry_run, used=used)
        if report.objects and not request.dry_run:
            _log.info("media pruned", objects=report.objects, bytes=report.size, reasons=report.by_reason)
            await self._bus.publish("media.pruned", objects=report.objects, size=report.size)
            self.tell_room()
        return report

    @contextlib.asynccontextmanager
    async def still(self) -> AsyncIterator[None]:
        """While the block runs nothing begins, and nothing is under way: no upload, no deletion. Raises StoreError if
        something that was begun cannot be ended now."""
        async with self._lock:
            await self._upload_ended.wait_for(lambda: not self._uploads)
            await self._clear_up()
            yield

    def switch(self, store: ObjectStore) -> None:
        """From now on media lies there; to be called within `still()`."""
        self._store = store

    def tell_room(self) -> None:
        """What waits may try again."""
        for callback in self._changed:
            callback()

    @property
    def used(self) -> int:
        """Bytes that are, or may be, in the store."""
        return self._used.total() + self._foreign

    @property
    def foreign(self) -> int:
        """Of these, bytes of objects that are not the appliance's own."""
        return self._foreign

    @property
    def in_flight(self) -> int:
        """Of these, bytes of what is being uploaded or deleted, or could not be deleted yet."""
        return sum(found.size for found in self._pending.values())

    def is_pending(self, key: str) -> bool:
        """Whether an upload or a deletion of it has begun and not ended."""
        return key in self._pending

    def used_by_session(self) -> dict[str, int]:
        return {session: size for session, size in self._used.items() if size}

    def shares(self) -> tuple[float, dict[str, float]]:
        """Parts of the quotas that are used: of the appliance, and by session where sessions have one."""
        quota = self._settings.session_quota_bytes
        sessions = {} if quota is None else {session: size / quota for session, size in self._used.items()}
        return self.used / self._settings.quota_bytes, sessions

    # ---- with the lock held

    async def _reserve(self, wanted: Pending) -> None:
        if wanted.key in self._pending:  # left by an upload or a deletion that did not come to its end
            await self._clear_up()
        await self._make_room(wanted.session, wanted.size)
        await self._holdings.reserve(wanted, self._clock())
        self._pending[wanted.key] = wanted
        self._uploads.add(wanted.key)
        self._used[wanted.session] += wanted.size

    def _end_upload(self, key: str) -> None:
        self._uploads.discard(key)
        self._upload_ended.notify_all()

    async def _make_room(self, session: str, size: int) -> None:
        """Raises NoRoomError if `size` bytes more would pass a quota and nothing may go; then only what has passed its
        age is removed."""
        settings, own = self._settings, self._settings.session_quota_bytes
        crowded = own is not None and self._used[session] + size > own * settings.high_water
        if settings.prune_mode is PruneMode.AUTO and (
            crowded or self.used + size > settings.quota_bytes * settings.high_water
        ):
            await self._try_clear_up()
            plan = await self._pruner.due(self._used, settings, self._foreign, (session, size))
            expired = {"expired": plan["expired"]}
            await self._carry_out(plan if self._lacks_room(session, size, plan) is None else expired)
            if any(plan.values()):
                self.tell_room()
        if lacks := self._lacks_room(session, size):
            raise NoRoomError(f"{lacks} is reached; {_REMEDY}")

    def _lacks_room(self, session: str, size: int, plan: Plan | None = None) -> str | None:
        """Which quota would be passed by `size` bytes more, once `plan` is carried out; None: there is room."""
        going = [holding for found in (plan or {}).values() for holding in found]
        own = self._settings.session_quota_bytes
        if own is not None and self._used[session] + size - sum(h.size for h in going if h.session == session) > own:
            return f"the quota of session {session} ({own} bytes)"
        if self.used + size - sum(holding.size for holding in going) > self._settings.quota_bytes:
            return f"the storage quota ({self._settings.quota_bytes} bytes)"
        return None

    async def _carry_out(self, plan: Plan, course: Pruning | None = None) -> None:
        for reason, found in plan.items():
            for batch in _batches(found):
                if course is not None and course.stopped:
                    return
                await self._release([holding.key for holding in batch], reason)
                await self._clear_up()
                if course is not None:
                    course.gone(reason, batch)

    async def _release(self, keys: Sequence[str], reason: str, *, even_pinned: bool = False) -> int:
        count = 0
        for batch in _batches(keys):
            released = await self._holdings.release(batch, reason, self._clock(), even_pinned=even_pinned)
            self._take_over(released)
            count += len(released)
        return count

    def _take_over(self, released: Sequence[Holding]) -> None:
        for holding in released:
            self._pending[holding.key] = Pending(key=holding.key, session=holding.session, size=holding.size)

    async def _clear_up(self) -> None:
        """Delete what is pending and not being uploaded. Raises StoreError: it goes on counting."""
        left = [found for key, found in self._pending.items() if key not in self._uploads]
        for batch in _batches(left):
            if unfinished := [found.key for found in batch if found.upload]:
                await self._store.clear_leftovers(unfinished)
            keys = [found.key for found in batch]
            await self._store.delete(keys)
            await self._holdings.settle(keys)
            for found in batch:
                del self._pending[found.key]
                self._used[found.session] -= found.size

    async def _try_clear_up(self) -> None:
        try:
            await self._clear_up()
        except StoreError as error:
            _log.warning("what was removed still lies in the store", error=str(error))


_REMEDY: Final = "raise it, unpin or delete something, or prune: amda storage prune"


def _batches(found: Sequence[T]) -> list[Sequence[T]]:
    return [found[start : start + _BATCH] for start in range(0, len(found), _BATCH)]
