"""`Idempotency-Key`: a creating call that is made again under the same key creates nothing twice (draft-ietf-httpapi-
idempotency-key-header). Remembered is the name of what was created; the answer is made anew from it."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from appliance.api.routes import Answer, Route
from appliance.database import Database
from appliance.problems import ProblemError, conflict, invalid, problem

KEEP_S: Final = 86_400.0
"""A client that has not got through for a day does not know any more what it wanted."""
_KEY: Final = re.compile(r"[!-~]{1,200}")
_RETRY_S: Final = 1.0
REPLAYED: Final = {"Idempotent-Replayed": "true"}


class Repeats:
    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._running: set[bytes] = set()

    async def once(
        self, route: Route, who: str, key: str, what: tuple[str, object], work: Callable[[], Awaitable[Any]]
    ) -> Any:
        """What `work` answers, or the answer to the first call under this key. `what`: path and body of the call.

        Raises ProblemError: 400 no key, 409 the first call is still under way, 422 the key was used for something else.
        """
        if not _KEY.fullmatch(key):
            raise invalid(
                "Idempotency-Key", "Idempotency-Key: 1 to 200 visible ASCII characters.", "Use a random UUID."
            )
        creates = route.creates
        assert creates is not None  # noqa: S101 - the caller asks only then
        digest = hashlib.sha256("\0".join((who, route.name, key)).encode()).digest()
        fingerprint = hashlib.sha256(msgspec.json.encode(what)).digest()
        if digest in self._running:
            error = conflict("The first call under this Idempotency-Key is still under way.", "Ask again in a moment.")
            error.retry_after_s = _RETRY_S
            raise error
        self._running.add(digest)
        try:
            if (name := await self._known(digest, fingerprint)) is not None:
                return Answer(await creates.recall(name), route.status, REPLAYED)
            result = await work()
            await self._database.execute(
                "INSERT OR REPLACE INTO repeats (key, fingerprint, name, at) VALUES (?, ?, ?, ?)",
                (digest, fingerprint, creates.name(result), self._clock()),
            )
            return result
        finally:
            self._running.discard(digest)

    async def _known(self, digest: bytes, fingerprint: bytes) -> str | None:
        row = await self._database.fetch_one(
            "SELECT fingerprint, name FROM repeats WHERE key = ? AND at >= ?", (digest, self._clock() - KEEP_S)
        )
        if row is None:
            return None
        if row["fingerprint"] != fingerprint:
            raise _other_use()
        return str(row["name"])

    async def forget(self) -> None:
        """Delete what is too old."""
        await self._database.execute("DELETE FROM repeats WHERE at < ?", (self._clock() - KEEP_S,))


def _other_use() -> ProblemError:
    return problem(
        "idempotency-key",
        "Key used for something else",
        422,
        "This Idempotency-Key was used for another call.",
        remedy="Use a new key for a new call.",
        field="Idempotency-Key",
    )
