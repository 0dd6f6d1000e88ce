"""Reads of the API at a steady rate, by TCP with tokens and by the unix socket; each is timed from when it was due.

The rate does not wait for answers: a daemon that falls behind is asked all the same, as by clients that know nothing of
each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import Iterator
from typing import Final

import aiohttp

from appliance.bench.api_plan import POLL_SHARE, POLLED, READS, UNIX_SHARE, LoadPlan, origin
from appliance.bench.api_subscribers import WRONG_KEPT

CONNECTIONS: Final = 16
"""Of each origin; a pool of a back end."""
UNIX_CONNECTIONS: Final = 64
UNANSWERED: Final = 2000
"""What is due beyond this many open requests counts as failed: the daemon has fallen behind by seconds."""
ANSWER_S: Final = 20.0


class Client:
    """One origin, with the tags of the answers that it polls."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.http = http
        self.tags: dict[str, str] = {}


class Readers:
    """Asynchronous context manager; `run` makes the requests."""

    def __init__(self, plan: LoadPlan) -> None:
        self._plan = plan
        self._chance = random.Random(plan.seed)  # noqa: S311 - repeatable on purpose
        self._stack = contextlib.AsyncExitStack()
        self._tcp: list[Client] = []
        self._unix: Client | None = None
        self.latencies: dict[str, list[float]] = {}
        """By path without query, in seconds."""
        self.failed = 0
        self.not_modified = 0
        self.elapsed_s = 0.0
        self.wrong: list[str] = []

    async def __aenter__(self) -> Readers:
        timeout = aiohttp.ClientTimeout(total=ANSWER_S)
        for number, token in enumerate(self._plan.tokens):
            connector = aiohttp.TCPConnector(limit=CONNECTIONS, local_addr=(origin(number), 0))
            http = aiohttp.ClientSession(
                f"http://127.0.0.1:{self._plan.port}",
                connector=connector,
                headers={"Authorization": f"Bearer {token}"},
                timeout=timeout,
            )
            self._tcp.append(Client(await self._stack.enter_async_context(http)))
        unix = aiohttp.UnixConnector(self._plan.socket, limit=UNIX_CONNECTIONS)
        self._unix = Client(
            await self._stack.enter_async_context(aiohttp.ClientSession("http://amda", connector=unix, timeout=timeout))
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def answered(self) -> int:
        return sum(map(len, self.latencies.values()))

    async def run(self) -> None:
        """All requests of the plan; ends when the last is answered."""
        plan, loop = self._plan, asyncio.get_running_loop()
        started = loop.time()
        open_requests: set[asyncio.Task[None]] = set()
        for number, (client, path, polled) in enumerate(self._asked()):
            due = started + number / plan.requests_per_s
            if due > started + plan.seconds:
                break
            if (wait := due - loop.time()) > 0:
                await asyncio.sleep(wait)
            if len(open_requests) >= UNANSWERED:
                self._fail(path, "the daemon has fallen behind")
                continue
            task = asyncio.create_task(self._ask(client, path, due, polled=polled))
            open_requests.add(task)
            task.add_done_callback(open_requests.discard)
        if open_requests:
            await asyncio.wait(open_requests)
        self.elapsed_s = loop.time() - started

    async def last_event(self) -> int:
        """The number of the newest event, by the daemon."""
        assert self._unix is not None  # noqa: S101 - entered
        async with self._unix.http.get("/v1/status") as response:
            return int((await response.json())["last_event"])

    def _asked(self) -> Iterator[tuple[Client, str, bool]]:
        assert self._unix is not None  # noqa: S101 - entered
        paths, weights = zip(*READS, strict=True)
        turns = itertools.cycle(self._tcp)
        while True:
            client = self._unix if self._chance.random() < UNIX_SHARE else next(turns)
            if self._chance.random() < POLL_SHARE:
                yield client, self._chance.choice(POLLED), True
            else:
                yield client, self._chance.choices(paths, weights)[0], False

    async def _ask(self, client: Client, path: str, due: float, *, polled: bool) -> None:
        headers = {"If-None-Match": client.tags[path]} if polled and path in client.tags else {}
        try:
            async with client.http.get(path, headers=headers) as response:
                await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._fail(path, str(error) or type(error).__name__)
            return
        if response.status not in (200, 304):
            self._fail(path, f"status {response.status}")
            return
        self.latencies.setdefault(path.partition("?")[0], []).append(time.monotonic() - due)
        self.not_modified += response.status == 304
        if polled:
            client.tags[path] = response.headers["ETag"]

    def _fail(self, path: str, why: str) -> None:
        self.failed += 1
        if len(self.wrong) < WRONG_KEPT:
            self.wrong.append(f"{path}: {why}")
