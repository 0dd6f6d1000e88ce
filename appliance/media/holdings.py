"""What is held, for whom, and what may go: the part of the index that quotas and pruning are decided by.

A key that is in `pending_objects` may or may not lie in the store, and counts as if it did: a row is written before an
upload begins and, in one transaction with the removal of the items, before a deletion begins.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from appliance.database import Database
from appliance.media.policy import Holding
from appliance.model import Category, MediaKind
from appliance.model_storage import Refusal, Removal, UsageRow
from appliance.protocol import SpoolItem

_AGE_LIMITS_S: Final = (86_400.0, 7 * 86_400.0, 30 * 86_400.0)
"""Ages by which usage is told apart: a day, a week, a month, and older."""
AGE_STEP_S: Final = 60.0
_KIND: Final = "storage.kind"
"""Row of `meta`: in which kind of store everything that is held lies."""
REMOVALS_KEPT: Final = 200_000
"""Rows of about 200 bytes: 40 MB; at a thousand removals a day, half a year."""
NOTES_KEPT: Final = 10_000
"""Rows of about a kilobyte, of what was refused or set aside: whoever looks at none of so many looks at no more."""


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """A key whose upload or deletion has begun, and nobody has yet recorded its end."""

    key: str
    session: str
    size: int
    upload: bool = False
    """Whether it may be an upload that was broken off; otherwise an object that is to be deleted."""


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """An object that must be in the store."""

    key: str
    size: int
    sha256: str
    """Of the bytes as stored."""
    stored_at: float
    listed: bool = False
    """Whether the store lists it, with whatever size."""


class CategorySum(msgspec.Struct, frozen=True, kw_only=True):
    """What is held of one category."""

    objects: int
    size: int


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which holdings; a content counts as old, or as of a category, only if every item that refers to it is."""

    session: str | None = None
    category: Category | None = None
    older_than: float | None = None
    """Seconds since the epoch."""


