"""Takes what workers have spooled into the store: verify, deduplicate, make smaller, store, record, and only then
delete.

A crash between any two steps is repaired by doing the item again: the key depends on the item alone, and the index
knows what it has. The folder is the truth; a worker's `Spooled` event is the hint that makes it quick. (No file watch:
the events come from the same worker, survive both sides' restarts, and cost nothing while sixty databases are written.)

Two lanes work side by side, so that a photo does not wait for somebody's film. Neither tries for ever: an item that
fails again and again while others get through is set aside with the reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
import structlog

from appliance.events import EventBus
from appliance.media.compression.compressor import Compressor
from appliance.media.compression.outcome import Result, Treatment
from appliance.media.holdings import Holdings
from appliance.media.index import MediaIndex, StoredAs
from appliance.media.keys import SNIFF_BYTES, extension, object_key, sniff
from appliance.media.policy import choose
from appliance.media.spool import POISON, BadItemError, SpoolFolder, spool_folders, waiting_bytes, waiting_items
from appliance.media.store import ContentChangedError, StoreError
from appliance.media.vault import NoRoomError, Vault
from appliance.model import Category, MediaView
from appliance.model_api import IntakeState, PoisonView
from appliance.problems import unavailable
from appliance.protocol import CaptureNote, Event, Spooled, SpoolItem

NO_ROOM_S: Final = 600.0
"""What found no room is tried again after this time even if nothing is known to have been removed."""
RESCAN_S: Final = 60.0
"""The truth is looked at this often, should a hint ever be missing; sixty folder listings take a millisecond."""
ITEM_TRIES: Final = 5
"""So often one item may fail for a reason of the store's or the disk's while others get through; then it is its own."""

_log = structlog.get_logger(__name__)


class _Lane:
    """Folders to look at, one after the other."""

    def __init__(self, *, slow: bool) -> None:
        self.slow = slow
        """Takes what is slow to make smaller, and nothing else."""
        self.hints: dict[tuple[str, str], None] = {}
        self.wake = asyncio.Event()
        self.again = False
        self.busy = asyncio.Lock()


class _Failing(msgspec.Struct):
    """An item that could not be stored for a reason that may be its own."""

    count: int
    stored: int
    """How many others had been stored by then."""


class MediaIntake:
    """`run()` works until cancelled. Only one may exist: keys are chosen without asking anybody else. `refuses`: why
    nothing may be stored just now; empty: it may."""

    def __init__(
        self,
        sessions: Path,
        vault: Vault,
        index: MediaIndex,
        holdings: Holdings,
        compressor: Compressor,
        bus: EventBus,
        spool_bytes: int,
        refuses: Callable[[], str] = lambda: "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sessions = sessions
        self._vault = vault
        self._index = index
        self._holdings = holdings
        self._compressor = compressor
        self.spool_bytes = spool_bytes
        """What may wait; can be changed."""
        self._bus = bus
        self._refuses = refuses
        self._clock = clock
        self._lanes = (_Lane(slow=False), _Lane(slow=True))
        self._troubles: dict[tuple[bool, str, str], str] = {}
        """Of each lane (slow or not) and spool folder that cannot be emptied just now: why."""
        self._waiting: dict[tuple[str, str], int] = {}
        self._failing: dict[tuple[str, str, str], _Failing] = {}
        """By session, store and item."""
        self._no_room: dict[tuple[str, str], tuple[float, str]] = {}
        """Content (session, hash) for which there was no room: when, and why. Until something was removed it is not
        made smaller once more only to hear the same."""
        self._rooms_made = 0
        self._state = IntakeState()
        vault.on_room(self._try_again)

    @property
    def state(self) -> IntakeState:
        return self._state

    async def on_event(self, session: str, store: str, event: Event) -> None:
        """Callback for the sessions' room."""
        if isinstance(event.body, Spooled):
            self.hint(session, store)
        elif isinstance(event.body, CaptureNote):
            note = event.body
            await self._bus.publish("media.note", session, note=note.note, message_id=note.message_id, kind=note.kind)

    def hint(self, session: str, store: str) -> None:
        """There is something to take in."""
        for lane in self._lanes:
            lane.hints[(session, store)] = None
            lane.wake.set()

    async def on_remove(self, session: str, purge: bool) -> None:
        """Callback for the sessions' room: nothing that was captured may go with the folder, unless all of it shall."""
        if purge:
            await self._empty_spools(session)
            await self.forget_session(session)
        else:
            await self.drain(session)

    async def run(self) -> None:
        """Look everywhere at once and then every `RESCAN_S`; in between only where a hint says so."""
        async with asyncio.TaskGroup() as lanes:
            for lane in self._lanes:
                lanes.create_task(self._run(lane), name="slow intake" if lane.slow else "intake")

    async def _run(self, lane: _Lane) -> None:
        while True:
            lane.again = False
            lane.hints = dict.fromkeys(await asyncio.to_thread(spool_folders, self._sessions))
            deadline = asyncio.get_running_loop().time() + RESCAN_S
            while True:
                await self._follow_hints(lane)
                lane.wake.clear()
                try:
                    async with asyncio.timeout_at(deadline):
                        await lane.wake.wait()
                except TimeoutError:
                    break
                if lane.again:
                    break

    async def drain(self, session: str) -> None:
        """Store what lies in a session's spools now: call it when its worker has ended and before its folder goes.
        Somebody waits, so nothing slow is made smaller.

        Raises `ProblemError` 503 if that is not possible: then the folder must stay.
        """
        for found, store in await asyncio.to_thread(spool_folders, self._sessions):
            if found != session:
                continue
            for lane in self._lanes:
                await self._take_folder(lane, session, store, hurried=True)
                if trouble := self._troubles.get((lane.slow, session, store)):
                    raise unavailable(f"The media of {session} cannot be stored: {trouble}", "Try again.")

    async def forget_session(self, session: str) -> int:
        """Delete everything that is stored of a session; returns the number of objects. Raises `ProblemError` 503 if
        that is not possible just now."""
        quick, slow = self._lanes
        async with quick.busy, slow.busy:
            try:
                return await self._vault.forget_session(session)
            except StoreError as error:
                raise unavailable(f"The media of {session} cannot be deleted: {error}", "Try again.") from error

    async def _empty_spools(self, session: str) -> None:
        """Nothing of a session that goes with all it has may be taken in later."""
        quick, slow = self._lanes
        async with quick.busy, slow.busy:
            for found, store in await asyncio.to_thread(spool_folders, self._sessions):
                if found == session:
                    with contextlib.suppress(OSError), SpoolFolder(self._sessions / session, store) as spool:
                        for name in await asyncio.to_thread(spool.items):
                            await asyncio.to_thread(spool.remove, name)

    def _try_again(self) -> None:
        """Something was removed: look everywhere whether what waits has room now."""
        self._no_room.clear()
        self._rooms_made += 1
        if self._state.trouble:
            for lane in self._lanes:
                lane.again = True
                lane.wake.set()

    async def _follow_hints(self, lane: _Lane) -> None:
        while lane.hints:
            session, store = next(iter(lane.hints))
            del lane.hints[(session, store)]
            await self._take_folder(lane, session, store)

    async def _take_folder(self, lane: _Lane, session: str, store: str, *, hurried: bool = False) -> None:
        """One folder after the other, one item after the other: the disk is the bottleneck, not we."""
        async with lane.busy:
            trouble = ""
            try:
                with SpoolFolder(self._sessions / session, store) as spool:
                    trouble = await self._take_items(lane, spool, session, store, hurried=hurried)
            except (FileNotFoundError, NotADirectoryError):
                pass  # removed meanwhile, or never there
            except (StoreError, OSError, sqlite3.OperationalError) as error:
                trouble = str(error)
            self._report((lane.slow, session, store), trouble)
            if trouble:
                await self._bound_spools(trouble)

    async def _take_items(self, lane: _Lane, spool: SpoolFolder, session: str, store: str, *, hurried: bool) -> str:
        """Returns why some of it has to wait for room; empty: all is stored. Raises what ends the work on a folder."""
        names = await asyncio.to_thread(spool.items)
        names.sort(key=lambda name: self._failures((session, store, name)))  # those that fail must not hold up others
        self._count(session, store, len(names))
        trouble = ""
        for name in names:
            place = (session, store, name)
            try:
                if not await self._take_item(lane, spool, session, name, hurried=hurried):
                    continue
            except (BadItemError, ContentChangedError) as error:
                await self._set_aside(spool, session, name, str(error))
            except FileNotFoundError:
                pass  # the sidecar went meanwhile: nothing is lost that was there
            except NoRoomError as error:
                trouble = str(error)  # it waits; a smaller one may still have room
                continue
            except (StoreError, OSError) as error:
                if not self._is_its_own_fault(place):
                    raise
                await self._set_aside(spool, session, name, f"it failed {ITEM_TRIES} times, the last time: {error}")
            self._failing.pop(place, None)
            self._count(session, store, self._waiting.get((session, store), 1) - 1)
        return trouble

    def _failures(self, place: tuple[str, str, str]) -> int:
        failing = self._failing.get(place)
        return 0 if failing is None else failing.count

    def _is_its_own_fault(self, place: tuple[str, str, str]) -> bool:
        """Whether an item that has just failed should be given up. Failures count only if others got through since."""
        failing = self._failing.setdefault(place, _Failing(count=0, stored=-1))
        if self._state.stored > failing.stored:
            failing.count, failing.stored = failing.count + 1, self._state.stored
        return failing.count >= ITEM_TRIES

    async def _take_item(self, lane: _Lane, spool: SpoolFolder, session: str, name: str, *, hurried: bool) -> bool:
        """False: it is for the other lane."""
        item = await asyncio.to_thread(spool.read, name, session)
        if self._compressor.takes_long(item.kind) is not lane.slow:
            return False
        if (known := await self._index.find_item(item)) is None:
            if trouble := await asyncio.to_thread(self._refuses):
                raise NoRoomError(trouble)
            await self._store_item(spool, item, hurried=hurried)
        elif not await self._bus.was_told("media.stored", item.session, known) and (
            view := await self._index.get(known)
        ):
            await self._tell_stored(view)  # the daemon before this one was killed in between
        await asyncio.to_thread(spool.remove, name)
        return True

    async def _store_item(self, spool: SpoolFolder, item: SpoolItem, *, hurried: bool) -> None:
        content = (item.session, item.sha256)
        at, reason = self._no_room.get(content, (0.0, ""))
        if reason and 0 <= self._clock() - at < NO_ROOM_S:
            raise NoRoomError(reason)
        with contextlib.ExitStack() as files:
            data: BinaryIO = files.enter_context(await asyncio.to_thread(spool.open_verified, item))
            head = data.read(SNIFF_BYTES)
            data.seek(0)
            stored = StoredAs(size=item.size, sha256=item.sha256, mimetype=sniff(head) or item.mimetype)
            suffix = extension(head, item.mimetype)
            if await self._index.find_object(item.session, item.sha256) is None:
                smaller = await self._smaller(item, data, stored.mimetype, hurried=hurried)
                stored = msgspec.structs.replace(stored, treatment=smaller.treatment.value)
                if smaller.file is not None:
                    data = files.enter_context(smaller.file)
                    stored = msgspec.structs.replace(
                        stored, size=smaller.size, sha256=smaller.sha256, mimetype=smaller.mimetype
                    )
                    suffix = extension(b"", smaller.mimetype)
            key = object_key(Category(item.category), item.session, item.captured_at, item.sha256, suffix)
            rooms_made = self._rooms_made
            try:
                view = await self._vault.add(item, key, data, stored)
            except NoRoomError as error:
                if self._rooms_made == rooms_made:  # otherwise there may be room by now
                    self._no_room[content] = (self._clock(), str(error))
                raise
        self._change(stored=self._state.stored + 1, saved_bytes=self._state.saved_bytes + item.size - view.size)
        _log.info("media stored", session=item.session, category=item.category, kind=view.kind, size=view.size)
        await self._tell_stored(view)

    async def _tell_stored(self, view: MediaView) -> None:
        data = {"id": view.id, "category": view.category, "kind": view.kind, "size": view.size}
        await self._bus.publish("media.stored", view.session, **data, message_id=view.message_id)

    async def _smaller(self, item: SpoolItem, data: BinaryIO, mimetype: str, *, hurried: bool) -> Result:
        slow = self._compressor.takes_long(item.kind)
        if slow and hurried:
            return Result(treatment=Treatment.HURRIED)
        waiting = await asyncio.to_thread(waiting_bytes, self._sessions) if slow else 0
        return await self._compressor.compress(
            data, kind=item.kind, mimetype=mimetype, size=item.size, sha256=item.sha256, waiting_bytes=waiting
        )

    async def _bound_spools(self, trouble: str) -> None:
        """What waits may not fill the disk: beyond the bound the session with the most gives its oldest, visibly."""
        waiting = await asyncio.to_thread(waiting_items, self._sessions)
        used = {session: sum(found.size for found in items) for session, items in waiting.items()}
        for found in choose(used, waiting, self.spool_bytes):
            store, _, name = found.key.partition("/")
            await self._refuse(found.session, store, name, trouble)

    async def _refuse(self, session: str, store: str, name: str, trouble: str) -> None:
        reason = f"the spool is full ({self.spool_bytes} bytes) because: {trouble}"
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

    def _count(self, session: str, store: str, waiting: int) -> None:
        if waiting > 0:
            self._waiting[session, store] = waiting
        else:
            self._waiting.pop((session, store), None)
        self._change(waiting=sum(self._waiting.values()))

    def _report(self, folder: tuple[bool, str, str], trouble: str) -> None:
        """Note how one folder is; what is told is the trouble of any."""
        if trouble:
            self._troubles[folder] = trouble
        else:
            self._troubles.pop(folder, None)
        told = next(iter(self._troubles.values()), "")
        if told != self._state.trouble:
            if told:
                _log.error("media waits in the spool", trouble=told)
            else:
                _log.info("media intake works again")
            self._change(trouble=told)

    def _change(self, **changes: Any) -> None:
        self._state = msgspec.structs.replace(self._state, **changes)
