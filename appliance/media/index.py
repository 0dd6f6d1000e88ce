"""The index of stored media: which item lies under which key, and which content is stored already."""

from __future__ import annotations

import sqlite3
import uuid
from typing import Any, Final

import msgspec

from appliance.database import Database
from appliance.media.compression.outcome import Treatment
from appliance.model import Category, MediaKind, MediaView, mask_phone
from appliance.model_api import PoisonView
from appliance.protocol import SpoolItem

PAGE_LIMIT: Final = 500
"""Most items that one page of a listing holds."""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored for one session."""

    count: int = 0
    size: int = 0
    """As stored: content that several items share counts once."""


class StoredAs(msgspec.Struct, frozen=True, kw_only=True):
    """The bytes that stand for an item in the store."""

    size: int
    sha256: str
    mimetype: str
    treatment: str = Treatment.ORIGINAL.value


class MediaIndex:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def find_item(self, item: SpoolItem) -> str | None:
        """Id of the stored item that is the same: session, category, message and content."""
        row = await self._database.fetch_one(
            "SELECT id FROM media WHERE session = ? AND category = ? AND message_id = ? AND sha256 = ?",
            (item.session, item.category, item.message_id, item.sha256),
        )
        return None if row is None else str(row["id"])

    async def find_object(self, session: str, sha256: str) -> str | None:
        """Key under which a session's content is stored already."""
        row = await self._database.fetch_one(
            "SELECT key FROM objects WHERE session = ? AND sha256 = ?", (session, sha256)
        )
        return None if row is None else str(row["key"])

    async def add(self, item: SpoolItem, key: str, stored: StoredAs, now: float) -> MediaView:
        """Record a stored item, and its object if that is new: then it is no longer pending. Durable on return."""
        media_id, mimetype = uuid.uuid4().hex, stored.mimetype
        async with self._database.transaction() as connection:
            before = await connection.execute_fetchall("SELECT mimetype FROM media WHERE key = ? LIMIT 1", (key,))
            for row in before:  # what is there already decides what it is
                mimetype = row["mimetype"]
            await connection.execute(
                "INSERT OR IGNORE INTO objects (key, session, sha256, size, stored_at, original_size, stored_sha256,"
                " treatment) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (key, item.session, item.sha256, stored.size, now, item.size, stored.sha256, stored.treatment),
            )
            await connection.execute("DELETE FROM pending_objects WHERE key = ?", (key,))
            await connection.execute(
                "INSERT INTO media (id, session, category, kind, mimetype, size, sha256, key, message_id, chat, sender,"
                " sent_at, captured_at, stored_at, caption, file_name, via)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(media_id, item.session, item.category, item.kind, mimetype, item.size, item.sha256, key),
                    *(item.message_id, item.chat, item.sender, item.sent_at, item.captured_at, now),
                    *(item.caption, item.file_name, item.via),
                ),
            )
        view = await self.get(media_id)
        assert view is not None  # noqa: S101 - committed above
        return view

    async def get(self, media_id: str) -> MediaView | None:
        rows = await self._database.fetch_all(_WITH_OBJECT.format("SELECT * FROM media WHERE id = ?"), (media_id,))
        return _view(rows[0]) if rows else None

    async def search(
        self,
        session: str | None = None,
        category: Category | None = None,
        before: tuple[float, str] | None = None,
        limit: int = 100,
        *,
        kind: MediaKind | None = None,
        text: str | None = None,
        since: float | None = None,
        until: float | None = None,
        pinned: bool | None = None,
    ) -> list[MediaView]:
        """Newest first; `before`: (stored_at, id) of the last item of the page before. `text` is looked for in caption,
        file name, sender, chat and message id; `since` and `until` are times of sending. The list is shared."""
        conditions, values = ["1"], list[Any]()
        for condition, value in (
            ("session = ?", session),
            ("category = ?" if session is None else "+category = ?", category),  # + : by the session's index
            ("kind = ?", kind),
            ("sent_at >= ?", since),
            ("sent_at < ?", until),
            ("pinned = ?", pinned),
        ):
            if value is not None:
                conditions.append(condition)
                values.append(value)
        if text is not None:
            fields = ("caption", "file_name", "sender", "chat", "message_id")
            conditions.append(f"({' OR '.join(f'instr(lower({field}), ?)' for field in fields)})")
            values += [text.lower()] * len(fields)
        if before is not None:
            conditions.append("(stored_at, id) < (?, ?)")
            values += before
        page = f"SELECT * FROM media WHERE {' AND '.join(conditions)} ORDER BY stored_at DESC, id DESC LIMIT ?"  # noqa: S608
        return await self._database.fetch_shared_as(_view, _WITH_OBJECT.format(page), (*values, limit))

    async def pin(self, media_id: str, *, pinned: bool) -> MediaView | None:
        """Protect an item from pruning, or no longer; None: there is no such item."""
        await self._database.execute("UPDATE media SET pinned = ? WHERE id = ?", (pinned, media_id))
        return await self.get(media_id)

    async def usage(self, session: str | None = None) -> dict[str, Usage]:
        """Number of items and stored bytes by session, of all or of one."""
        rows = await self._database.fetch_shared(
            "SELECT session, sum(refs) AS count, sum(size) AS size FROM objects"
            " WHERE ?1 IS NULL OR session = ?1 GROUP BY session",
            (session,),
        )
        return {row["session"]: Usage(count=row["count"], size=row["size"]) for row in rows}

    async def forget_session(self, session: str) -> None:
        """Drop what is recorded of a session beside its contents."""
        async with self._database.transaction() as connection:
            for table in ("poison", "refusals"):
                await connection.execute(f"DELETE FROM {table} WHERE session = ?", (session,))  # noqa: S608

    async def add_poison(self, found: PoisonView) -> None:
        await self._database.execute(
            "INSERT OR REPLACE INTO poison (session, item, reason, folder, at) VALUES (?, ?, ?, ?, ?)",
            (found.session, found.item, found.reason, found.folder, found.at),
        )

    async def find_poison(self, session: str, item: str) -> PoisonView | None:
        row = await self._database.fetch_one("SELECT * FROM poison WHERE session = ? AND item = ?", (session, item))
        return None if row is None else PoisonView(**dict(row))

    async def forget_poison(self, session: str, item: str) -> None:
        await self._database.execute("DELETE FROM poison WHERE session = ? AND item = ?", (session, item))

    async def poison(self) -> list[PoisonView]:
        """Items that were set aside, newest first."""
        rows = await self._database.fetch_all("SELECT * FROM poison ORDER BY at DESC LIMIT ?", (PAGE_LIMIT,))
        return [PoisonView(**dict(row)) for row in rows]


