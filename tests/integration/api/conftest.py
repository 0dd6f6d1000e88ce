"""The API's own tests stand on the same database, bus and Redis as the daemon's."""

from __future__ import annotations

from tests.integration.daemon.conftest import bus, database, redis_server

__all__ = ["bus", "database", "redis_server"]
