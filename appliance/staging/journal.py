"""The journal: every fact of the network with a number that only grows.

Benches prove "nothing lost, nothing twice" from it, so it is written in the same transaction as the state it tells of.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

import msgspec

from appliance.staging.control_types import JournalEntry, JournalKind, JournalPage, JournalQuery
from appliance.staging.store import Store

Datum = str | int | float | bool
MAX_PAGE: Final = 10_000
"""Entries of one answer: some 2 MB of JSON."""
_COUNTED: Final = (JournalKind.UNKNOWN_REQUEST, JournalKind.SECOND_COPY, JournalKind.BAD_MESSAGE)
_DATA: Final = msgspec.json.Decoder(dict[str, Datum])


@dataclass(eq=False)
class _Waiter:
    """Somebody who waits for the next entry that matches, filed under the rarest thing that he asks for."""

    query: JournalQuery
    found: asyncio.Future[JournalEntry]

    @property
    def key(self) -> str:
        return self.query.message_id or self.query.account


class Journal:
    """Appends and reads entries. `load` counts what an earlier life of the network has written."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiters: dict[str, list[_Waiter]] = {}
        self._counts: dict[JournalKind, int] = {}
        self.last = 0

    def load(self) -> None:
        self.last = self._store.last_seq()
        self._counts = {kind: self._store.count(kind) for kind in _COUNTED}

    def add(
        self, kind: JournalKind, account: str = "", device: int | None = None, message_id: str = "", /, **data: Datum
    ) -> int:
        now, text = time.time(), msgspec.json.encode(data).decode()
        self.last = self._store.append(now, kind.value, account, device, message_id, text)
        if kind in _COUNTED:
            self._counts[kind] = self._counts.get(kind, 0) + 1
        if self._waiters:
            self._wake(
                JournalEntry(
                    seq=self.last, at=now, kind=kind, account=account, device=device, message_id=message_id, data=data
                )
            )
        return self.last

    def count(self, kind: JournalKind) -> int:
        """How often one of the counted kinds occurred: unknown requests, second copies, bad messages."""
        return self._counts.get(kind, 0)

    def page(self, query: JournalQuery) -> JournalPage:
        conditions, values = ["seq > ?"], [query.after]
        parameters: list[object] = [*values]
        if query.kinds:
            conditions.append(f"kind IN ({', '.join('?' * len(query.kinds))})")
            parameters += [kind.value for kind in query.kinds]
        for column, value in (("account", query.account), ("message_id", query.message_id)):
            if value:
                conditions.append(f"{column} = ?")
                parameters.append(value)
        if query.device is not None:
            conditions.append("device = ?")
            parameters.append(query.device)
        for name, datum in query.data.items():
            conditions.append("json_extract(data, ?) = ?")
            parameters += [f'$."{name}"', datum]
        limit = max(1, min(query.limit, MAX_PAGE))
        rows = self._store.entries(" AND ".join(conditions), parameters, limit)
        entries = [
            JournalEntry(
                seq=seq,
                at=at,
                kind=JournalKind(kind),
                account=account,
                device=device,
                message_id=message_id,
                data=_DATA.decode(data),
            )
            for seq, at, kind, account, device, message_id, data in rows
        ]
        return JournalPage(entries=entries, last=self.last)

    async def wait(self, query: JournalQuery) -> JournalPage:
        """The first page that is not empty, or an empty one after `query.wait_s` seconds."""
        page = self.page(query)
        if page.entries or query.wait_s <= 0:
            return page
        waiter = _Waiter(query, asyncio.get_running_loop().create_future())
        waiters = self._waiters.setdefault(waiter.key, [])
        waiters.append(waiter)
        try:
            entry = await asyncio.wait_for(waiter.found, query.wait_s)
        except TimeoutError:
            return JournalPage(entries=[], last=self.last)
        finally:
            waiters.remove(waiter)
            if not waiters:
                self._waiters.pop(waiter.key, None)
        return JournalPage(entries=[entry], last=self.last)

    def _wake(self, entry: JournalEntry) -> None:
        """Hand an entry to those who wait for it: sixty of them must not all ask the store at every entry."""
        for key in {entry.message_id, entry.account, ""}:
            for waiter in self._waiters.get(key, ()):
                if not waiter.found.done() and _matches(entry, waiter.query):
                    waiter.found.set_result(entry)


def _matches(entry: JournalEntry, query: JournalQuery) -> bool:
    return (
        entry.seq > query.after
        and (not query.kinds or entry.kind in query.kinds)
        and (not query.account or entry.account == query.account)
        and (not query.message_id or entry.message_id == query.message_id)
        and (query.device is None or entry.device == query.device)
        and all(entry.data.get(name) == value for name, value in query.data.items())
    )
