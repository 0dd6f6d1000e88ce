"""The table refuses what contradicts itself, and its OpenAPI document says what the structs and handlers say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
import pytest
from aiohttp import web
from msgspec import Meta

from appliance.api.openapi import document
from appliance.api.page import render
from appliance.api.routes import Access, Call, Route, get, post, table
from appliance.model_api import ResourceId, Scope


class Colour(msgspec.Struct, kw_only=True):
    name: Annotated[str, Meta(max_length=9)]
    """As painters call it <b>."""
    warm: bool = False


class ColourQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    warm: bool | None = None
    name: tuple[str, ...] = ()
    """Only these."""


class Colours:
    async def list(self, query: ColourQuery) -> Colour:
        """Every colour.

        They fade.
        """
        return Colour(name=query.name[0])

    async def paint(self, call: Call, colour: ResourceId, body: Colour) -> Colour:  # noqa: ARG002
        """Paint it."""
        return body

    async def raw(self) -> web.Response:
        """Its bytes."""
        return web.Response()

    async def forget(self, colour: ResourceId) -> None:
        """Forget it."""

    async def numbers(self) -> int:
        return 1

    def routes(self) -> Sequence[Route]:
        return (
            get("/v1/colours", self.list),
            post("/v1/colours/{colour}", self.paint, Scope.ADMIN, status=201),
            get("/v1/raw", self.raw, access=Access.PUBLIC, produces="text/plain"),
            post("/v1/colours/{colour}/forget", self.forget),
        )


def test_a_row_says_what_the_handler_takes_and_answers() -> None:
    listed, painted, raw, forgotten = table([Colours()])
    assert (listed.signature.query, listed.signature.answer, listed.name) == (ColourQuery, Colour, "colours_list")
    assert (painted.signature.call, painted.signature.body, list(painted.signature.path)) == (True, Colour, ["colour"])
    assert (raw.signature.answer, forgotten.signature.answer) == (None, None)


def test_contradictions_are_refused() -> None:
    colours = Colours()
    with pytest.raises(TypeError, match="no parameter pigment"):
        get("/v1/colours/{pigment}", colours.list)
    with pytest.raises(TypeError, match=r"path has no \['colour'\]"):
        post("/v1/colours", colours.forget)
    with pytest.raises(TypeError, match="no body there"):
        get("/v1/colours/{colour}", colours.paint)
    with pytest.raises(TypeError, match="say what it produces"):
        get("/v1/raw", colours.raw)
    with pytest.raises(TypeError, match="not with a struct"):
        get("/v1/numbers", colours.numbers)
    with pytest.raises(TypeError, match="declared twice"):
        table([colours, colours])


def test_the_document_follows_the_structs() -> None:
    made = document(table([Colours()]))
    listed = made["paths"]["/v1/colours"]["get"]
    assert (listed["summary"], listed["description"], listed["x-scope"]) == ("Every colour.", "They fade.", "read")
    assert [(one["name"], one["in"]) for one in listed["parameters"]] == [
        ("warm", "query"),
        ("name", "query"),
        ("If-None-Match", "header"),
    ]
    assert listed["parameters"][0]["schema"] == {"type": "boolean"}
    assert listed["parameters"][1]["explode"]
    painted = made["paths"]["/v1/colours/{colour}"]["post"]
    assert painted["requestBody"]["required"]
    assert set(painted["responses"]) == {"201", "default"}
    assert made["components"]["schemas"]["Colour"]["properties"]["name"]["description"] == "As painters call it <b>."
    assert "security" not in made["paths"]["/v1/raw"]["get"]
    assert "ColourQuery" not in made["components"]["schemas"]
    told = made["webhooks"]["event"]["post"]
    assert told["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/WebhookMessage")
    assert made["components"]["schemas"]["WebhookMessage"]["properties"]["seq"]["description"]
    msgspec.json.encode(made)


def test_the_page_escapes_what_it_shows_and_fetches_nothing() -> None:
    page = render(document(table([Colours()])))
    assert "As painters call it &lt;b&gt;." in page
    assert "<script" not in page
    assert "http:" not in page
    assert "https:" not in page
