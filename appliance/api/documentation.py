"""/v1/openapi.json and /v1/docs: the API describes itself, from the table of its routes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from aiohttp import web

from appliance.api.dispatch import tagged
from appliance.api.openapi import document
from appliance.api.page import render
from appliance.api.routes import Access, Call, Resource, Route, get, table


def described_table(*resources: Resource) -> tuple[Route, ...]:
    """All routes of these resources, and those that describe them."""
    routes: tuple[Route, ...] = ()
    routes = table([*resources, DocumentationResource(lambda: routes)])
    return routes


class DocumentationResource:
    """`routes_of`: the whole table, which has these routes too."""

    def __init__(self, routes_of: Callable[[], Sequence[Route]]) -> None:
        self._routes_of = routes_of

    def routes(self) -> Sequence[Route]:
        public: dict[str, Any] = {"access": Access.PUBLIC, "headers": ("If-None-Match",), "also": ()}
        return (
            get("/v1/openapi.json", self.openapi, produces="application/json", **public),
            get("/v1/docs", self.page, produces="text/html", **public),
        )

    async def openapi(self, call: Call) -> web.Response:
        """This description, as OpenAPI 3.1."""
        return tagged(call.request, web.Response(body=self._encoded, content_type="application/json"))

    async def page(self, call: Call) -> web.Response:
        """This description, as a page to read; it fetches nothing."""
        response = web.Response(text=render(self._document), content_type="text/html")
        response.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
        return tagged(call.request, response)

    @functools.cached_property
    def _document(self) -> dict[str, Any]:
        return document(self._routes_of())

    @functools.cached_property
    def _encoded(self) -> bytes:
        return msgspec.json.encode(self._document)
