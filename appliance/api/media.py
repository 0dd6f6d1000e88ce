"""/v1/media: list, show, and stream what is stored."""

from __future__ import annotations

import base64
import binascii
import http
import re
from collections.abc import Callable, Sequence
from typing import Final

from aiohttp import web

from appliance.api.dispatch import has_it
from appliance.api.routes import Call, Route, delete, get, post, put
from appliance.media.aside import SetAside
from appliance.media.compression.compressor import Compressor
from appliance.media.index import MediaIndex
from appliance.media.store import StoreError
from appliance.media.vault import Vault
from appliance.model import MediaKind, MediaView
from appliance.model_api import (
    IntakeState,
    MediaDeleted,
    MediaDeletion,
    MediaPage,
    MediaQuery,
    PoisonList,
    ResourceId,
    SessionId,
)
from appliance.model_storage import MediaWaiting, Pixels, PixelsQuery
from appliance.problems import ProblemError, conflict, invalid, not_found, problem, unavailable

_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")
"""One range; several at once are answered with the whole (RFC 9110 allows it)."""


_DRAWN: Final = frozenset({MediaKind.IMAGE, MediaKind.STICKER})


class MediaResource:
    """`state`: how intake is."""

    def __init__(
        self,
        index: MediaIndex,
        vault: Vault,
        aside: SetAside,
        compressor: Compressor,
        state: Callable[[], IntakeState],
    ) -> None:
        self._index = index
        self._vault = vault
        self._aside = aside
        self._compressor = compressor
        self._state = state

    def routes(self) -> Sequence[Route]:
        return (
            get("/v1/media", self.list),
            get("/v1/media/waiting", self.waiting),
            get("/v1/media/set-aside", self.list_set_aside),
            post("/v1/media/set-aside/{session}/{item}/retry", self.retry),
            delete("/v1/media/set-aside/{session}/{item}", self.discard),
            get("/v1/media/{media}", self.show, own_session_check=True),
            post("/v1/media/delete", self.delete_several, own_session_check=True),
            delete("/v1/media/{media}", self.delete, own_session_check=True),
            put("/v1/media/{media}/pin", self.pin, own_session_check=True),
            delete("/v1/media/{media}/pin", self.unpin, own_session_check=True),
            get("/v1/media/{media}/pixels", self.pixels, own_session_check=True),
            get(
                "/v1/media/{media}/content",
                self.content,
                produces="*/*",
                also=(206,),
                endless=True,
                sized=True,
                headers=("Range", "If-Range", "If-None-Match"),
                own_session_check=True,
            ),
        )

    async def list(self, query: MediaQuery) -> MediaPage:
        """Stored items, newest first."""
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
        return MediaPage(items=items, next=following)

    async def waiting(self) -> MediaWaiting:
        """What was captured and is not stored: what waits in the spools, and what was set aside."""
        return MediaWaiting(
            state=self._state(), waiting=await self._aside.waiting(), set_aside=await self._index.poison()
        )

    async def retry(self, session: SessionId, item: ResourceId) -> None:
        """Take an item that was set aside in once more; if it is still wrong, it is set aside again."""
        await self._aside.retry(session, item)

    async def discard(self, session: SessionId, item: ResourceId) -> None:
        """Throw an item away that was set aside."""
        await self._aside.discard(session, item)

    async def list_set_aside(self) -> PoisonList:
        """Captured items that could not be stored because they are damaged."""
        return PoisonList(items=await self._index.poison())

    async def show(self, call: Call, media: ResourceId) -> MediaView:
        """One stored item."""
        return await self._get(call, media)

    async def delete(self, call: Call, media: ResourceId) -> None:
        """Remove the item, pinned or not; its content too, unless another item has the same."""
        view = await self._get(call, media)
        await self._vault.delete_item(view.id)

    async def delete_several(self, call: Call, body: MediaDeletion) -> MediaDeleted:
        """Remove many items at once, pinned or not."""
        missing = []
        for media in dict.fromkeys(body.ids):
            view = await self._index.get(media)
            mine = view is not None and call.caller.session in (None, view.session)
            if not mine or not await self._vault.delete_item(media):
                missing.append(media)
        return MediaDeleted(deleted=len(set(body.ids)) - len(missing), missing=missing)

    async def pin(self, call: Call, media: ResourceId) -> MediaView:
        """No pruning takes it."""
        return await self._pin(call, media, pinned=True)

    async def unpin(self, call: Call, media: ResourceId) -> MediaView:
        """Pruning may take it again."""
        return await self._pin(call, media, pinned=False)

    async def _pin(self, call: Call, media: str, *, pinned: bool) -> MediaView:
        await self._get(call, media)
        view = await self._vault.pin(media, pinned=pinned)
        if view is None:
            raise not_found("media item", media, "List them: amda media list")
        return view

    async def content(self, call: Call, media: ResourceId) -> web.StreamResponse:
        """The stored bytes, or a range of them; with `If-None-Match`, nothing if the client has them.

        A browser never shows them as a page of ours: senders choose the content.
        """
        request = call.request
        view = await self._get(call, media)
        tag = f'"{view.stored_sha256}"'
        if has_it(request, tag):
            return web.Response(status=http.HTTPStatus.NOT_MODIFIED, headers={"ETag": tag})
        same = request.headers.get("If-Range", tag) == tag  # of other bytes, the client has no use for a part
        start, end = _range(request.headers.get("Range") if same else None, view.size)
        partial = (start, end) != (0, view.size)
        response = web.StreamResponse(
            status=http.HTTPStatus.PARTIAL_CONTENT if partial else http.HTTPStatus.OK,
            headers={
                "Content-Type": _safe_type(view.mimetype),
                "Content-Length": str(end - start),
                "Content-Disposition": f'attachment; filename="{view.key.rpartition("/")[2]}"',
                "Accept-Ranges": "bytes",
                "ETag": tag,
                "X-Content-Type-Options": "nosniff",
                "Content-Security-Policy": "sandbox",
            },
        )
        if partial:
            response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{view.size}"
        if request.method == "HEAD":
            await response.prepare(request)
            return response
        try:
            async for piece in self._vault.store.get(view.key, start, end - start):
                if not response.prepared:
                    await response.prepare(request)
                await response.write(piece)
        except KeyError:
            raise _lost(view) from None
        except StoreError as error:
            raise unavailable(str(error), "Try again.") from error
        if not response.prepared:
            await response.prepare(request)
        await response.write_eof()
        return response

    async def pixels(self, call: Call, media: ResourceId, query: PixelsQuery) -> Pixels:
        """What a stored picture looks like, within a width and height: drawn in a process that can do nothing else."""
        view = await self._get(call, media)
        if view.kind not in _DRAWN:
            raise no_picture(media)
        try:
            found = await self._compressor.pixels(
                self._vault.store.get(view.key, 0, view.size), (query.width, query.height)
            )
        except KeyError:
            raise _lost(view) from None
        except StoreError as error:
            raise unavailable(str(error), "Try again.") from error
        except OSError as error:
            raise unavailable(f"The picture cannot be drawn: {error.strerror}.", "Try again.") from error
        if found is None:
            raise no_picture(media)
        return found

    async def _get(self, call: Call, media: str) -> MediaView:
        view = await self._index.get(media)
        if view is None:
            raise not_found("media item", media, "List them: amda media list")
        call.caller.must_own(view.session, "media item", media)
        return view


def no_picture(media: str) -> ProblemError:
    """409."""
    return conflict(f"{media} is no picture that can be drawn.", f"Save it: amda media export {media}")


def _lost(view: MediaView) -> ProblemError:
    return problem("media-lost", "The file is gone", 410, f"The store has no object {view.key}.")


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
