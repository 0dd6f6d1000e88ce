"""The log of a session's process as somebody watches it, over restarts of the process and new links."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

import watchfiles

from appliance.database import Database
from appliance.log_tail import LOG_NAME, TAIL_BYTES, Tail
from appliance.problems import conflict, not_found
from appliance.sessions.registry import store_folder

WATCH_MS: Final = 1000
"""How often it is looked whether the session still has the same store, if nothing is written."""

StoreOf = Callable[[str], Awaitable[Path]]


def store_finder(database: Database) -> StoreOf:
    """Finds the folder of a session's present store. It raises ProblemError 404 for an unknown session, 409 if it was
    never linked."""

    async def find(session: str) -> Path:
        row = await database.fetch_one("SELECT store_url FROM sessions WHERE id = ?", (session,))
        if row is None:
            raise not_found("session", session, "List them: amda session list")
        if row["store_url"] is None:
            raise conflict(f"Session {session} was never linked.", f"Link it: amda pair {session} --phone +…")
        return store_folder(row["store_url"])

    return find


async def follow(session: str, store_of: StoreOf, lines: int) -> AsyncIterator[list[str]]:
    """The last lines, then new ones as they are written, over restarts and new links; ends when the session is
    removed. An empty list comes when nothing was written for a second."""
    store = await store_of(session)
    while True:
        if not store.is_dir():
            raise conflict(f"The store of session {session} is gone.", f"Link it: amda pair {session} --phone +…")
        with Tail(store, lines) as tail:
            yield tail.read()
            async for _ in watchfiles.awatch(
                store,
                watch_filter=lambda _change, path: path.endswith(LOG_NAME),
                recursive=False,
                debounce=200,
                step=50,
                rust_timeout=WATCH_MS,
                yield_on_timeout=True,
            ):
                yield tail.read()
                current = await store_of(session)
                if current != store:
                    store, lines = current, TAIL_BYTES
                    break
