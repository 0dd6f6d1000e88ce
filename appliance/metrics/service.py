"""Metrics for Prometheus: instruments that count as things happen, and a snapshot for each scrape."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from appliance.metrics.families import families
from appliance.metrics.instruments import Instruments
from appliance.metrics.records import Records
from appliance.metrics.snapshot import Snapshot, Sources, look

LAG_EVERY_S: Final = 1.0
"""How often the loop's lateness is measured: one more timer costs nothing, and a minute has sixty samples."""

_OPEN_METRICS: Final = "application/openmetrics-text"


class _Now(Collector):
    """Hands the registry the snapshot of the scrape that is being written."""

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None

    def collect(self) -> Iterator[Metric]:
        if self.snapshot is not None:
            yield from families(self.snapshot)


class MetricsService:
    """Let `run()` work; `exposition` answers a scrape."""

    def __init__(self, sources: Sources, steady: Callable[[], float] = time.monotonic) -> None:
        self._sources = sources
        self._steady = steady
        self._instruments = Instruments()
        self._records = Records(sources.database, self._instruments, sources.clock)
        self._now = _Now()
        self._instruments.registry.register(self._now)
        self._busy = asyncio.Lock()
        self._loaded = False
        sources.media.on_call(self._instruments.store_called)
        sources.redis.on_answer(self._instruments.redis.observe)

    async def run(self) -> None:
        """Count from now on, and measure how late the daemon's own loop runs; until cancelled."""
        async with self._busy:
            await self._load()
        while True:
            due = self._steady() + LAG_EVERY_S
            await asyncio.sleep(LAG_EVERY_S)
            self._instruments.loop_lag.observe(max(0.0, self._steady() - due))

    async def _load(self) -> None:
        if not self._loaded:
            await self._records.load()
            self._loaded = True

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """Everything, in the format that `accept` asks for (OpenMetrics or Prometheus's own), and its media type."""
        async with self._busy:  # two scrapes at once must not count the same rows twice
            await self._load()
            await self._records.count()
            self._now.snapshot = await look(self._sources)
            for view in self._now.snapshot.sessions:
                self._instruments.session_disconnections.labels(session=view.id)
            if any(one.partition(";")[0].strip() == _OPEN_METRICS for one in accept.split(",")):
                content: bytes = openmetrics.generate_latest(self._instruments.registry)  # type: ignore[no-untyped-call]
                return content, openmetrics.CONTENT_TYPE_LATEST
            return generate_latest(self._instruments.registry), CONTENT_TYPE_PLAIN_0_0_4
