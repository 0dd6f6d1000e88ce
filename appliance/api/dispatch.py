"""From a route of the table to a handler of the web framework: reads what the handler takes, sends what it answers."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import http
import math
import typing
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from aiohttp import web

from appliance.api.gatekeeper import admit
from appliance.api.http import answer, invalid_value, read_body
from appliance.api.repeats import Repeats
from appliance.api.routes import Access, Answer, Call, Caller, Route, path_parameters
from appliance.model_api import CreateSession
from appliance.problems import ProblemError, invalid, not_found, problem

CALLER: Final = web.RequestKey("caller", Caller)
"""Where whoever keeps the door leaves the caller."""
_ETAG_BYTES: Final = 12
"""96 bits: two versions of one answer do not share a tag."""


SESSION: Final = web.RequestKey("session", str)
"""The session that a call is about, for the audit."""


def handler_of(
    route: Route, limit_s: float, body_s: float, repeats: Repeats
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """What the web framework calls for this route.

    `limit_s`: after so long a request is given up; `body_s`: within this its body must have arrived.
    """

    @functools.wraps(route.handler)
    async def handle(request: web.Request) -> web.StreamResponse:
        async with asyncio.timeout(None if route.endless else limit_s):
            return await run(request)

    async def run(request: web.Request) -> web.StreamResponse:
        call = Call(request, request[CALLER])
        admit(route, call.caller)
        arguments = _path_arguments(route, request)
        if route.signature.query is not None:
            arguments["query"] = read_query(request, route.signature.query)
        else:
            _refuse_query(request)
        if route.signature.body is not None:
            arguments["body"] = await read_body(request, route.signature.body, body_s)
        _keep_to_session(route, call.caller, arguments)
        if session := _session_of(arguments):
            request[SESSION] = session
        if route.signature.call:
            arguments["call"] = call
        key = request.headers.get("Idempotency-Key")
        if route.creates is None or key is None:
            return _response(route, request, await route.handler(**arguments))
        work = functools.partial(route.handler, **arguments)
        what = (request.path, arguments.get("body"))
        return _response(route, request, await repeats.once(route, call.caller.key, key, what, work))

    return handle


def read_query(request: web.Request, kind: type[msgspec.Struct]) -> Any:
    """The request's query as a struct. Raises ProblemError 400 that names the parameter."""
    lists = list_fields(kind)
    values: dict[str, Any] = {}
    for name in request.query:
        given = request.query.getall(name)
        if name in lists:
            values[name] = given
        elif len(given) > 1:
            raise invalid(name, f"{name}: given {len(given)} times.", "Give it once.")
        else:
            values[name] = given[0]
    try:
        found = msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise invalid_value(error) from error
    for name in values:
        value = getattr(found, name)
        if value is None:
            raise invalid(name, f"{name}: no value.", "Leave it out instead.")
        if isinstance(value, float) and not math.isfinite(value):
            raise invalid(name, f"{name}: not a finite number.", "Give a number.")
    return found


@functools.cache
def list_fields(kind: type[msgspec.Struct]) -> frozenset[str]:
    """The parameters that may be given several times."""
    hints = typing.get_type_hints(kind)
    return frozenset(name for name, hint in hints.items() if typing.get_origin(hint) in (list, tuple))


def _keep_to_session(route: Route, caller: Caller, arguments: dict[str, Any]) -> None:
    """A caller of one session deals with that one: what names none is narrowed to it, what names another is refused.

    Raises ProblemError: 403, or 404 for another session's own address.
    """
    mine = caller.session
    if mine is None:
        return
    named = "session" in route.signature.path
    if named and arguments["session"] != mine:
        raise not_found("session", arguments["session"], "List them: amda session list")
    for part in ("query", "body"):
        given = arguments.get(part)
        if given is None or "session" not in given.__struct_fields__:
            continue
        named = True
        if given.session is None:
            arguments[part] = msgspec.structs.replace(given, session=mine)
        elif given.session != mine:
            raise _only_for(mine)
    if not named and not route.own_session_check and route.access is not Access.PUBLIC:
        raise _only_for(mine)


def _only_for(session: str) -> ProblemError:
    detail = f"This token is for the session {session} only."
    return problem("scope", "Not allowed", 403, detail, remedy="Use a token without a session.")


def _session_of(arguments: dict[str, Any]) -> str | None:
    """The session that is named by path, query or body; creating one names it by its id."""
    if "session" in arguments:
        return str(arguments["session"])
    for part in ("body", "query"):
        given = arguments.get(part)
        if (session := getattr(given, "session", None)) is not None:
            return str(session)
    body = arguments.get("body")
    return body.id if isinstance(body, CreateSession) else None


def _refuse_query(request: web.Request) -> None:
    for name in request.query:
        raise invalid(name, f"{name}: this call takes no query parameters.", "Leave it out.")


def _path_arguments(route: Route, request: web.Request) -> dict[str, Any]:
    """Raises ProblemError 404: what cannot be the name of anything names nothing."""
    arguments = {}
    for name in path_parameters(route.path):
        text = request.match_info[name]
        try:
            if text.endswith("\n"):  # patterns of Python end before a last newline
                raise msgspec.ValidationError
            arguments[name] = msgspec.convert(text, route.signature.path[name], strict=False)
        except msgspec.ValidationError:
            shown = text[:40] if text.isprintable() else "of that name"
            raise not_found(name, shown, "The listing has all that there are.") from None
    return arguments


def _response(route: Route, request: web.Request, result: Any) -> web.StreamResponse:
    if isinstance(result, web.StreamResponse):
        return result
    if result is None:
        return web.Response(status=http.HTTPStatus.NO_CONTENT)
    if isinstance(result, Answer):
        response = answer(result.body, result.status, result.headers)
    else:
        response = answer(result, route.status)
    if request.method == "GET" and response.status == http.HTTPStatus.OK:
        return tagged(request, response)
    return response


def tagged(request: web.Request, response: web.Response) -> web.Response:
    """The answer with its `ETag`, or 304 if the client has it (RFC 9110, 13.1.2): who polls gets nothing twice."""
    content = response.body if isinstance(response.body, bytes) else b""
    tag = f'"{hashlib.blake2b(content, digest_size=_ETAG_BYTES).hexdigest()}"'
    if has_it(request, tag):
        response = web.Response(status=http.HTTPStatus.NOT_MODIFIED)
    response.headers["ETag"] = tag
    response.headers["Cache-Control"] = "no-cache, private"
    return response


def has_it(request: web.Request, tag: str) -> bool:
    """Whether the client has the version of this tag (RFC 9110, 13.1.2)."""
    given = [one.strip().removeprefix("W/") for one in request.headers.get("If-None-Match", "").split(",")]
    return tag in given or "*" in given
