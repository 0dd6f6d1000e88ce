"""The journal: every fact of the network with a number that only grows.

Benches prove "nothing lost, nothing twice" from it, so it is written in the same transaction as the state it tells of.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

import msgspec

from appliance.staging.control_types import JournalEntry, JournalKind, JournalPage, JournalQuery
from appliance.staging.store import Store

Datum = str | int | float | bool
MAX_PAGE: Final = 10_000
"""Entries of one answer: some 2 MB of JSON."""
_COUNTED: Final = (JournalKind.UNKNOWN_REQUEST, JournalKind.SECOND_COPY, JournalKind.BAD_MESSAGE)
_DATA: Final = msgspec.json.Decoder(dict[str, Datum])


class Journal:
    """Appends and reads entries. `load` counts what an earlier life of the network has written."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._grown = asyncio.Event()
        self._counts: dict[JournalKind, int] = {}
        self.last = 0

    def load(self) -> None:
        self.last = self._store.last_seq()
        self._counts = {kind: self._store.count(kind) for kind in _COUNTED}

    def add(
        self, kind: JournalKind, account: str = "", device: int | None = None, message_id: str = "", /, **data: Datum
    ) -> int:
        text = msgspec.json.encode(data).decode()
        self.last = self._store.append(time.time(), kind.value, account, device, message_id, text)
        if kind in _COUNTED:
            self._counts[kind] = self._counts.get(kind, 0) + 1
        self._grown.set()
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
        deadline = asyncio.get_running_loop().time() + query.wait_s
        while True:
            self._grown.clear()
            page = self.page(query)
            left = deadline - asyncio.get_running_loop().time()
            if page.entries or left <= 0:
                return page
            query = msgspec.structs.replace(query, after=page.last)
            try:
                await asyncio.wait_for(self._grown.wait(), left)
            except TimeoutError:
                return self.page(query)
