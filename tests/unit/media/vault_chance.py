"""Uploads, pins, deletions, prunes and kills at random: the quota's promise is watched by the store at every step."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Final

from appliance.media.vault import NoRoomError
from appliance.model_storage import PruneRequest
from tests.unit.media.vault_rig import Killed, VaultRig

MIB: Final = 1 << 20
DAY_S: Final = 86_400.0
QUOTA: Final = 50 * MIB
SESSION_QUOTA: Final = 30 * MIB


class Chance:
    """What happens at random: uploads (two at a time, too), pins, deletions, prunes."""

    def __init__(self, rig: VaultRig, seed: int) -> None:
        self.rig = rig
        self.rng = random.Random(seed)
        self.pinned: dict[str, str] = {}
        self.steps = (self.upload,) * 12 + (self.both,) * 3 + (self.pin, self.delete, self.delete, self.prune)

    async def upload(self) -> None:
        session = self.rng.choice(("one", "two", "two", "two", "three"))
        size = self.rng.choice((2_000,) * 6 + (40_000,) * 10 + (400_000,) * 3 + (3_000_000,)) + self.rng.randrange(1000)
        with contextlib.suppress(NoRoomError):
            await self.rig.add(session, size, content=self.rng.choice((None, None, self.rng.randrange(50))))

    async def both(self) -> None:
        await asyncio.gather(self.upload(), self.upload())

    async def _some_item(self) -> str | None:
        found = await self.rig.index.search(limit=200)
        return self.rng.choice(found).id if found else None

    async def pin(self) -> None:
        if (media := await self._some_item()) is None:
            return
        view = await self.rig.vault.pin(media, pinned=media not in self.pinned and len(self.pinned) < 20)
        if view is not None and view.pinned:
            self.pinned[view.id] = view.key
        else:
            self.pinned.pop(media, None)

    async def delete(self) -> None:
        if (media := await self._some_item()) is not None and media not in self.pinned:
            await self.rig.vault.delete_item(media)

    async def prune(self) -> None:
        self.rig.now += self.rng.choice((0, 3600, 8 * DAY_S))
        await self.rig.vault.prune(
            PruneRequest(
                to_size=self.rng.choice((None, self.rig.store.quota * 9 // 10, self.rig.store.quota * 6 // 10))
            )
        )

    async def check(self) -> None:
        await self.rig.store.measure()
        keys = {found.key async for found in self.rig.store.list_objects()}
        assert set(self.pinned.values()) <= keys, "what is pinned never goes"
        counted = sum((await self.rig.holdings.used()).values())
        assert self.rig.vault.used == counted >= sum([found.size async for found in self.rig.store.list_objects()])
        rows = await self.rig.database.fetch_all(
            "SELECT key FROM objects WHERE refs <> (SELECT count(*) FROM media WHERE media.key = objects.key)"
            " OR pins <> (SELECT coalesce(sum(pinned), 0) FROM media WHERE media.key = objects.key) OR refs = 0"
        )
        assert rows == [], "references and pins are counted right"


async def take_chances(rig: VaultRig, *, steps: int, seed: int) -> None:
    """One step in fifty is killed, and a new daemon goes on from what it finds."""
    chance, kills = Chance(rig, seed), 0
    for number in range(steps):
        if chance.rng.random() < 0.02:
            rig.store.kill_in = chance.rng.randrange(4)
        try:
            await chance.rng.choice(chance.steps)()
        except Killed:
            kills += 1
            await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)
            await rig.restart()
        if number % 500 == 0:
            await chance.check()
    await chance.check()
    assert kills >= steps // 200
    assert rig.store.most > 0.9 * rig.store.quota, "the quota was put to the test"
    assert all([await rig.index.get(media) is not None for media in chance.pinned])
