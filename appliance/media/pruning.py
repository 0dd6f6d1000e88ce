"""One prune on its way: how much is to go, how much has gone, and whether the rest shall stay."""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence

from appliance.media.policy import Holding
from appliance.media.pruner import Plan
from appliance.model_storage import PruneReport


class Pruning:
    """Counts contents and bytes. `told` is called whenever something has changed."""

    def __init__(self, told: Callable[[Pruning], None] = lambda _self: None) -> None:
        self._told = told
        self._reasons: collections.Counter[str] = collections.Counter()
        self._sessions: collections.Counter[str] = collections.Counter()
        self.objects = self.size = 0
        """What has gone, of …"""
        self.objects_planned = self.size_planned = 0
        """… what was chosen."""
        self.stopped = False
        """Nothing more is begun; what has gone is gone whole, with its record, and the rest was not touched."""

    def stop(self) -> None:
        """Leave the rest. Safe at any moment: it is heeded between two batches."""
        self.stopped = True

    def begin(self, plan: Plan) -> None:
        """This was chosen."""
        holdings = [holding for found in plan.values() for holding in found]
        self.objects_planned, self.size_planned = len(holdings), sum(holding.size for holding in holdings)
        self._told(self)

    def gone(self, reason: str, batch: Sequence[Holding]) -> None:
        """So much of it has gone (of a dry run: would go)."""
        self._reasons[reason] += len(batch)
        for holding in batch:
            self._sessions[holding.session] += holding.size
        self.objects += len(batch)
        self.size += sum(holding.size for holding in batch)
        self._told(self)

    def report(self, *, dry_run: bool, used: int) -> PruneReport:
        return PruneReport(
            dry_run=dry_run,
            objects=self.objects,
            size=self.size,
            by_reason=dict(+self._reasons),
            by_session=dict(self._sessions),
            used=used,
            stopped=self.objects < self.objects_planned,
        )