_WITH_OBJECT: Final = (
    "SELECT page.*, objects.size AS stored_size, stored_sha256, treatment FROM ({}) AS page"
    " JOIN objects ON objects.key = page.key ORDER BY page.stored_at DESC, page.id DESC"
)
"""Items with what the store holds for them."""


def mask_jid(jid: str) -> str:
    """Mask the parts of a JID that are phone numbers: the user of s.whatsapp.net, and the founder's number in the id
    of an old group. LIDs are no phone numbers.

    >>> mask_jid("221771234512:3@s.whatsapp.net"), mask_jid("221771234512-1466@g.us"), mask_jid("status@broadcast")
    ('+22177·····12@s.whatsapp.net', '+22177·····12-1466@g.us', 'status@broadcast')
    """
    user, at, server = jid.partition("@")
    if server == "g.us":
        founder, dash, rest = user.partition("-")
        return f"{mask_phone(founder)}-{rest}@{server}" if dash else jid
    if server not in ("s.whatsapp.net", "c.us", "hosted", ""):
        return jid
    user = user.partition(":")[0]
    return mask_phone(user) + at + server if user.lstrip("+").isdigit() else jid


def _view(row: sqlite3.Row) -> MediaView:
    return MediaView(
        id=row["id"],
        session=row["session"],
        category=Category(row["category"]),
        kind=MediaKind(row["kind"]),
        mimetype=row["mimetype"],
        size=row["stored_size"],
        sha256=row["sha256"],
        key=row["key"],
        message_id=row["message_id"],
        chat=mask_jid(row["chat"]),
        sender=mask_jid(row["sender"]),
        sent_at=row["sent_at"],
        stored_at=row["stored_at"],
        caption=row["caption"],
        pinned=bool(row["pinned"]),
        original_size=row["size"],
        stored_sha256=row["stored_sha256"],
        treatment=row["treatment"],
    )
