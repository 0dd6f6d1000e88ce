"""Bearer tokens: 256 random bits each, shown once, kept as a hash. Those that work are held in memory, so that one that
is revoked is refused from the next request on."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import re
import secrets
import sqlite3
import time
from collections.abc import Callable
from typing import Final

from appliance.database import Database
from appliance.model_access import NewToken, TokenRequest, TokenView
from appliance.model_api import Scope
from appliance.problems import conflict, invalid, not_found

TOKEN: Final = re.compile(r"amda_([a-z0-9]{12})_([A-Za-z0-9_-]{43})")
"""The prefix lets scanners of leaked secrets recognise one; the first part is its id, the second the secret."""
SECRET_BYTES: Final = 32
_ID_BYTES: Final = 6
"""Twelve hexadecimal digits."""
NOTE_USE_S: Final = 60.0
"""The last use is known to the minute: each note costs a write to the disk."""
_NO_SECRET: Final = hashlib.sha256(b"").digest()
"""What a token with an unknown id is compared with, so that it takes as long."""


@dataclasses.dataclass(frozen=True)
class LiveToken:
    """A token that works, as far as a request needs it."""

    id: str
    name: str
    digest: bytes
    scope: Scope
    session: str | None
    expires_at: float | None


class TokenStore:
    """Call `await load()` before use."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._live: dict[str, LiveToken] = {}
        self._used: dict[str, tuple[float, str]] = {}
        self._on_end: list[Callable[[], None]] = []

    def on_end(self, callback: Callable[[], None]) -> None:
        """Called whenever a token has stopped to work because somebody wanted it."""
        self._on_end.append(callback)

    async def load(self) -> None:
        for row in await self._database.fetch_all("SELECT * FROM tokens WHERE revoked_at IS NULL"):
            self._live[row["id"]] = _live(row)

    def find(self, text: str) -> LiveToken | None:
        """The token if it works; takes the same time whatever is wrong with it."""
        match = TOKEN.fullmatch(text)
        name, secret = (match[1], match[2]) if match else ("", "")
        token = self._live.get(name)
        digest = hashlib.sha256(secret.encode()).digest()
        same = hmac.compare_digest(digest, _NO_SECRET if token is None else token.digest)
        return token if token is not None and same and self.works(token.id) else None

    def works(self, token_id: str) -> bool:
        """Whether it is neither revoked nor expired."""
        token = self._live.get(token_id)
        return token is not None and (token.expires_at is None or self._clock() < token.expires_at)

    def note_use(self, token_id: str, address: str) -> None:
        """Remember when and from where; written down by `flush`."""
        self._used[token_id] = (self._clock(), address)

    async def flush(self) -> None:
        """Write down what `note_use` has remembered."""
        used, self._used = self._used, {}
        if used:
            async with self._database.transaction() as connection:
                await connection.executemany(
                    "UPDATE tokens SET last_used_at = ?, last_address = ? WHERE id = ?",
                    [(at, address, token_id) for token_id, (at, address) in used.items()],
                )

    async def create(self, request: TokenRequest, who: str) -> NewToken:
        """Raises ProblemError: 400 admin for one session, 409 the name is taken."""
        if request.session is not None and request.scope is Scope.ADMIN:
            raise invalid("scope", "scope: admin is for the whole appliance.", "Use read or operate with a session.")
        if request.name.endswith("\n"):  # patterns of Python end before a last newline
            raise invalid("name", "name: ends with a new line.", "Leave that out.")
        token_id, secret = secrets.token_hex(_ID_BYTES), secrets.token_urlsafe(SECRET_BYTES)
        now = self._clock()
        expires_at = None if request.expires_in_s is None else now + request.expires_in_s
        digest = hashlib.sha256(secret.encode()).digest()
        try:
            await self._database.execute(
                "INSERT INTO tokens (id, name, digest, scope, session, created_at, created_by, expires_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (token_id, request.name, digest, request.scope, request.session, now, who, expires_at),
            )
        except sqlite3.IntegrityError as error:
            raise conflict(
                f"There is a token {request.name} already.", "Choose another name, or revoke that one first."
            ) from error
        self._live[token_id] = LiveToken(token_id, request.name, digest, request.scope, request.session, expires_at)
        return NewToken(secret=f"amda_{token_id}_{secret}", details=await self.get(token_id))

    async def list(self, *, everything: bool) -> list[TokenView]:
        """Newest first: those that work, or all."""
        rows = await self._database.fetch_all("SELECT * FROM tokens ORDER BY created_at DESC, id")
        return [self._view(row) for row in rows if everything or self.works(row["id"])]

    async def get(self, token_id: str) -> TokenView:
        row = await self._database.fetch_one("SELECT * FROM tokens WHERE id = ?", (token_id,))
        if row is None:
            raise not_found("token", token_id, "List them: amda token list")
        return self._view(row)

    async def revoke(self, token_id: str) -> TokenView:
        """It is refused from now on. Raises ProblemError 404; sqlite3.OperationalError if that cannot be written down:
        then a restart would let it in again."""
        self._live.pop(token_id, None)
        for callback in self._on_end:  # before it is written down: that could fail, for want of room
            callback()
        await self._database.execute(
            "UPDATE tokens SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", (self._clock(), token_id)
        )
        return await self.get(token_id)

    async def forget(self, before: float) -> None:
        """Delete tokens that have not worked since then."""
        sql = "DELETE FROM tokens WHERE coalesce(revoked_at, expires_at) < ?"
        await self._database.execute(sql, (before,))

    def _view(self, row: sqlite3.Row) -> TokenView:
        at, address = self._used.get(row["id"], (row["last_used_at"], row["last_address"]))
        return TokenView(
            id=row["id"],
            name=row["name"],
            scope=Scope(row["scope"]),
            session=row["session"],
            created_at=row["created_at"],
            created_by=row["created_by"],
            expires_at=row["expires_at"],
            revoked_at=row["revoked_at"],
            last_used_at=at,
            last_address=address,
        )


def _live(row: sqlite3.Row) -> LiveToken:
    return LiveToken(row["id"], row["name"], row["digest"], Scope(row["scope"]), row["session"], row["expires_at"])
