"""What every resource of the API needs: typed bodies in, typed bodies out, and every error a Problem with a remedy."""

from __future__ import annotations

import asyncio
import contextlib
import http
import math
import re
import sqlite3
from typing import Final, TypeVar

import msgspec
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from appliance.model import Problem
from appliance.problems import ProblemError, invalid, problem, timed_out

PROBLEM_TYPE: Final = "application/problem+json"
_JSON_TYPE: Final = "application/json"
_ERROR_PATH: Final = re.compile(r" - at `\$\.?([^`]*)`$")
"""Where msgspec says at the end of its message which member is wrong."""
STREAMING: Final = web.AppKey("streaming", frozenset)
"""Paths whose answers may take as long as they like."""

T = TypeVar("T")
_log = structlog.get_logger(__name__)


async def read_body(request: web.Request, kind: type[T]) -> T:
    """The request's JSON body. Raises ProblemError 400 that names the field."""
    content = await request.read()
    try:
        return msgspec.json.decode(content or b"{}", type=kind)
    except msgspec.ValidationError as error:
        raise _invalid(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise invalid("body", f"The body is not valid JSON: {error}", "Send a JSON object.") from error


def read_query(request: web.Request, kind: type[T]) -> T:
    """The request's query as a struct. Raises ProblemError 400 that names the parameter."""
    try:
        return msgspec.convert(dict(request.query), kind, strict=False)
    except msgspec.ValidationError as error:
        raise _invalid(error) from error


def answer(body: msgspec.Struct, status: int = http.HTTPStatus.OK) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type=_JSON_TYPE)


def problem_response(error: ProblemError) -> web.Response:
    """The error as RFC 9457 wants it."""
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    return web.Response(
        body=msgspec.json.encode(error.problem),
        status=error.problem.status,
        content_type=PROBLEM_TYPE,
        headers=headers,
    )


def problems(limit_s: float) -> Middleware:
    """The outermost middleware: whatever goes wrong becomes a Problem. `limit_s`: time limit of a request."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        streaming = _path(request) in request.app[STREAMING]
        try:
            async with contextlib.nullcontext() if streaming else asyncio.timeout(limit_s):
                return await handler(request)
        except ProblemError as error:
            return problem_response(error)
        except web.HTTPException as error:
            return problem_response(_of_http(request, error))
        except TimeoutError:
            return problem_response(timed_out(f"The request was given up after {limit_s:g} s.", "Try again."))
        except sqlite3.OperationalError as error:
            _log.error("database", path=request.path, error=str(error))
            return problem_response(_of_database(error))
        except Exception:
            _log.exception("request failed", method=request.method, path=request.path)
            broken = problem("internal", "A fault of the appliance", 500, "Its log says what happened.")
            return problem_response(broken)

    return middleware


def _path(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return "" if resource is None else resource.canonical


def _invalid(error: msgspec.ValidationError) -> ProblemError:
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
    match error.status:
        case http.HTTPStatus.NOT_FOUND:
            return problem("not-found", "No such resource", 404, f"There is nothing at {request.path}.")
        case http.HTTPStatus.METHOD_NOT_ALLOWED:
            return problem("method", "Not possible here", 405, f"{request.method} is not possible on {request.path}.")
        case http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            limit = request.app._client_max_size  # noqa: SLF001 - aiohttp offers no other way to read it
            return problem("too-large", "Body too large", 413, f"A body may have {limit} bytes.")
    return ProblemError(Problem(type="about:blank", title=error.reason, status=error.status))


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