class Holdings:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def used(self) -> dict[str, int]:
        """Bytes held by session, what is pending included."""
        rows = await self._database.fetch_all(
            "SELECT session, sum(size) AS size FROM (SELECT session, size FROM objects"
            " UNION ALL SELECT session, size FROM pending_objects) GROUP BY session"
        )
        return {row["session"]: int(row["size"]) for row in rows}

    async def usage(self, now: float) -> list[UsageRow]:
        """By session, category and age."""
        day, week, month = (_step(now - limit) for limit in _AGE_LIMITS_S)
        rows = await self._database.fetch_shared(
            "SELECT session, category, CASE WHEN newest_at >= ? THEN 'day' WHEN newest_at >= ? THEN 'week'"
            " WHEN newest_at >= ? THEN 'month' ELSE 'older' END AS age, sum(refs) AS items, count(*) AS objects,"
            " sum(size) AS size, sum(original_size) AS original_size,"
            " sum(CASE WHEN pins > 0 THEN size ELSE 0 END) AS pinned FROM objects GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
            (day, week, month),
        )
        return [UsageRow(**dict(row)) for row in rows]

    async def by_category(self) -> dict[Category, CategorySum]:
        """Contents and bytes as stored, for metrics."""
        rows = await self._database.fetch_shared(
            "SELECT category, count(*) AS objects, sum(size) AS size FROM objects GROUP BY category"
        )
        return {Category(row["category"]): CategorySum(objects=row["objects"], size=row["size"]) for row in rows}

    async def stored_since(self, since: float) -> int:
        """Bytes that came since then and are still there, and those that were removed since then."""
        rows = await self._database.fetch_shared(
            "SELECT (SELECT coalesce(sum(size), 0) FROM objects WHERE stored_at >= ?1)"
            " + (SELECT coalesce(sum(size), 0) FROM removals WHERE at >= ?1 AND stored_at >= ?1) AS size",
            (_step(since),),
        )
        return int(rows[0]["size"])

    async def pending(self) -> list[Pending]:
        rows = await self._database.fetch_all("SELECT key, session, size, upload FROM pending_objects")
        return [Pending(**{**dict(row), "upload": bool(row["upload"])}) for row in rows]

    async def reserve(self, wanted: Pending, now: float) -> None:
        """Raises sqlite3.IntegrityError if the key is pending already."""
        await self._database.execute(
            "INSERT INTO pending_objects (key, session, size, at, upload) VALUES (?, ?, ?, ?, ?)",
            (wanted.key, wanted.session, wanted.size, now, wanted.upload),
        )

    async def expect_gone(self, found: Sequence[Pending], now: float) -> None:
        """These objects, which no item refers to, are about to be deleted."""
        async with self._database.transaction() as connection:
            await connection.executemany(
                "INSERT INTO pending_objects (key, session, size, at) VALUES (?, ?, ?, ?)",
                [(stray.key, stray.session, stray.size, now) for stray in found],
            )

    async def known(self, keys: Sequence[str]) -> dict[str, int]:
        """Those of `keys` that are contents of the index, with their bytes as stored."""
        rows = await self._database.fetch_all(
            "SELECT key, size FROM objects WHERE key IN (SELECT value FROM json_each(?))", (_json(keys),)
        )
        return {row["key"]: row["size"] for row in rows}

    async def contents_after(self, key: str, limit: int) -> list[Content]:
        """The contents whose keys follow `key`, in the order of their bytes."""
        rows = await self._database.fetch_all(
            "SELECT key, size, stored_sha256, stored_at FROM objects WHERE key > ? ORDER BY key LIMIT ?", (key, limit)
        )
        return _contents(rows)

    async def not_moved(self, target: str, key: str, limit: int) -> list[Content]:
        """The contents whose keys follow `key` and that were not yet copied to `target` and compared."""
        rows = await self._database.fetch_all(
            "SELECT key, size, stored_sha256, stored_at FROM objects o WHERE key > ? AND NOT EXISTS"
            " (SELECT 1 FROM moved_objects m WHERE m.key = o.key AND m.target = ?) ORDER BY key LIMIT ?",
            (key, target, limit),
        )
        return _contents(rows)

    async def bytes_not_moved(self, target: str) -> int:
        row = await self._database.fetch_one(
            "SELECT coalesce(sum(size), 0) AS bytes FROM objects o WHERE NOT EXISTS"
            " (SELECT 1 FROM moved_objects m WHERE m.key = o.key AND m.target = ?)",
            (target,),
        )
        return 0 if row is None else int(row["bytes"])

    async def note_moved(self, target: str, keys: Sequence[str]) -> None:
        async with self._database.transaction() as connection:
            await connection.executemany(
                "INSERT OR IGNORE INTO moved_objects (key, target) VALUES (?, ?)", [(key, target) for key in keys]
            )

    async def forget_moves(self, keys: Sequence[str] | None = None) -> None:
        """What was copied where: of `keys`, or of all."""
        if keys is None:
            await self._database.execute("DELETE FROM moved_objects")
        else:
            await self._database.execute(
                "DELETE FROM moved_objects WHERE key IN (SELECT value FROM json_each(?))", (_json(keys),)
            )

    async def count(self) -> int:
        """Contents."""
        row = await self._database.fetch_one("SELECT count(*) AS number FROM objects")
        return int(row["number"]) if row else 0

    async def kind(self) -> str | None:
        """The kind of store that media lies in; None: nothing was ever stored, or nothing is left."""
        row = await self._database.fetch_one(
            "SELECT value FROM meta WHERE key = ? AND"
            " (EXISTS (SELECT 1 FROM objects) OR EXISTS (SELECT 1 FROM pending_objects))",
            (_KIND,),
        )
        return None if row is None else str(row["value"])

    async def set_kind(self, kind: str) -> None:
        await self._database.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (_KIND, kind))

    async def settle(self, keys: Sequence[str]) -> None:
        """These keys are gone from the store for sure."""
        async with self._database.transaction() as connection:
            await connection.executemany("DELETE FROM pending_objects WHERE key = ?", [(key,) for key in keys])

    async def expired(self, keep_s: Mapping[Category, float], now: float) -> list[Holding]:
        """Unpinned contents whose every item has passed the age of its category."""
        case = " ".join("WHEN ? THEN ?" for _ in keep_s)
        ages: list[Any] = []
        for category, seconds in keep_s.items():
            ages += (category.value, now - seconds)
        young = f"SELECT 1 FROM media m WHERE m.key = o.key AND m.stored_at >= CASE m.category {case} END"  # noqa: S608
        rows = await self._database.fetch_all(
            f"SELECT key, session, size, newest_at FROM objects o WHERE pins = 0 AND newest_at < ?"  # noqa: S608
            f" AND NOT EXISTS ({young})"
            " ORDER BY newest_at, key",
            (now - min(keep_s.values()), *ages),
        )
        return _holdings(rows)

    async def candidates(self, wanted: Filter) -> list[Holding]:
        """Unpinned contents, oldest first."""
        conditions, values = ["pins = 0"], list[Any]()
        if wanted.session is not None:
            conditions.append("session = ?")
            values.append(wanted.session)
        if wanted.older_than is not None:
            conditions.append("newest_at < ?")
            values.append(wanted.older_than)
        if wanted.category is not None:
            other = "SELECT 1 FROM media WHERE media.key = objects.key AND media.category <> ?"
            conditions.append(f"NOT EXISTS ({other})")
            values.append(wanted.category.value)
        rows = await self._database.fetch_all(
            f"SELECT key, session, size, newest_at FROM objects WHERE {' AND '.join(conditions)}"  # noqa: S608
            " ORDER BY newest_at, key",
            values,
        )
        return _holdings(rows)

    async def release(
        self, keys: Sequence[str], reason: str, now: float, *, even_pinned: bool = False
    ) -> list[Holding]:
        """Drop contents with every item that refers to them, record each, and leave the keys pending; in one
        transaction. What was pinned meanwhile stays. Returns what has to be deleted from the store."""
        async with self._database.transaction() as connection:
            rows = await connection.execute_fetchall(
                "SELECT key, session, size, newest_at FROM objects"
                " WHERE key IN (SELECT value FROM json_each(?)) AND (? OR pins = 0)",
                (_json(keys), even_pinned),
            )
            released = _holdings(rows)
            chosen = _json([holding.key for holding in released])
            # Several items of one content: its bytes are counted with one of them, as in `release_item`.
            await connection.execute(
                "INSERT INTO removals (at, reason, session, category, media_id, message_id, kind, size, stored_at)"
                " SELECT ?, ?, m.session, m.category, m.id, m.message_id, m.kind,"
                " CASE WHEN m.id = (SELECT max(id) FROM media WHERE key = m.key) THEN o.size ELSE 0 END, m.stored_at"
                " FROM media m JOIN objects o ON o.key = m.key WHERE m.key IN (SELECT value FROM json_each(?))",
                (now, reason, chosen),
            )
            await connection.execute(
                "INSERT INTO pending_objects (key, session, size, at)"
                " SELECT key, session, size, ? FROM objects WHERE key IN (SELECT value FROM json_each(?))",
                (now, chosen),
            )
            await connection.execute("DELETE FROM media WHERE key IN (SELECT value FROM json_each(?))", (chosen,))
            await connection.execute("DELETE FROM objects WHERE key IN (SELECT value FROM json_each(?))", (chosen,))
        return released

    async def release_item(self, media_id: str, reason: str, now: float) -> list[Holding]:
        """Drop one item, pinned or not, and record it; its content goes with it unless others refer to it."""
        async with self._database.transaction() as connection:
            rows = await connection.execute_fetchall(
                "SELECT objects.key, objects.session, objects.size, newest_at, refs FROM objects"
                " JOIN media ON media.key = objects.key WHERE media.id = ?",
                (media_id,),
            )
            found = _holdings(rows)
            if not found:
                return []
            last = next(iter(rows))["refs"] == 1
            await connection.execute(
                "INSERT INTO removals (at, reason, session, category, media_id, message_id, kind, size, stored_at)"
                " SELECT ?, ?, session, category, id, message_id, kind, ?, stored_at FROM media WHERE id = ?",
                (now, reason, found[0].size if last else 0, media_id),
            )
            await connection.execute("DELETE FROM media WHERE id = ?", (media_id,))
            if not last:
                return []
            await connection.execute("DELETE FROM objects WHERE key = ?", (found[0].key,))
            await connection.execute(
                "INSERT INTO pending_objects (key, session, size, at) VALUES (?, ?, ?, ?)",
                (found[0].key, found[0].session, found[0].size, now),
            )
        return found

    async def keys_of(self, session: str) -> list[str]:
        rows = await self._database.fetch_all("SELECT key FROM objects WHERE session = ?", (session,))
        return [str(row["key"]) for row in rows]

    async def removals(self, limit: int) -> list[Removal]:
        """Newest first."""
        rows = await self._database.fetch_all("SELECT * FROM removals ORDER BY id DESC LIMIT ?", (limit,))
        return [
            Removal(
                at=row["at"],
                reason=row["reason"],
                session=row["session"],
                category=Category(row["category"]),
                media=row["media_id"],
                message_id=row["message_id"],
                kind=MediaKind(row["kind"]),
                size=row["size"],
                stored_at=row["stored_at"],
            )
            for row in rows
        ]

    async def trim_records(self) -> None:
        """Forget the oldest of what was only noted: removals, refusals, why something was set aside."""
        await self._database.execute(
            "DELETE FROM removals WHERE id <= (SELECT max(id) FROM removals) - ?", (REMOVALS_KEPT,)
        )
        for table in ("refusals", "poison"):
            await self._database.execute(
                f"DELETE FROM {table} WHERE (session, item) IN"  # noqa: S608 - names of ours
                f" (SELECT session, item FROM {table} ORDER BY at DESC LIMIT -1 OFFSET ?)",
                (NOTES_KEPT,),
            )

    async def refuse(self, item: SpoolItem, reason: str, now: float) -> None:
        """Keep the reference of what could not be stored."""
        await self._database.execute(
            "INSERT OR REPLACE INTO refusals (session, item, at, reason, description) VALUES (?, ?, ?, ?, ?)",
            (item.session, item.item, now, reason, msgspec.json.encode(item).decode()),
        )

    async def refusals(self, limit: int) -> list[Refusal]:
        """Newest first."""
        rows = await self._database.fetch_all("SELECT * FROM refusals ORDER BY at DESC LIMIT ?", (limit,))
        return [_refusal(row) for row in rows]


def _step(at: float) -> float:
    """Ages are told in days: within `AGE_STEP_S` everybody asks the same question, and it is answered once."""
    return at // AGE_STEP_S * AGE_STEP_S


def _json(keys: Sequence[str]) -> str:
    """For `json_each`: any number of keys in one parameter."""
    return msgspec.json.encode(keys).decode()


def _holdings(rows: Iterable[sqlite3.Row]) -> list[Holding]:
    return [
        Holding(key=row["key"], session=row["session"], size=row["size"], newest_at=row["newest_at"]) for row in rows
    ]


def _contents(rows: Iterable[sqlite3.Row]) -> list[Content]:
    return [
        Content(key=row["key"], size=row["size"], sha256=row["stored_sha256"], stored_at=row["stored_at"])
        for row in rows
    ]


def _refusal(row: sqlite3.Row) -> Refusal:
    item = msgspec.json.decode(row["description"], type=SpoolItem)
    return Refusal(
        at=row["at"],
        reason=row["reason"],
        session=item.session,
        category=Category(item.category),
        kind=item.kind,
        size=item.size,
        sha256=item.sha256,
        message_id=item.message_id,
        sent_at=item.sent_at,
    )
