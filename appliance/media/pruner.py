"""What has to go: by age, by quota, or because somebody asks. It only chooses; the vault removes."""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping, Sequence

from appliance.media.holdings import Filter, Holdings
from appliance.media.policy import Holding, above_share, choose, choose_oldest
from appliance.media.settings import StorageSettings
from appliance.model_storage import PruneRequest

Plan = dict[str, list[Holding]]
"""Reason → what goes because of it; no content twice."""


class Pruner:
    """Every method takes the bytes that each session holds now, what is on its way included."""

    def __init__(self, holdings: Holdings, clock: Callable[[], float]) -> None:
        self._holdings = holdings
        self._clock = clock

    async def due(
        self,
        used: Mapping[str, int],
        settings: StorageSettings,
        foreign: int = 0,
        coming: tuple[str, int] | None = None,
    ) -> Plan:
        """What age and quota ask for. `foreign`: bytes in the store that belong to no session; `coming`: a session and
        the bytes that it is about to store."""
        left = collections.Counter(used)
        if coming is not None:
            left[coming[0]] += coming[1]
        plan = {"expired": await self._holdings.expired(settings.keep_s, self._clock())}
        gone = _subtract(left, plan["expired"])
        if (own := settings.session_quota_bytes) is not None:
            plan["session quota"] = []
            for name in [name for name, size in left.items() if size > own * settings.high_water]:
                found = _without(await self._holdings.candidates(Filter(session=name)), gone)
                plan["session quota"] += choose_oldest(left[name], found, int(own * settings.low_water))
            gone |= _subtract(left, plan["session quota"])
        if left.total() + foreign > settings.quota_bytes * settings.high_water:
            target = max(0, int(settings.quota_bytes * settings.low_water) - foreign)
            plan["quota"] = await self._fair(left, gone, target)
        return plan

    async def asked(
        self, used: Mapping[str, int], settings: StorageSettings, request: PruneRequest, foreign: int = 0
    ) -> Plan:
        """What a request names; what age and quota ask for if it names nothing."""
        picky = request.session is not None or request.category is not None or request.older_than_s is not None
        if picky:
            older = None if request.older_than_s is None else self._clock() - request.older_than_s
            wanted = Filter(session=request.session, category=request.category, older_than=older)
            found = await self._holdings.candidates(wanted)
            held = sum(used.values()) + foreign
            return {"asked": found if request.to_size is None else choose_oldest(held, found, request.to_size)}
        if request.to_size is not None:
            return {"asked": await self._fair(used, set(), max(0, request.to_size - foreign))}
        return await self.due(used, settings, foreign)

    async def _fair(self, used: Mapping[str, int], gone: set[str], target: int) -> list[Holding]:
        candidates = {
            name: _without(await self._holdings.candidates(Filter(session=name)), gone)
            for name in above_share(used, target)
        }
        return choose(used, candidates, target)


def _subtract(used: collections.Counter[str], found: Sequence[Holding]) -> set[str]:
    for holding in found:
        used[holding.session] -= holding.size
    return {holding.key for holding in found}


def _without(found: Sequence[Holding], gone: set[str]) -> list[Holding]:
    return [holding for holding in found if holding.key not in gone]
