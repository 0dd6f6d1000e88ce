"""The OpenAPI 3.1 document, generated from the table of routes and from the structs that the handlers use.

Descriptions are docstrings: of handlers, of structs, and the strings below fields and enum members.
"""

from __future__ import annotations

import ast
import enum
import http
import inspect
import itertools
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from appliance import __version__
from appliance.api.dispatch import list_fields
from appliance.api.http import PROBLEM_TYPE
from appliance.api.routes import EVENT_STREAM, Access, Route
from appliance.history.signing import DELIVERY_HEADER, EVENT_HEADER, SIGNATURE_HEADER
from appliance.model import Problem
from appliance.model_webhooks import WebhookMessage

_TEMPLATE: Final = "#/components/schemas/{name}"
_ANYTHING: Final = frozenset({"*/*", EVENT_STREAM})
"""What has no schema: stored bytes, and streams, whose events their description names."""
HEADERS: Final[Mapping[str, tuple[str, dict[str, Any]]]] = {
    "Idempotency-Key": (
        "Makes a repeated call safe: under one key, which is kept for 24 hours, a thing is created once.",
        {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
    ),
    "Last-Event-ID": (
        "The number of the last event that was seen; the stream goes on after it.",
        {"type": "integer", "minimum": 0},
    ),
    "Range": ("One range of bytes, as in `bytes=0-1023`.", {"type": "string"}),
    "If-Range": ("The `ETag` of what the client has a part of: if it holds no more, all comes.", {"type": "string"}),
    "If-None-Match": ("The `ETag` of the answer that the client has: 304 if it still holds.", {"type": "string"}),
}
"""Request headers that routes heed: what they are for, and their schema."""


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The whole document, ready to be encoded."""
    structs = _structs(routes)
    _, components = msgspec.json.schema_components(structs, ref_template=_TEMPLATE, schema_hook=_any_value)
    for struct in structs:
        _describe(struct, components)
    queries = {route.signature.query for route in routes if route.signature.query is not None}
    parameters = {query: _parameters(query, components) for query in queries}
    named_elsewhere = msgspec.json.encode(components)
    for query in queries:
        if _TEMPLATE.format(name=query.__name__).encode() not in named_elsewhere:
            components.pop(query.__name__, None)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, parameters)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "AMDA",
            "version": __version__,
            "summary": "WhatsApp accounts on a server of your own.",
            "description": (
                "Times are seconds since the epoch (UTC), sizes are bytes, phone numbers in answers are masked."
                " Every error is a Problem (RFC 9457) with a remedy."
            ),
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(tag_of(route) for route in routes)],
        "paths": paths,
        "webhooks": {"event": {"post": _told()}},
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "From `amda token create`. Not needed on the unix socket.",
                }
            },
        },
    }


def tag_of(route: Route) -> str:
    """What a route is listed under.

    >>> [one.strip("/").removeprefix("v1/").partition("/")[0] for one in ("/v1/sessions/{session}/start", "/livez")]
    ['sessions', 'livez']
    """
    if not route.path.startswith("/v1/"):
        return "health"
    return re.split(r"[/.]", route.path.removeprefix("/v1/"))[0]


def _structs(routes: Iterable[Route]) -> list[type[msgspec.Struct]]:
    found: dict[type[msgspec.Struct], None] = {Problem: None, WebhookMessage: None}
    for route in routes:
        signature = route.signature
        for one in (signature.query, signature.body, signature.answer):
            if one is not None:
                found[one] = None
    return list(found)


def _operation(route: Route, queries: Mapping[type[msgspec.Struct], list[dict[str, Any]]]) -> dict[str, Any]:
    summary, _, description = route.text.partition("\n\n")
    signature = route.signature
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _plain_schema(hint)}
        for name, hint in signature.path.items()
    ]
    if signature.query is not None:
        parameters += queries[signature.query]
    parameters += [_header(name) for name in _headers(route)]
    operation: dict[str, Any] = {
        "operationId": route.name,
        "tags": [tag_of(route)],
        "summary": " ".join(summary.split()),
        "parameters": parameters,
        "responses": _responses(route),
        "x-since": route.since,
    }
    if description:
        operation["description"] = textwrap.dedent(description).strip()
    if signature.body is not None:
        operation["requestBody"] = {
            "required": any(field.required for field in msgspec.structs.fields(signature.body)),
            "content": {"application/json": {"schema": _reference(signature.body)}},
        }
    if route.access is Access.TOKEN:
        operation["security"] = [{"token": []}]
        operation["x-scope"] = route.scope
    return operation


def _headers(route: Route) -> list[str]:
    names = list(route.headers)
    if route.creates is not None:
        names.append("Idempotency-Key")
    if route.method == "GET" and route.signature.answer is not None:
        names.append("If-None-Match")
    return names


def _header(name: str) -> dict[str, Any]:
    description, schema = HEADERS[name]
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


def _told() -> dict[str, Any]:
    """What the appliance posts to the receiver of a webhook (OpenAPI 3.1, "webhooks")."""
    headers = {
        SIGNATURE_HEADER: "`t=SECONDS,v1=HEX`: HMAC-SHA256 of `SECONDS.BODY` with the webhook's secret.",
        DELIVERY_HEADER: "As `id` in the body.",
        EVENT_HEADER: "As `type` in the body.",
    }
    return {
        "operationId": "webhooks_event",
        "summary": "An event, posted to the URL of each webhook that wants it.",
        "description": "Whatever is not answered with 2xx in time comes again, for a day; 410 disables the webhook.",
        "parameters": [
            {"name": name, "in": "header", "required": True, "description": text, "schema": {"type": "string"}}
            for name, text in headers.items()
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _reference(WebhookMessage)}}},
        "responses": {"2XX": {"description": "Taken."}, "default": {"description": "To be tried again."}},
    }


def _responses(route: Route) -> dict[str, Any]:
    """Statuses of success one by one, every error as a Problem."""
    responses: dict[str, Any] = {}
    if route.produces is not None:
        schema = {} if route.produces in _ANYTHING else {"schema": {"type": "string"}}
        for status in (route.status, *route.also):
            responses[str(status)] = {
                "description": http.HTTPStatus(status).phrase,
                "content": dict.fromkeys((route.produces, *route.also_produces), schema),
            }
    elif route.signature.answer is None:
        responses[str(http.HTTPStatus.NO_CONTENT.value)] = {"description": "Done."}
    else:
        content = {"application/json": {"schema": _reference(route.signature.answer)}}
        for status in (route.status, *route.also):
            responses[str(status)] = {"description": http.HTTPStatus(status).phrase, "content": content}
    if "If-None-Match" in _headers(route):
        responses["304"] = {"description": "The client has it already."}
    responses["default"] = {
        "description": "What is wrong, and what to do about it.",
        "content": {PROBLEM_TYPE: {"schema": _reference(Problem)}},
    }
    return responses


def _any_value(kind: type) -> dict[str, Any]:
    """The schema of `object`, which says nothing: any JSON. Raises NotImplementedError for a type of ours."""
    if kind is object:
        return {"description": "Any JSON value."}
    raise NotImplementedError(f"{kind} has no JSON schema")


def _reference(struct: type[msgspec.Struct]) -> dict[str, Any]:
    return {"$ref": _TEMPLATE.format(name=struct.__name__)}


def _plain_schema(hint: Any) -> dict[str, Any]:
    """The schema of a plain type, in place."""
    (schema,), _ = msgspec.json.schema_components([hint], ref_template=_TEMPLATE, schema_hook=_any_value)
    return schema


def _parameters(query: type[msgspec.Struct], components: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A struct's fields as query parameters. What is not wanted is left out of a query, so `null` is no value there."""
    schema = components[query.__name__]
    several = list_fields(query)
    found = []
    for name, one in schema["properties"].items():
        value = {key: content for key, content in one.items() if key not in ("description", "default")}
        options = [option for option in value.pop("anyOf", []) if option != {"type": "null"}]
        value |= options[0] if len(options) == 1 else {"anyOf": options} if options else {}
        if one.get("default") is not None:
            value["default"] = one["default"]
        parameter = {"name": name, "in": "query", "required": name in schema.get("required", []), "schema": value}
        if "description" in one:
            parameter["description"] = one["description"]
        if name in several:
            parameter |= {"style": "form", "explode": True}
        found.append(parameter)
    return found


def _describe(struct: type[msgspec.Struct], components: dict[str, Any]) -> None:
    """Put the strings below fields and members into the schema, for this struct and all that it contains."""
    pending: list[type] = [struct]
    seen: set[type] = set()
    while pending:
        kind = pending.pop()
        if kind in seen:
            continue
        seen.add(kind)
        pending += _inner_types(kind)
        schema = components.get(kind.__name__)
        if schema is None:
            continue
        notes = _notes(kind)
        if issubclass(kind, enum.Enum):
            lines = [f"- `{member.value}`: {notes[member.name]}" for member in kind if member.name in notes]
            if lines and "- `" not in schema.get("description", ""):
                schema["description"] = "\n".join([schema.get("description", ""), *lines]).strip()
            continue
        for name, one in schema.get("properties", {}).items():
            if name in notes and "description" not in one:
                one["description"] = notes[name]


def _inner_types(kind: type) -> list[type]:
    """Structs and enums that the fields of a struct are made of."""
    if not issubclass(kind, msgspec.Struct):
        return []
    found: list[type] = []
    pending: list[Any] = [field.type for field in msgspec.structs.fields(kind)]
    while pending:
        one = pending.pop()
        if isinstance(one, type) and issubclass(one, (msgspec.Struct, enum.Enum)):
            found.append(one)
        pending += getattr(one, "__args__", ())
    return found


def _notes(kind: type) -> dict[str, str]:
    """The string that stands below each field or member, as one paragraph."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    notes = {}
    for one, below in itertools.pairwise(body):
        target = (
            one.target if isinstance(one, ast.AnnAssign) else one.targets[0] if isinstance(one, ast.Assign) else None
        )
        if not isinstance(target, ast.Name) or not isinstance(below, ast.Expr):
            continue
        if isinstance(below.value, ast.Constant) and isinstance(below.value.value, str):
            notes[target.id] = " ".join(below.value.value.split())
    return notes
