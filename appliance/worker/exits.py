"""With which status a worker process ends; defined where the daemon can read it too."""

from __future__ import annotations

from appliance.protocol import WorkerExit

__all__ = ["WorkerExit"]
