"""The table of routes: each one is declared once, and its handler's signature says what it takes and what it answers.

From that one declaration come the call itself (`dispatch`), who may make it (`scope`), and the OpenAPI document
(`openapi`); so none of them can say something else than the others.

A handler is a method with any of these parameters, all by name:

- `call: Call`: the request and who makes it;
- `query: <struct>`: the query parameters; `body: <struct>`: the JSON body;
- every `{name}` of the path, with its type.

Its return type is the answer: a struct, `Answer[struct]` where status or headers vary, None for 204, or aiohttp's
response for whatever is not JSON (then the route says what it `produces`). Its docstring is the documentation.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import re
import types
import typing
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec
from aiohttp import web

from appliance.model_api import Scope
from appliance.problems import not_found

A = TypeVar("A", bound=msgspec.Struct)

ROUTES_SINCE: Final = "0.1.0"
"""The release that a route came with, unless it says otherwise."""
_PATH_PARAMETER: Final = re.compile(r"{([a-z_]+)}")
EVENT_STREAM: Final = "text/event-stream"


class Access(enum.Enum):
    """Who may call a route."""

    PUBLIC = "public"
    """Everybody who reaches the door: no token is asked for."""
    TOKEN = "token"  # noqa: S105 - not a password
    """Whoever has the route's scope."""


@dataclasses.dataclass(frozen=True)
class Caller:
    """Who makes a call. `session`: the only one that this caller may deal with; None: all."""

    who: str
    """For the audit: the name of a token, or of the local user."""
    door: str
    """`unix` or `tcp`."""
    address: str
    """Where from: the process on the unix socket, the client's address on TCP."""
    scope: Scope | None
    """None: nobody we know; only public routes are open."""
    session: str | None = None
    key: str = ""
    """What tells this caller from others: the token's id, or the local user."""
    token: str | None = None
    """Id of the token that was used."""

    def must_own(self, session: str, what: str, name: str) -> None:
        """Raises ProblemError 404 if the thing is another session's: this caller is not told that it exists."""
        if self.session not in (None, session):
            raise not_found(what, name)


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of a route: the request, and who makes it."""

    request: web.Request
    caller: Caller


@dataclasses.dataclass(frozen=True)
class Answer(Generic[A]):
    """A body with a status or headers that vary from call to call."""

    body: A
    status: int = 200
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Creates(Generic[A]):
    """What makes a creating call safe to repeat under one `Idempotency-Key`.

    Only the name of what was created is remembered, never the answer: that may hold a secret, and would be out of date.
    """

    name: Callable[[A], str]
    """The name of what was created, from the answer."""
    recall: Callable[[str], Awaitable[A]]
    """The answer to the repeated call, from the name."""


class Resource(Protocol):
    """One module of the API: what it contributes to the table."""

    def routes(self) -> Sequence[Route]: ...


@dataclasses.dataclass(frozen=True)
class Signature:
    """What a handler takes and answers, read from its annotations."""

    call: bool
    query: type[msgspec.Struct] | None
    body: type[msgspec.Struct] | None
    path: Mapping[str, Any]
    answer: type[msgspec.Struct] | None
    """None: nothing (204), or a response that is not JSON."""


@dataclasses.dataclass(frozen=True)
class Route:
    """One row of the table. Build it with `get`, `post` …; raises TypeError if path and handler contradict."""

    method: str
    path: str
    handler: Callable[..., Awaitable[Any]]
    scope: Scope
    _: dataclasses.KW_ONLY
    access: Access = Access.TOKEN
    status: int = 200
    """Of a success, unless the handler answers otherwise."""
    also: tuple[int, ...] = ()
    """Further statuses that have the same body as a success."""
    produces: str | None = None
    """The media type of what is not JSON."""
    also_produces: tuple[str, ...] = ()
    """Media types that a client may ask for instead."""
    endless: bool = False
    """Takes as long as its reader likes: the time limit of requests does not apply."""
    sized: bool = False
    """Endless, but HEAD can tell its headers all the same."""
    headers: tuple[str, ...] = ()
    """Request headers that it heeds, by their names in `openapi.HEADERS`."""
    creates: Creates[Any] | None = None
    own_session_check: bool = False
    """The handler itself keeps a caller of one session from others; otherwise path, query or body must name it."""
    since: str = ROUTES_SINCE
    signature: Signature = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "signature", _read_signature(self))

    @property
    def has_head(self) -> bool:
        """Whether HEAD is answered as GET without its body."""
        return self.sized or not self.endless

    @property
    def name(self) -> str:
        """Unique among routes: the operation's id in the OpenAPI document."""
        owner = type(getattr(self.handler, "__self__", None)).__name__.removesuffix("Resource")
        return f"{owner[:1].lower()}{owner[1:]}_{self.handler.__name__}"

    @property
    def text(self) -> str:
        """What it does, from the handler's docstring."""
        return inspect.getdoc(self.handler) or ""


