"""What every resource of the API needs: typed bodies in, typed bodies out, and every error a Problem with a remedy."""

from __future__ import annotations

import asyncio
import http
import math
import re
import sqlite3
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from appliance.problems import ProblemError, invalid, problem, timed_out

PROBLEM_TYPE: Final = "application/problem+json"
_JSON_TYPE: Final = "application/json"
_ERROR_PATH: Final = re.compile(r" - at `\$\.?([^`]*)`$")
"""Where msgspec says at the end of its message which member is wrong."""
_BEGUN: Final = web.RequestKey("begun", bool)
"""Set on a request whose response has begun."""
_SERVER: Final = "amda"
_SEE_LOG: Final = "Try again; the daemon's log says what happened."

T = TypeVar("T")
_log = structlog.get_logger(__name__)


async def read_body(request: web.Request, kind: type[T], limit_s: float) -> T:
    """The request's JSON body; none at all counts as {}. Raises ProblemError: 400 names the field, 415 if it says to be
    something else than JSON, 408 if it does not arrive."""
    if request.can_read_body and request.content_type != _JSON_TYPE:
        raise problem(
            "media-type",
            "Not JSON",
            http.HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"The body is said to be {request.content_type}.",
            remedy=f"Send JSON, and the header Content-Type: {_JSON_TYPE}.",
            field="Content-Type",
        )
    content = await _content(request, limit_s)
    try:
        try:
            return msgspec.json.decode(content or b"{}", type=kind)
        except msgspec.ValidationError:  # for JSON, 1.0 is as much a whole number as 1
            return msgspec.convert(_whole_numbers(msgspec.json.decode(content)), kind)
    except msgspec.ValidationError as error:
        raise invalid_value(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise invalid("body", f"The body is not valid JSON: {error}", "Send a JSON object.") from error


def _whole_numbers(value: Any) -> Any:
    """The same with every float that is a whole number as an integer (JSON Schema, 6.1.1)."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {key: _whole_numbers(one) for key, one in value.items()}
        case list():
            return [_whole_numbers(one) for one in value]
    return value


async def _content(request: web.Request, limit_s: float) -> bytes:
    """Raises ProblemError: 408 too slow, 413 too large, 415 compressed."""
    if request.headers.get("Content-Encoding", "identity") != "identity":
        detail = "The body is compressed."
        raise problem("encoding", "Not as it is", 415, detail, remedy="Send it as it is.", field="Content-Encoding")
    try:
        async with asyncio.timeout(limit_s):
            return await request.read()
    except TimeoutError:
        detail = f"The body did not arrive within {limit_s:g} s."
        raise problem("slow-body", "Too slow", http.HTTPStatus.REQUEST_TIMEOUT, detail, remedy="Try again.") from None
    except web.RequestPayloadError as error:
        detail = "The body is not sent as HTTP/1.1 wants it."
        raise problem("malformed", "Bad request", 400, detail, remedy="Correct the request.") from error


def answer(
    body: msgspec.Struct, status: int = http.HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type=_JSON_TYPE, headers=headers)


def problem_response(error: ProblemError) -> web.Response:
    """The error as RFC 9457 wants it."""
    headers = dict(error.headers)
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    return web.Response(
        body=msgspec.json.encode(error.problem),
        status=error.problem.status,
        content_type=PROBLEM_TYPE,
        headers=headers,
    )


def problems() -> Middleware:
    """The outermost middleware: whatever goes wrong becomes a Problem."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except ConnectionError:
            raise  # the client has left: there is nobody to tell
        except Exception as error:
            known = _as_problem(request, error)
            if known is None:
                _log.exception("request failed", method=request.method, path=request.path)
                known = problem("internal", "A fault of the appliance", 500, "The request failed.", remedy=_SEE_LOG)
            if request.get(_BEGUN):  # the status has been sent; all that can still be said is that this is not the end
                raise ConnectionAbortedError(str(known)) from error
            return problem_response(known)

    return middleware


def status_of(error: Exception) -> int:
    """What the client is told of an error: the status of its Problem."""
    match error:
        case ProblemError():
            return error.problem.status
        case web.HTTPException():
            return error.status
        case TimeoutError():
            return http.HTTPStatus.GATEWAY_TIMEOUT
        case ConnectionError():
            return 0
    return http.HTTPStatus.INTERNAL_SERVER_ERROR


async def mark_begun(request: web.Request, response: web.StreamResponse) -> None:
    """To be called when a response begins (`on_response_prepare`). Which software answers is nobody's business."""
    request[_BEGUN] = True
    response.headers["Server"] = _SERVER


def _as_problem(request: web.Request, error: Exception) -> ProblemError | None:
    match error:
        case ProblemError():
            return error
        case web.HTTPException():
            return _of_http(request, error)
        case TimeoutError():
            return timed_out("The request took too long and was given up.", "Try again.")
        case sqlite3.OperationalError():
            _log.error("database", path=request.path, error=str(error))
            return _of_database(error)
    return None


def invalid_value(error: msgspec.ValidationError) -> ProblemError:
    """400 that names the field, from what msgspec found."""
    message = str(error)
    place = _ERROR_PATH.search(message)
    field = place[1] if place else "body"
    if unknown := re.search(r"unknown field `([^`]+)`", message):
        field = unknown[1]
    if missing := re.search(r"required field `([^`]+)`", message):
        field = missing[1]
    detail = _ERROR_PATH.sub("", message).replace("`", "")
    return invalid(field, f"{field}: {detail}.", "Correct it; /v1 is described in docs/api.")


def _of_http(request: web.Request, error: web.HTTPException) -> ProblemError:
    """What the web framework refuses by itself, with a detail and a remedy."""
    match error:
        case web.HTTPNotFound():
            detail = "There is nothing at this address."
            return problem("no-such-path", "No such address", 404, detail, remedy="GET /v1/openapi.json lists them.")
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            detail, remedy = f"{request.method} is not possible here.", f"Use one of: {allowed}"
            refused = problem("method", "Not possible here", 405, detail, remedy=remedy)
            refused.headers["Allow"] = allowed
            return refused
        case web.HTTPRequestEntityTooLarge():
            detail = f"A body may have {request.client_max_size} bytes."
            return problem("too-large", "Body too large", 413, detail, remedy="limits.request_bytes raises this.")
    return problem("refused", error.reason, error.status, error.reason, remedy="Correct the request.")


def _of_database(error: sqlite3.OperationalError) -> ProblemError:
    if "full" in str(error):
        return problem(
            "disk-full",
            "The disk is full",
            507,
            "The disk is full: nothing more can be recorded.",
            remedy="Free some space, then try again.",
        )
    return problem(
        "database", "Database not usable", 503, "The database cannot be used.", remedy="amda status says more."
    )
