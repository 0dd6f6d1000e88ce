"""The store has quotas: contents know who refers to them, what is on its way counts, and removals are recorded.

References and pins are counted by triggers, so that no code path can forget it.
"""

from __future__ import annotations

from typing import Final

SQL: Final = """
ALTER TABLE media ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;
CREATE INDEX media_by_category ON media (category, stored_at);

ALTER TABLE objects ADD COLUMN refs INTEGER NOT NULL DEFAULT 0;          -- items that refer to it
ALTER TABLE objects ADD COLUMN pins INTEGER NOT NULL DEFAULT 0;          -- of these, pinned ones
ALTER TABLE objects ADD COLUMN newest_at REAL NOT NULL DEFAULT 0;        -- when the newest of them was stored
ALTER TABLE objects ADD COLUMN original_size INTEGER NOT NULL DEFAULT 0; -- as downloaded
ALTER TABLE objects ADD COLUMN stored_sha256 TEXT NOT NULL DEFAULT '';   -- of the bytes as stored
ALTER TABLE objects ADD COLUMN treatment TEXT NOT NULL DEFAULT 'original';
ALTER TABLE objects ADD COLUMN category TEXT AS (substr(key, 1, instr(key, '/') - 1)) VIRTUAL;
UPDATE objects SET
    original_size = size,
    stored_sha256 = sha256,
    refs = (SELECT count(*) FROM media WHERE media.key = objects.key),
    newest_at = coalesce((SELECT max(stored_at) FROM media WHERE media.key = objects.key), stored_at);
CREATE INDEX objects_by_age ON objects (session, newest_at) WHERE pins = 0;
CREATE INDEX objects_in_sum ON objects (session, category, newest_at, size, original_size, refs, pins);
CREATE INDEX objects_by_time ON objects (stored_at, size);  -- all that sums need: a tenth of the table's pages

CREATE TRIGGER media_added AFTER INSERT ON media BEGIN
    UPDATE objects SET refs = refs + 1, pins = pins + new.pinned, newest_at = max(newest_at, new.stored_at)
    WHERE key = new.key;
END;
CREATE TRIGGER media_removed AFTER DELETE ON media BEGIN
    UPDATE objects SET refs = refs - 1, pins = pins - old.pinned WHERE key = old.key;
END;
CREATE TRIGGER media_pinned AFTER UPDATE OF pinned ON media BEGIN
    UPDATE objects SET pins = pins + new.pinned - old.pinned WHERE key = new.key;
END;

CREATE TABLE pending_objects (                -- may or may not lie in the store; counts as if it did
    key     TEXT PRIMARY KEY,
    session TEXT NOT NULL,
    size    INTEGER NOT NULL,
    at      REAL NOT NULL,
    upload  INTEGER NOT NULL DEFAULT 0        -- of an upload there may be parts that no listing shows
) WITHOUT ROWID;

CREATE TABLE moved_objects (                  -- copied to another store and compared, while all media moves there
    key     TEXT NOT NULL,
    target  TEXT NOT NULL,
    PRIMARY KEY (key, target)
) WITHOUT ROWID;

CREATE TABLE removals (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         REAL NOT NULL,
    reason     TEXT NOT NULL,
    session    TEXT NOT NULL,
    category   TEXT NOT NULL,
    media_id   TEXT NOT NULL,
    message_id TEXT NOT NULL,
    kind       TEXT NOT NULL,
    size       INTEGER NOT NULL,              -- of its content as stored
    stored_at  REAL NOT NULL
);
CREATE INDEX removals_by_time ON removals (at);

CREATE TABLE refusals (                       -- captured, and not stored for want of room: only the reference is left
    session     TEXT NOT NULL,
    item        TEXT NOT NULL,
    at          REAL NOT NULL,
    reason      TEXT NOT NULL,
    description TEXT NOT NULL,                -- JSON of appliance.protocol.SpoolItem
    PRIMARY KEY (session, item)
) WITHOUT ROWID;
CREATE INDEX refusals_by_time ON refusals (at);
"""
