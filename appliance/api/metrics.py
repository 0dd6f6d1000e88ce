"""/metrics: for Prometheus, and for whoever else reads its format."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from appliance.api.routes import Call, Route, get
from appliance.metrics.service import MetricsService

OPEN_METRICS = "application/openmetrics-text"


class MetricsResource:
    def __init__(self, metrics: MetricsService) -> None:
        self._metrics = metrics

    def routes(self) -> Sequence[Route]:
        return (get("/metrics", self.scrape, produces="text/plain", also_produces=(OPEN_METRICS,)),)

    async def scrape(self, call: Call) -> web.Response:
        """Figures of the whole appliance in the format of Prometheus, or as OpenMetrics if `Accept` asks for it.

        Sessions are named by their ids; there are no phone numbers in it.
        """
        content, media_type = await self._metrics.exposition(call.request.headers.get("Accept", ""))
        return web.Response(body=content, headers={"Content-Type": media_type, "Cache-Control": "no-store"})
