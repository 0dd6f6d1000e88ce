"""Who is calling: the local user on the unix socket, or the holder of a token; and how often they may."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol
from urllib.parse import unquote

from appliance.api.audit_log import AuditLog, Deed
from appliance.api.limiters import Guesses, Rate, Remembered, peer_of, plain_address
from appliance.api.routes import Access, Caller, Route
from appliance.api.settings import ApiSettings
from appliance.api.token_store import LiveToken, TokenStore
from appliance.model_api import Scope
from appliance.problems import ProblemError, problem, too_many

UNIX: Final = "unix"
TCP: Final = "tcp"
_BEARER: Final = "Bearer "
_CHALLENGE: Final = 'Bearer realm="amda"'
_FORWARDED: Final = "X-Forwarded-For"
_PASSED_ON: Final = (_FORWARDED, "Forwarded", "X-Real-IP", "Via")
"""What proxies add. Of these only the first is read, but each says that a request has come from elsewhere."""
_ELSEWHERE: Final = re.compile(r"(^|/)\.{1,2}(;[^/]*)?(/|$)|//|[\\\x00-\x1f\x7f\ufffd]")
"""Steps up, also with parameters; doubled and backward slashes; control characters, and bytes that are no UTF-8."""
_UNPACKED: Final = 3
"""Some decode twice; who packs more often is found out at the third."""


class Headers(Protocol):
    """Of a request, whatever the case of a name; a name may stand there several times."""

    def get(self, name: str, /) -> str | None: ...

    def getall(self, name: str, otherwise: Sequence[str], /) -> Sequence[str]: ...

    def __contains__(self, name: object, /) -> bool: ...


@dataclasses.dataclass(frozen=True)
class Peer:
    """The other end of a connection. `who`: the local user; empty on TCP."""

    door: str
    address: str
    who: str = ""


class Gatekeeper:
    """Raises ProblemError 401, 403 or 429 for whoever may not, and has it recorded."""

    def __init__(
        self,
        tokens: TokenStore,
        audit: AuditLog,
        settings: ApiSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tokens = tokens
        self._audit = audit
        self._clock = clock
        self._proxies = settings.networks()
        self._readers = frozenset(f"user:{name}" for name in settings.readers)
        self._rate = Rate(settings.requests_per_s, settings.burst)
        self._guesses = Guesses(settings.failures)
        self._proven: Remembered[set[str]] = Remembered()
        """Tokens that have worked from an address: others' wrong guesses from there do not lock them out."""

    def identify(self, headers: Headers, peer: Peer) -> Caller:
        """The caller, by a request's headers; its scope is None for somebody without a token."""
        # Some proxies add a line of their own to those that the client has sent: the last one is theirs.
        forwarded = ",".join(headers.getall(_FORWARDED, ())) or None
        authorization = headers.get("Authorization")
        local = peer.door == UNIX and not any(name in headers for name in _PASSED_ON)
        if local and authorization is None:
            scope = Scope.READ if peer.who in self._readers else Scope.ADMIN
            return Caller(who=peer.who, door=UNIX, address=peer.address, scope=scope, key=peer.who)
        # What a proxy has passed on comes from the network, even if it comes by the unix socket.
        address = self._client(peer, forwarded)
        name = peer_of(address)
        if authorization is None:
            self._limit(name)
            return Caller(who="", door=peer.door, address=address, scope=None, key=name)
        token = self._check(authorization, peer.door, address, name)
        self._limit(token.id)
        self._tokens.note_use(token.id, address)
        return Caller(
            who=f"token:{token.name}",
            door=peer.door,
            address=address,
            scope=token.scope,
            session=token.session,
            key=token.id,
            token=token.id,
        )

    def is_proxy(self, address: str) -> bool:
        """Whether it is one of the trusted proxies."""
        plain = ipaddress.ip_address(plain_address(address))
        return any(plain in network for network in self._proxies)

    def _client(self, peer: Peer, forwarded: str | None) -> str:
        """Where the request came from: the last address that none of our proxies wrote down about another of them."""
        if forwarded is None or (peer.door == TCP and not self.is_proxy(peer.address)):
            return peer.address
        for text in reversed(forwarded.split(",")):
            try:
                address = plain_address(text.strip())
            except ValueError:
                break
            if not self.is_proxy(address):
                return address
        return peer.address

    def _limit(self, name: str) -> None:
        if wait := self._rate.wait(name, self._clock()):
            raise too_many("Too many requests a second.", "Ask less often; events tell of changes.", wait)

    def _check(self, authorization: str, door: str, address: str, name: str) -> LiveToken:
        now = self._clock()
        scheme, text = authorization[: len(_BEARER)], authorization[len(_BEARER) :].strip()
        token = self._tokens.find(text) if scheme.lower() == _BEARER.lower() else None
        proven = self._proven.get(name) or set()
        if (wait := self._guesses.locked_for(name, now)) and (token is None or token.id not in proven):
            self._audit.refuse(Deed("", door, address, "login_while_locked", status=429))
            raise too_many("Too many wrong tokens from this address.", "Wait, then use a valid one.", wait)
        if token is None:
            self._audit.refuse(Deed("", door, address, "login_failed", status=401))
            if self._guesses.failed(name, now):
                self._audit.refuse(Deed("", door, address, "locked", status=429, detail="too many wrong tokens"))
            raise unauthorised("The token is not valid, not any more, or not a bearer token.")
        if token.id not in proven:
            self._proven.put(name, proven | {token.id})
        return token


def admit(route: Route, caller: Caller) -> None:
    """Raises ProblemError 401 or 403 if the caller's scope does not include the route's."""
    if route.access is Access.PUBLIC:
        return
    if caller.scope is None:
        raise unauthorised("This needs a token.")
    if not caller.scope.includes(route.scope):
        error = problem(
            "scope",
            "Not allowed",
            403,
            f"This needs the scope {route.scope}; yours is {caller.scope}.",
            remedy="Use a token of that scope: amda token create",
        )
        error.headers["WWW-Authenticate"] = f'{_CHALLENGE}, error="insufficient_scope", scope="{route.scope}"'
        raise error


def leads_elsewhere(raw_path: str) -> bool:
    """Whether a path, as it was sent, tries to leave its place: no address of ours has any of this in it.

    >>> [leads_elsewhere(one) for one in ("/v1/media/a-b", "/v1/media/..%2f..%2famda.db", "/v1/media/%00", "/v1//x")]
    [False, True, True, True]
    """
    path = raw_path
    for _ in range(_UNPACKED):
        path = unquote(path, errors="replace")
    return bool(_ELSEWHERE.search(path))


def unauthorised(detail: str) -> ProblemError:
    """401."""
    remedy = "Send the header Authorization: Bearer TOKEN; make one with: amda token create"
    error = problem("unauthorised", "No valid token", 401, detail, remedy=remedy)
    error.headers["WWW-Authenticate"] = _CHALLENGE
    return error
