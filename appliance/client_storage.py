"""The client's calls about stored media and storage; `client.ApplianceClient` has them all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

from appliance.client_wire import Calls, query_of
from appliance.model import Category, MediaKind, MediaView, SessionView
from appliance.model_api import MediaPage
from appliance.model_backup import BackupView, RestoreSession
from appliance.model_storage import (
    CheckRequest,
    CleanupRequest,
    JobView,
    MediaWaiting,
    MoveRequest,
    Pixels,
    PruneReport,
    PruneRequest,
    Refusal,
    RefusalList,
    Removal,
    RemovalList,
    StorageJob,
    StorageUsage,
)


class StorageCalls(Calls):
    """Mixed into the client, which says how a request is made."""

    async def backup(self) -> BackupView:
        """How backups are."""
        return await self._call("GET", "/v1/backup", BackupView)

    async def restore_session(self, session: str, order: RestoreSession) -> SessionView:
        """Have it take over a store that lies in its folder and came out of a backup."""
        return await self._call("POST", f"/v1/sessions/{session}/restore", SessionView, order)

    async def search_media(
        self,
        *,
        session: str | None = None,
        category: Category | None = None,
        kind: MediaKind | None = None,
        text: str | None = None,
        since: float | None = None,
        until: float | None = None,
        pinned: bool | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> MediaPage:
        """One page of what matches all that is given, newest first; times are those of sending."""
        query = query_of(
            session=session,
            category=category,
            kind=kind,
            text=text,
            since=since,
            until=until,
            pinned=None if pinned is None else str(pinned).lower(),
            limit=limit,
            cursor=cursor,
        )
        return await self._call("GET", "/v1/media", MediaPage, None, query)

    async def all_matching_media(
        self,
        *,
        session: str | None = None,
        category: Category | None = None,
        kind: MediaKind | None = None,
        since: float | None = None,
        until: float | None = None,
    ) -> AsyncIterator[MediaView]:
        """Every item that matches, newest first, page by page."""
        cursor = None
        while True:
            page = await self.search_media(
                session=session, category=category, kind=kind, since=since, until=until, limit=500, cursor=cursor
            )
            for item in page.items:
                yield item
            if (cursor := page.next) is None:
                return

    async def pin_media(self, media: str, *, pinned: bool = True) -> MediaView:
        """What is pinned is never pruned."""
        return await self._call("PUT" if pinned else "DELETE", f"/v1/media/{media}/pin", MediaView)

    async def media_pixels(self, media: str, width: int, height: int) -> Pixels:
        """What a stored picture looks like, as many pixels as fit; 409 if it is none that can be drawn."""
        query = {"width": str(width), "height": str(height)}
        return await self._call("GET", f"/v1/media/{media}/pixels", Pixels, None, query)

    async def media_waiting(self) -> MediaWaiting:
        """What was captured and is not stored."""
        return await self._call("GET", "/v1/media/waiting", MediaWaiting)

    async def retry_media(self, session: str, item: str) -> None:
        """Take in once more what was set aside."""
        async with self._request("POST", f"/v1/media/set-aside/{session}/{item}/retry", {}):
            pass

    async def discard_media(self, session: str, item: str) -> None:
        """Throw away what was set aside."""
        async with self._request("DELETE", f"/v1/media/set-aside/{session}/{item}", {}):
            pass

    async def delete_media(self, media: str) -> None:
        """Remove one item, pinned or not."""
        async with self._request("DELETE", f"/v1/media/{media}", {}):
            pass

    async def storage(self) -> StorageUsage:
        return await self._call("GET", "/v1/storage", StorageUsage)

    async def prune(self, request: PruneRequest) -> PruneReport:
        return await self._call("POST", "/v1/storage/prune", PruneReport, request)

    async def begin_prune(self, request: PruneRequest) -> StorageJob:
        """Begin; follow it with `prune_job`."""
        return await self._call("POST", "/v1/storage/prune/job", StorageJob, request)

    async def prune_job(self) -> StorageJob | None:
        """The prune that is under way, or the last one since the daemon started."""
        return (await self._call("GET", "/v1/storage/prune/job", JobView)).job

    async def stop_prune(self) -> StorageJob | None:
        """Leave the rest; the job ends soon after."""
        return (await self._call("DELETE", "/v1/storage/prune/job", JobView)).job

    async def removals(self, limit: int = 100) -> list[Removal]:
        """What is no longer stored, newest first."""
        found = await self._call("GET", "/v1/storage/removals", RemovalList, None, {"limit": str(limit)})
        return found.items

    async def refusals(self, limit: int = 100) -> list[Refusal]:
        """What could not be stored for want of room, newest first."""
        found = await self._call("GET", "/v1/storage/refusals", RefusalList, None, {"limit": str(limit)})
        return found.items

    async def check_storage(self, *, repair: bool = False, hashes: bool = False) -> StorageJob:
        """Begin; follow it with `storage_job`."""
        return await self._call("POST", "/v1/storage/check", StorageJob, CheckRequest(repair=repair, hashes=hashes))

    async def clean_storage(self, *, dry_run: bool = False) -> StorageJob:
        """Begin; follow it with `storage_job`."""
        return await self._call("POST", "/v1/storage/cleanup", StorageJob, CleanupRequest(dry_run=dry_run))

    async def move_storage(self, to: Literal["folder", "s3"], *, remove_old: bool = False) -> StorageJob:
        """Begin; follow it with `storage_job`."""
        return await self._call("POST", "/v1/storage/move", StorageJob, MoveRequest(to=to, remove_old=remove_old))

    async def storage_job(self) -> StorageJob | None:
        """The check, cleanup or move that is under way, or the last one since the daemon started."""
        return (await self._call("GET", "/v1/storage/job", JobView)).job
