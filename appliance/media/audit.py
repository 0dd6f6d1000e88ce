"""Compares the index with the store itself, both ways: what is missing, what nobody refers to, what nobody lists.

Both are read in the order of their keys, a page at a time, so that a hundred thousand objects cost a page of memory.
Media comes and goes meanwhile: whatever looks wrong is looked at again before it is told.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec

from appliance.media.holdings import Content, Holdings
from appliance.media.keys import KEY_PATTERN
from appliance.media.store import PAGE_KEYS, Leftovers, ObjectStore, StoredObject
from appliance.media.vault import Vault
from appliance.model_storage import CheckReport

NAMED: Final = 100
"""Keys of each kind that a report names; it counts all."""

_CLOCK_S: Final = 5.0
"""What was stored so shortly before a listing, by a clock that may be set meanwhile, is asked for by itself."""

Progress = Callable[[int], None]
"""Is told how many objects were looked at."""


class Findings(msgspec.Struct, kw_only=True):
    objects: int = 0
    size: int = 0
    """Bytes of everything that the store lists."""
    missing: list[str] = msgspec.field(default_factory=list)
    """In the index, not in the store."""
    damaged: list[str] = msgspec.field(default_factory=list)
    """In both, and not with the same bytes."""
    strays: dict[str, int] = msgspec.field(default_factory=dict)
    """In the store, under a key of ours, and nothing refers to it: key → bytes."""
    foreign_objects: int = 0
    foreign_size: int = 0
    """In the store and not the appliance's own."""


class Auditor:
    def __init__(self, vault: Vault, holdings: Holdings, clock: Callable[[], float] = time.time) -> None:
        self._vault = vault
        self._holdings = holdings
        self._clock = clock

    async def measure(self) -> Findings:
        """Look at everything, change nothing. Raises StoreError."""
        store, found, began = self._vault.store, Findings(), self._clock()
        wrong = [content async for content in self._compare(store, found)]
        known = await self._holdings.known([*found.strays, *(content.key for content in wrong)])
        found.strays = {
            key: size for key, size in found.strays.items() if key not in known and not self._vault.is_pending(key)
        }
        for content in wrong:
            if content.key not in known:
                continue
            if not content.listed and content.stored_at < began - _CLOCK_S:
                found.missing.append(content.key)  # it was there before the listing began, or never
                continue
            there = await store.stat(content.key)
            if there is None:
                found.missing.append(content.key)
            elif there.size != known[content.key]:
                found.damaged.append(content.key)
        return found

    async def check(self, *, repair: bool, hashes: bool, progress: Progress) -> CheckReport:
        """Look at everything, with `hashes` at every byte, and with `repair` put it right: what nobody refers to is
        deleted, what is lost or damaged leaves the index with a record of it. Raises StoreError."""
        found = await self.measure()
        if hashes:
            found.damaged += await self._wrong_hashes(frozenset((*found.missing, *found.damaged)), progress)
        else:
            progress(found.objects)
        leftovers = await self._vault.store.clear_leftovers() if repair else Leftovers()
        if repair:
            await self._vault.forget_lost(found.missing, "lost in the store")
            await self._vault.forget_lost(found.damaged, "damaged in the store")
            await self._vault.drop_strays(found.strays)
        return CheckReport(
            repaired=repair,
            hashes=hashes,
            objects=found.objects,
            size=found.size,
            missing=len(found.missing),
            damaged=len(found.damaged),
            strays=len(found.strays),
            stray_size=sum(found.strays.values()),
            foreign=found.foreign_objects,
            foreign_size=found.foreign_size,
            leftovers=leftovers.count,
            leftover_size=leftovers.size,
            named=[*found.missing[:NAMED], *found.damaged[:NAMED], *list(found.strays)[:NAMED]],
        )

    async def missing_in(self, store: ObjectStore) -> list[Content]:
        """Contents that another store does not have, or not with the same size. Nothing may change meanwhile."""
        return [content async for content in self._compare(store, Findings())]

    async def _compare(self, store: ObjectStore, found: Findings) -> AsyncIterator[Content]:
        """Count into `found`; yield contents that the store does not have, or not with the same size."""
        contents = self._contents()
        content = await anext(contents, None)
        async for item in store.list_objects():
            found.objects += 1
            found.size += item.size
            while content is not None and content.key < item.key:
                yield content
                content = await anext(contents, None)
            if content is not None and content.key == item.key:
                if content.size != item.size:
                    yield msgspec.structs.replace(content, listed=True)
                content = await anext(contents, None)
            else:
                _count_unknown(found, item)
        while content is not None:
            yield content
            content = await anext(contents, None)

    async def _contents(self) -> AsyncIterator[Content]:
        last = ""
        while page := await self._holdings.contents_after(last, PAGE_KEYS):
            for content in page:
                yield content
            last = page[-1].key

    async def _wrong_hashes(self, known: frozenset[str], progress: Progress) -> list[str]:
        wrong, count = [], 0
        async for content in self._contents():
            if content.key not in known and not await self._is_whole(content):
                wrong.append(content.key)
            count += 1
            progress(count)
        return wrong

    async def _is_whole(self, content: Content) -> bool:
        """Also if it was removed meanwhile."""
        digest = hashlib.sha256()
        try:
            async for piece in self._vault.store.get(content.key):
                digest.update(piece)
        except KeyError:
            return not await self._holdings.known([content.key])
        return digest.hexdigest() == content.sha256 or not await self._holdings.known([content.key])


def _count_unknown(found: Findings, item: StoredObject) -> None:
    if KEY_PATTERN.fullmatch(item.key):
        found.strays[item.key] = item.size
    else:
        found.foreign_objects += 1
        found.foreign_size += item.size
