"""One place that builds the Redis client, and says in one line why Redis cannot be used."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

import redis.asyncio
import redis.exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from appliance.model_system import MemoryKind, PartUse, RedisUse

ANSWER_S: Final = 2.0
"""A local Redis answers in microseconds; one that needs longer is as good as away, and the user is waiting."""
CONNECTIONS: Final = 8
"""Sixty requests at the same moment share them: the server admits 64 clients, and works on one at a time anyway."""
QUEUE_S: Final = 10.0
"""How long a request may wait until others have let go of a connection: on a busy machine two hundred that come
together take longer than a single answer may, and none of them is lost for it."""
_PATH_LIMIT: Final = 100
"""The kernel allows 108 bytes for the path of a unix socket."""


class _TimedRedis(redis.asyncio.Redis):
    """Tells how long commands take."""

    observe: Callable[[float], None] | None = None

    async def execute_command(self, *arguments: Any, **options: Any) -> Any:
        began = time.monotonic()
        try:
            return await super().execute_command(*arguments, **options)  # type: ignore[no-untyped-call]
        finally:
            if self.observe is not None:
                self.observe(time.monotonic() - began)


class RedisClient:
    """The client and what must live as long as it. Building it does not connect."""

    def __init__(self, url: str, *, user: str | None = None, password_file: Path | None = None) -> None:
        """Raises OSError if the password cannot be read."""
        self._folder_fd = -1
        self._asking: asyncio.Task[str] | None = None
        parts = urlsplit(url)
        if parts.scheme == "unix" and len(os.fsencode(parts.path)) > _PATH_LIMIT:
            path = Path(parts.path)
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._folder_fd = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            url = f"unix:///proc/self/fd/{self._folder_fd}/{path.name}"
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=QUEUE_S,
            socket_timeout=ANSWER_S,
            socket_connect_timeout=ANSWER_S,
            decode_responses=True,
            username=user,
            password=None if password_file is None else password_file.read_text("utf-8").strip(),
            retry=Retry(NoBackoff(), 1),  # a connection that a restarted server has closed; whoever waits decides more
        )
        self.client = cast("_TimedRedis", _TimedRedis.from_pool(pool))

    def on_answer(self, observe: Callable[[float], None]) -> None:
        """It is told how many seconds each command took, whatever came of it."""
        self.client.observe = observe

    async def trouble(self) -> str:
        """Why Redis cannot be used right now; empty if it can. Those who ask at the same time share one answer."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(), name="redis ping")
        return await asyncio.shield(self._asking)

    async def _ask(self) -> str:
        try:
            await self.client.ping()
        except REDIS_ERRORS as error:
            return explain(error)
        return ""

    async def use(self) -> tuple[RedisUse, PartUse]:
        """How it is and what it uses, as far as it tells; it may run as another user, or on another machine."""
        started = time.monotonic()
        try:
            await self.client.ping()
            answer_s = time.monotonic() - started
            facts = await self.client.info()
        except REDIS_ERRORS as error:
            return RedisUse(trouble=explain(error)), PartUse(name="redis", processes=0)
        use = RedisUse(
            version=str(facts.get("valkey_version") or facts.get("redis_version", "")),
            answer_s=answer_s,
            memory_bytes=int(facts.get("used_memory", 0)),
            clients=int(facts.get("connected_clients", 0)),
            durable=bool(facts.get("aof_enabled")) and facts.get("aof_last_write_status") == "ok",
        )
        part = PartUse(
            name="redis",
            processes=1,
            pid=facts.get("process_id"),
            memory_bytes=facts.get("used_memory_rss"),
            memory_kind=MemoryKind.RSS,
            cpu_s=float(facts.get("used_cpu_user", 0)) + float(facts.get("used_cpu_sys", 0)),
            started_at=time.time() - float(facts.get("uptime_in_seconds", 0)),
        )
        return use, part

    async def close(self) -> None:
        await self.client.aclose()
        if self._folder_fd >= 0:
            os.close(self._folder_fd)
            self._folder_fd = -1


REDIS_ERRORS: Final = (redis.exceptions.RedisError, OSError)
"""What the client raises when the server is away, starting, full or broken."""


_TIMEOUTS: Final = (TimeoutError, redis.exceptions.TimeoutError)


def explain(error: Exception) -> str:
    """One plain sentence without addresses or credentials.

    >>> explain(redis.exceptions.BusyLoadingError("LOADING …"))
    'Redis is still loading its data'
    """
    match error:
        case redis.exceptions.BusyLoadingError():
            return "Redis is still loading its data"
        case redis.exceptions.AuthenticationError() | redis.exceptions.NoPermissionError():
            return "Redis refuses our credentials"
        case redis.exceptions.ConnectionError() if isinstance(error.__cause__, redis.exceptions.AuthenticationError):
            return "Redis refuses our credentials"  # while the connection was made
        case redis.exceptions.TimeoutError() | TimeoutError():
            return "Redis does not answer"
        case redis.exceptions.ConnectionError() if isinstance(error.__cause__, _TIMEOUTS):
            return "Redis does not answer"  # it hung while the client said hello, or all connections wait for it
        case redis.exceptions.ConnectionError() | OSError():
            return "Redis is not running"
        case _:
            return f"Redis reports {type(error).__name__}"