def get(path: str, handler: Callable[..., Awaitable[Any]], scope: Scope = Scope.READ, **more: Any) -> Route:
    return Route("GET", path, handler, scope, **more)


def post(path: str, handler: Callable[..., Awaitable[Any]], scope: Scope = Scope.OPERATE, **more: Any) -> Route:
    return Route("POST", path, handler, scope, **more)


def put(path: str, handler: Callable[..., Awaitable[Any]], scope: Scope = Scope.OPERATE, **more: Any) -> Route:
    return Route("PUT", path, handler, scope, **more)


def patch(path: str, handler: Callable[..., Awaitable[Any]], scope: Scope = Scope.OPERATE, **more: Any) -> Route:
    return Route("PATCH", path, handler, scope, **more)


def delete(path: str, handler: Callable[..., Awaitable[Any]], scope: Scope = Scope.OPERATE, **more: Any) -> Route:
    return Route("DELETE", path, handler, scope, **more)


def table(resources: Iterable[Resource]) -> tuple[Route, ...]:
    """All routes in order. Raises TypeError for two with the same method and path, or the same name."""
    routes = tuple(route for resource in resources for route in resource.routes())
    names = [route.name for route in routes] + [f"{route.method} {route.path}" for route in routes]
    if twice := {name for name in names if names.count(name) > 1}:
        raise TypeError(f"declared twice: {sorted(twice)}")
    return routes


def path_parameters(path: str) -> list[str]:
    """
    >>> path_parameters("/v1/sessions/{session}/start")
    ['session']
    """
    return _PATH_PARAMETER.findall(path)


def _read_signature(route: Route) -> Signature:
    hints = typing.get_type_hints(route.handler, include_extras=True)
    place = f"{route.method} {route.path}"
    answer = hints.pop("return", None)
    parameters = {name: hints[name] for name in inspect.signature(route.handler).parameters}
    named = path_parameters(route.path)
    for name in named:
        if name not in parameters:
            raise TypeError(f"{place}: the handler has no parameter {name}")
    unknown = parameters.keys() - {*named, "call", "query", "body"}
    if unknown:
        raise TypeError(f"{place}: the path has no {sorted(unknown)}")
    if route.method == "GET" and "body" in parameters:
        raise TypeError(f"{place}: no body there")
    return Signature(
        call="call" in parameters,
        query=parameters.get("query"),
        body=parameters.get("body"),
        path={name: parameters[name] for name in named},
        answer=_answer_type(route, answer, place),
    )


def _answer_type(route: Route, answer: Any, place: str) -> type[msgspec.Struct] | None:
    if typing.get_origin(answer) is Answer:
        (answer,) = typing.get_args(answer)
    if answer is None or answer is types.NoneType:
        return None
    if issubclass(answer, web.StreamResponse):
        if route.produces is None:
            raise TypeError(f"{place}: say what it produces")
        return None
    if not issubclass(answer, msgspec.Struct):
        raise TypeError(f"{place}: answers with {answer}, not with a struct")
    return typing.cast("type[msgspec.Struct]", answer)
