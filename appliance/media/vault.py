"""The store with its index and its quotas: whatever is stored or removed goes through here.

Promise: the bytes in the store never pass the quota, not even for a moment, whatever is killed when. Room is reserved
before an upload begins and given back after a deletion has ended; both are on record before anything happens, so that a
daemon that starts again counts what may lie there, and clears it up.
"""

from __future__ import annotations

import asyncio
import collections
import functools
import time
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, BinaryIO, Final, ParamSpec, TypeVar

import structlog

from appliance.events import EventBus
from appliance.media.holdings import Filter, Holdings, Pending
from appliance.media.index import MediaIndex, StoredAs
from appliance.media.policy import Holding, above_share, choose, choose_oldest
from appliance.media.settings import PruneMode, StorageSettings
from appliance.media.store import ContentChangedError, ObjectStore, StoreError
from appliance.model import MediaView
from appliance.model_storage import PruneReport, PruneRequest, SessionUse, StorageUsage
from appliance.protocol import SpoolItem

_BATCH: Final = 500
"""Contents removed at a time: one write to the disk for all of them."""
_TREND_S: Final = 7 * 86_400.0
_DAY_S: Final = 86_400.0

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
        self._lock = asyncio.Lock()
        """Held while room is judged, reserved or made, and while the index changes; not during an upload."""
        self._contents: weakref.WeakValueDictionary[tuple[str, str], asyncio.Lock] = weakref.WeakValueDictionary()
        self._used: collections.Counter[str] = collections.Counter()
        self._pending: dict[str, Pending] = {}
        self._uploads: set[str] = set()
        """Keys of `_pending` that are being uploaded just now; the others wait to be cleared up."""
        self._changed: list[Callable[[], None]] = []

    def on_room(self, callback: Callable[[], None]) -> None:
        """`callback` is called when something was removed: what waits for room may try again."""
        self._changed.append(callback)

    async def load(self) -> None:
        """Learn what is held, and clear up what a daemon that was killed has left half done."""
        async with self._lock:
            self._pending = {found.key: found for found in await self._holdings.pending()}
            self._used = collections.Counter(await self._holdings.used())
            await self._clear_up()

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
                await self._reserve(Pending(key=key, session=item.session, size=stored.size))
            try:
                await self._store.put(key, data, size=stored.size, sha256=stored.sha256)
            except (StoreError, ContentChangedError):
                self._uploads.discard(key)
                async with self._lock:
                    await self._try_clear_up()
                raise
            except BaseException:
                self._uploads.discard(key)
                raise
            async with self._lock:
                try:
                    view = await self._index.add(item, key, stored, self._clock())
                    del self._pending[key]  # from now on the object itself counts
                finally:
                    self._uploads.discard(key)
            return view

    @_whole
    async def pin(self, media_id: str, *, pinned: bool) -> MediaView | None:
        """What is pinned is never pruned. None: there is no such item."""
        async with self._lock:
            view = await self._index.pin(media_id, pinned=pinned)
        if not pinned:
            self._tell_room()
        return view

    @_whole
    async def delete_item(self, media_id: str, reason: str = "deleted") -> bool:
        """Remove one item, pinned or not; False: there is none. Its content goes if nothing else refers to it."""
        async with self._lock:
            if await self._index.get(media_id) is None:
                return False
            self._take_over(await self._holdings.release_item(media_id, reason, self._clock()))
            await self._try_clear_up()
        self._tell_room()
        return True

    @_whole
    async def forget_session(self, session: str) -> int:
        """Remove everything of a session, pinned or not; returns the number of contents. Raises StoreError."""
        async with self._lock:
            found = await self._holdings.keys_of(session)
            for batch in _batches(found):
                now = self._clock()
                self._take_over(await self._holdings.release(batch, "session removed", now, even_pinned=True))
            await self._clear_up()
            await self._index.forget_session(session)
        self._tell_room()
        return len(found)

    async def tend(self) -> PruneReport:
        """The hourly work: clear up what is left, then, unless pruning is manual, what age and quota ask for."""
        await self._holdings.trim_removals()
        await self.clear_up()
        manual = self._settings.prune_mode is PruneMode.MANUAL
        return await self.prune(PruneRequest(dry_run=manual))

    @_whole
    async def clear_up(self) -> None:
        """Delete what was removed while the store was away. Raises StoreError."""
        async with self._lock:
            await self._clear_up()

    @_whole
    async def prune(self, request: PruneRequest) -> PruneReport:
        """Remove what the request asks for, or only tell. Raises StoreError when the store is away: what could not be
        deleted counts until it is."""
        async with self._lock:
            plan = await self._plan(request)
            before = self.used
            if not request.dry_run:
                for reason, found in plan.items():
                    await self._remove(found, reason)
        size = sum(holding.size for found in plan.values() for holding in found)
        by_session: collections.Counter[str] = collections.Counter()
        for holding in (holding for found in plan.values() for holding in found):
            by_session[holding.session] += holding.size
        report = PruneReport(
            dry_run=request.dry_run,
            objects=sum(len(found) for found in plan.values()),
            size=size,
            by_reason={reason: len(found) for reason, found in plan.items() if found},
            by_session=dict(by_session),
            used=before - size if request.dry_run else self.used,
        )
        if report.objects and not request.dry_run:
            _log.info("media pruned", objects=report.objects, bytes=report.size, reasons=report.by_reason)
            await self._bus.publish("media.pruned", objects=report.objects, size=report.size)
            self._tell_room()
        return report

    @property
    def used(self) -> int:
        """Bytes that are, or may be, in the store."""
        return self._used.total()

    def shares(self) -> tuple[float, dict[str, float]]:
        """Parts of the quotas that are used: of the appliance, and by session where sessions have one."""
        quota = self._settings.session_quota_bytes
        sessions = {} if quota is None else {session: size / quota for session, size in self._used.items()}
        return self.used / self._settings.quota_bytes, sessions

    async def usage(self) -> StorageUsage:
        """What is held, by session, category and age, and how long the quota will last."""
        now = self._clock()
        rows = await self._holdings.usage(now)
        per_day = await self._holdings.stored_since(now - _TREND_S) / (_TREND_S / _DAY_S)
        share, sessions = self.shares()
        items: collections.Counter[str] = collections.Counter()
        for row in rows:
            items[row.session] += row.items
        left = max(0, self._settings.quota_bytes - self.used)
        return StorageUsage(
            used=self.used,
            in_flight=sum(found.size for found in self._pending.values()),
            quota=self._settings.quota_bytes,
            share=share,
            pinned=sum(row.pinned for row in rows),
            original_size=sum(row.original_size for row in rows),
            per_day=per_day,
            days_left=left / per_day if per_day else None,
            prune_mode=self._settings.prune_mode.value,
            sessions=[
                SessionUse(session=session, items=items[session], size=size, share=sessions.get(session))
                for session, size in sorted(self._used.items())
                if size or items[session]
            ],
            rows=rows,
        )

    # ---- with the lock held

    async def _reserve(self, wanted: Pending) -> None:
        if wanted.key in self._pending:  # left by an upload or a deletion that did not come to its end
            await self._clear_up()
        await self._make_room(wanted.session, wanted.size)
        await self._holdings.reserve(wanted, self._clock())
        self._take_over_one(wanted)
        self._uploads.add(wanted.key)
        self._used[wanted.session] += wanted.size

    async def _make_room(self, session: str, size: int) -> None:
        """Raises NoRoomError if `size` bytes more would pass a quota and nothing may go."""
        settings = self._settings
        own = settings.session_quota_bytes
        auto = settings.prune_mode is PruneMode.AUTO
        crowded = own is not None and self._used[session] + size > own * settings.high_water
        if auto and (crowded or self.used + size > settings.quota_bytes * settings.high_water):
            await self._try_clear_up()
            for reason, found in (await self._due(session, size)).items():
                await self._remove(found, reason)
        if own is not None and self._used[session] + size > own:
            raise NoRoomError(f"the quota of session {session} ({own} bytes) is reached; {_REMEDY}")
        if self.used + size > settings.quota_bytes:
            raise NoRoomError(f"the storage quota ({settings.quota_bytes} bytes) is reached; {_REMEDY}")

    async def _due(self, session: str | None = None, coming: int = 0) -> dict[str, list[Holding]]:
        """What age and quota ask for, by reason; `coming` bytes of `session` are counted as held."""
        settings = self._settings
        used = collections.Counter(self._used)
        if session is not None:
            used[session] += coming
        due = {"expired": await self._holdings.expired(settings.keep_s, self._clock())}
        gone = _subtract(used, due["expired"])
        if (own := settings.session_quota_bytes) is not None:
            due["session quota"] = []
            for name in [name for name, size in used.items() if size > own * settings.high_water]:
                left = _without(await self._holdings.candidates(Filter(session=name)), gone)
                due["session quota"] += choose_oldest(used[name], left, int(own * settings.low_water))
            gone |= _subtract(used, due["session quota"])
        if used.total() > settings.quota_bytes * settings.high_water:
            due["quota"] = await self._fair(used, gone, int(settings.quota_bytes * settings.low_water))
        return due

    async def _fair(self, used: collections.Counter[str], gone: set[str], target: int) -> list[Holding]:
        candidates = {
            name: _without(await self._holdings.candidates(Filter(session=name)), gone)
            for name in above_share(used, target)
        }
        return choose(used, candidates, target)

    async def _plan(self, request: PruneRequest) -> dict[str, list[Holding]]:
        picky = request.session is not None or request.category is not None or request.older_than_s is not None
        if picky:
            older = None if request.older_than_s is None else self._clock() - request.older_than_s
            wanted = Filter(session=request.session, category=request.category, older_than=older)
            found = await self._holdings.candidates(wanted)
            return {"asked": found if request.to_size is None else choose_oldest(self.used, found, request.to_size)}
        if request.to_size is not None:
            return {"asked": await self._fair(collections.Counter(self._used), set(), request.to_size)}
        return await self._due()

    async def _remove(self, found: Sequence[Holding], reason: str) -> None:
        for batch in _batches([holding.key for holding in found]):
            self._take_over(await self._holdings.release(batch, reason, self._clock()))
            await self._clear_up()

    def _take_over(self, released: Sequence[Holding]) -> None:
        for holding in released:
            self._take_over_one(Pending(key=holding.key, session=holding.session, size=holding.size))

    def _take_over_one(self, pending: Pending) -> None:
        self._pending[pending.key] = pending

    async def _clear_up(self) -> None:
        """Delete what is pending and not being uploaded. Raises StoreError: it goes on counting."""
        left = [found for key, found in self._pending.items() if key not in self._uploads]
        for start in range(0, len(left), _BATCH):
            batch = left[start : start + _BATCH]
            for found in batch:
                await self._store.delete(found.key)
            await self._holdings.settle([found.key for found in batch])
            for found in batch:
                del self._pending[found.key]
                self._used[found.session] -= found.size

    async def _try_clear_up(self) -> None:
        try:
            await self._clear_up()
        except StoreError as error:
            _log.warning("what was removed still lies in the store", error=str(error))

    def _tell_room(self) -> None:
        for callback in self._changed:
            callback()


_REMEDY: Final = "raise it, unpin or delete something, or prune: amda storage prune"


def _batches(keys: Sequence[str]) -> list[Sequence[str]]:
    return [keys[start : start + _BATCH] for start in range(0, len(keys), _BATCH)]


def _subtract(used: collections.Counter[str], found: Sequence[Holding]) -> set[str]:
    for holding in found:
        used[holding.session] -= holding.size
    return {holding.key for holding in found}


def _without(found: Sequence[Holding], gone: set[str]) -> list[Holding]:
    return [holding for holding in found if holding.key not in gone]
