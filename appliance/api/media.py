"""/v1/media: list, show, and stream what is stored."""

from __future__ import annotations

import base64
import binascii
import http
import re
from typing import Final

from aiohttp import web

from appliance.api.http import answer, read_query
from appliance.media.index import MediaIndex
from appliance.media.store import ObjectStore, StoreError
from appliance.media.vault import Vault
from appliance.model import MediaView
from appliance.model_api import MediaPage, MediaQuery, PoisonList
from appliance.problems import invalid, not_found, problem, unavailable

CONTENT_PATH: Final = "/v1/media/{id}/content"
_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")
"""One range; several at once are answered with the whole (RFC 9110 allows it)."""


class MediaResource:
    def __init__(self, index: MediaIndex, store: ObjectStore, vault: Vault) -> None:
        self._index = index
        self._store = store
        self._vault = vault

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/media", self.list_media),
            web.get("/v1/media/set-aside", self.list_set_aside),
            web.get("/v1/media/{id}", self.show),
            web.delete("/v1/media/{id}", self.delete),
            web.put("/v1/media/{id}/pin", self.pin),
            web.delete("/v1/media/{id}/pin", self.unpin),
            web.get(CONTENT_PATH, self.content),
        ]

    async def list_media(self, request: web.Request) -> web.Response:
        query = read_query(request, MediaQuery)
        before = None if query.cursor is None else _decode_cursor(query.cursor)
        found = await self._index.search(
            query.session,
            query.category,
            before,
            query.limit + 1,
            kind=query.kind,
            text=query.text,
            since=query.since,
            until=query.until,
            pinned=query.pinned,
        )
        items = found[: query.limit]
        following = _encode_cursor(items[-1]) if len(found) > query.limit else None
        return answer(MediaPage(items=items, next=following))

    async def list_set_aside(self, _request: web.Request) -> web.Response:
        return answer(PoisonList(items=await self._index.poison()))

    async def show(self, request: web.Request) -> web.Response:
        return answer(await self._get(request))

    async def delete(self, request: web.Request) -> web.Response:
        """Remove the item, pinned or not; its content too, unless another item has the same."""
        view = await self._get(request)
        await self._vault.delete_item(view.id)
        return web.Response(status=http.HTTPStatus.NO_CONTENT)

    async def pin(self, request: web.Request) -> web.Response:
        return await self._pin(request, pinned=True)

    async def unpin(self, request: web.Request) -> web.Response:
        return await self._pin(request, pinned=False)

    async def _pin(self, request: web.Request, *, pinned: bool) -> web.Response:
        media_id = request.match_info["id"]
        view = await self._vault.pin(media_id, pinned=pinned)
        if view is None:
            raise not_found("media item", media_id, "List them: amda media list")
        return answer(view)

    async def content(self, request: web.Request) -> web.StreamResponse:
        """The stored bytes. Never shown by a browser as a page of ours: senders choose the content."""
        view = await self._get(request)
        start, end = _range(request.headers.get("Range"), view.size)
        partial = (start, end) != (0, view.size)
        response = web.StreamResponse(
            status=http.HTTPStatus.PARTIAL_CONTENT if partial else http.HTTPStatus.OK,
            headers={
                "Content-Type": _safe_type(view.mimetype),
                "Content-Length": str(end - start),
                "Content-Disposition": f'attachment; filename="{view.key.rpartition("/")[2]}"',
                "Accept-Ranges": "bytes",
                "ETag": f'"{view.sha256}"',
                "X-Content-Type-Options": "nosniff",
                "Content-Security-Policy": "sandbox",
            },
        )
        if partial:
            response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{view.size}"
        try:
            async for piece in self._store.get(view.key, start, end - start):
                if not response.prepared:
                    await response.prepare(request)
                await response.write(piece)
        except KeyError:
            raise problem("media-lost", "The file is gone", 410, f"The store has no object {view.key}.") from None
        except StoreError as error:
            raise unavailable(str(error), "Try again.") from error
        if not response.prepared:
            await response.prepare(request)
        await response.write_eof()
        return response

    async def _get(self, request: web.Request) -> MediaView:
        media_id = request.match_info["id"]
        view = await self._index.get(media_id)
        if view is None:
            raise not_found("media item", media_id, "List them: amda media list")
        return view


def _encode_cursor(view: MediaView) -> str:
    return base64.urlsafe_b64encode(f"{view.stored_at!r} {view.id}".encode()).decode()


def _decode_cursor(cursor: str) -> tuple[float, str]:
    try:
        stored_at, _, media_id = base64.urlsafe_b64decode(cursor).decode().partition(" ")
        return float(stored_at), media_id
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise invalid("cursor", "cursor: not one that this API gave out.", "Leave it out to begin anew.") from error


def _range(header: str | None, size: int) -> tuple[int, int]:
    """First byte and the one after the last. Raises ProblemError 416 if nothing of the range is there."""
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or not (match[1] or match[2]):
        return 0, size
    if match[1]:
        start, end = int(match[1]), min(int(match[2]) + 1, size) if match[2] else size
    else:
        start, end = max(0, size - int(match[2])), size
    if start >= end:
        raise problem("range", "Not in the file", 416, f"The file has {size} bytes.", field="Range")
    return start, end


def _safe_type(mimetype: str) -> str:
    """The type as a header value; what does not look like one is plain bytes."""
    plain = mimetype.partition(";")[0].strip()
    return plain if re.fullmatch(r"[\w.+-]+/[\w.+-]+", plain, re.ASCII) else "application/octet-stream"
