"""Bodies of the API about who may use it and who did what: tokens and the audit."""

from __future__ import annotations

import enum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from appliance.model_api import Scope, SessionId

LONGEST_LIFE_S: Final = 10 * 366 * 86_400
"""A token that must last longer is better made without an end."""
RowId = Annotated[int, Meta(ge=1, le=(1 << 63) - 1)]
"""As SQLite counts rows."""


class TokenRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._@-]{0,59}$")]
    """What it is for; the audit shows it. Unique among the tokens that work."""
    scope: Scope = Scope.READ
    session: SessionId | None = None
    """It is good for this session only; not with the scope admin."""
    expires_in_s: Annotated[float, Meta(gt=0, le=LONGEST_LIFE_S)] | None = None
    """Without it the token works until it is revoked."""


class TokenView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    scope: Scope
    session: str | None
    created_at: float
    created_by: str
    expires_at: float | None
    revoked_at: float | None
    last_used_at: float | None
    """To the minute."""
    last_address: str


class NewToken(msgspec.Struct, frozen=True, kw_only=True):
    """`secret` is the whole token as it is sent; it is shown this once, and only its hash is kept."""

    secret: str
    details: TokenView


class TokenList(msgspec.Struct, frozen=True, kw_only=True):
    tokens: list[TokenView]


class TokenQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    all: bool = False
    """Revoked and expired ones, too."""


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was done, tried or refused."""

    id: int
    at: float
    who: str
    """`token:<name>`, or `user:<name>` of the local user."""
    door: str
    """`unix` or `tcp`."""
    address: str
    """The process on the unix socket, the client's address on TCP."""
    action: str
    """The call's `operationId`, or what was refused at the door."""
    target: str
    """The path that was called."""
    session: str | None
    status: int
    """Of the answer; 0: there was none."""
    detail: str
    count: int
    """Refusals that came in quick succession share one entry."""


class AuditPage(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first. `next` is the `before` of the following page; None on the last one."""

    items: list[AuditEntry]
    next: int | None


class Door(enum.StrEnum):
    """Where a caller came in."""

    UNIX = "unix"
    TCP = "tcp"


class CallerView(msgspec.Struct, frozen=True, kw_only=True):
    """Who makes a call."""

    who: str
    """`token:<name>`, or `user:<name>` of the local user."""
    door: Door
    scope: Scope
    session: str | None
    """The only one that this caller may deal with; None: all."""


class AuditQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every condition must hold; times are seconds since the epoch, `until` is exclusive."""

    since: float | None = None
    until: float | None = None
    session: SessionId | None = None
    who: Annotated[str, Meta(max_length=80)] | None = None
    """The whole of it, or what follows the colon."""
    action: Annotated[str, Meta(pattern=r"^[A-Za-z_]{1,60}$")] | None = None
    """The beginning of what was done: `sessions` matches `sessions_remove`."""
    door: Door | None = None
    address: Annotated[str, Meta(min_length=1, max_length=60)] | None = None
    """Where it came from, the whole of it."""
    refused: bool | None = None
    """Only what was refused or cut (true), or only what was done (false)."""
    before: RowId | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
