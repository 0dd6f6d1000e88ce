"""Tables of a capture store. The store lives as long as its linking; it is never migrated in place by a running worker,
so `SCHEMA_VERSION` only says whether this release can read it."""

from typing import Final

SCHEMA_VERSION: Final = 1

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
-- Raw engine events, written in the engine's callback, deleted in the transaction that has judged them.
CREATE TABLE IF NOT EXISTS inbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, kind INTEGER NOT NULL, message_id TEXT NOT NULL,
    hint TEXT NOT NULL, raw BLOB NOT NULL
);
-- What has been judged: the same message again is no news.
CREATE TABLE IF NOT EXISTS seen (key BLOB PRIMARY KEY, message_id TEXT NOT NULL, at REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS seen_at ON seen (at);
-- Recent messages, for the case that they are deleted.
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY, message_id TEXT NOT NULL, at REAL NOT NULL, size INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS messages_message_id ON messages (message_id);
CREATE TABLE IF NOT EXISTS downloads (
    item TEXT PRIMARY KEY, priority INTEGER NOT NULL, attempts INTEGER NOT NULL, next_at REAL NOT NULL,
    body BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, body BLOB NOT NULL);
"""
