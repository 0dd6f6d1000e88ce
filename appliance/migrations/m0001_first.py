"""Sessions, linking attempts, media, the ledger of disconnections, events, and how far each worker's events were taken.

`node_id`, `generation`, `owner` and stores as URLs are there from the first step, so that several machines can come
later on the same tables. Times are seconds since the epoch, UTC.
"""

from __future__ import annotations

from typing import Final

SQL: Final = """
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE sessions (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    owner      TEXT NOT NULL DEFAULT '',
    node_id    TEXT NOT NULL,
    generation INTEGER NOT NULL DEFAULT 0,
    store_url  TEXT,                          -- file:… ; NULL until linked for the first time
    wanted     INTEGER NOT NULL DEFAULT 1,
    state      TEXT NOT NULL,
    since      REAL NOT NULL,
    detail     TEXT NOT NULL DEFAULT '',
    phone      TEXT,
    jid        TEXT,
    lid        TEXT,
    created_at REAL NOT NULL,
    settings   TEXT NOT NULL DEFAULT '{}'
);
CREATE INDEX sessions_by_phone ON sessions (phone) WHERE phone IS NOT NULL;

CREATE TABLE pairings (                       -- no code is stored: it would be a secret that outlives its use
    id         TEXT PRIMARY KEY,
    session    TEXT NOT NULL,
    method     TEXT NOT NULL,
    state      TEXT NOT NULL,
    phone      TEXT,
    relink     INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    started_at REAL,
    shown_at   REAL,
    accepted_at REAL,
    ended_at   REAL,
    reason     TEXT,
    remedy     TEXT
);
CREATE INDEX pairings_by_session ON pairings (session, created_at);
CREATE INDEX pairings_open ON pairings (created_at) WHERE ended_at IS NULL;

CREATE TABLE objects (                        -- what lies in the object store; stored once per session and content
    key        TEXT PRIMARY KEY,
    session    TEXT NOT NULL,
    sha256     TEXT NOT NULL,                 -- of the bytes as they were downloaded
    size       INTEGER NOT NULL,              -- as stored
    stored_at  REAL NOT NULL,
    UNIQUE (session, sha256)
);

CREATE TABLE media (
    id         TEXT PRIMARY KEY,
    session    TEXT NOT NULL,
    category   TEXT NOT NULL,
    kind       TEXT NOT NULL,
    mimetype   TEXT NOT NULL,
    size       INTEGER NOT NULL,              -- as downloaded
    sha256     TEXT NOT NULL,
    key        TEXT NOT NULL REFERENCES objects (key),
    message_id TEXT NOT NULL,
    chat       TEXT NOT NULL,
    sender     TEXT NOT NULL,
    sent_at    REAL NOT NULL,
    captured_at REAL NOT NULL,
    stored_at  REAL NOT NULL,
    caption    TEXT NOT NULL DEFAULT '',
    file_name  TEXT NOT NULL DEFAULT '',
    via        TEXT NOT NULL DEFAULT 'payload',
    UNIQUE (session, category, message_id, sha256)
);
CREATE INDEX media_by_session ON media (session, stored_at);
CREATE INDEX media_by_time ON media (stored_at);
CREATE INDEX media_by_key ON media (key);

CREATE TABLE poison (                         -- spool items that were set aside, so that they can be shown
    session    TEXT NOT NULL,
    item       TEXT NOT NULL,
    reason     TEXT NOT NULL,
    folder     TEXT NOT NULL,
    at         REAL NOT NULL,
    PRIMARY KEY (session, item)
) WITHOUT ROWID;

CREATE TABLE disconnections (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    session      TEXT NOT NULL,
    generation   INTEGER NOT NULL,
    at           REAL NOT NULL,
    reason       TEXT NOT NULL,               -- word of the reason enum
    signal       TEXT NOT NULL DEFAULT '',    -- what the engine or the process did
    code         INTEGER,
    raw          TEXT NOT NULL DEFAULT '',
    connected_at REAL,                        -- since when it had been up; NULL if it never was
    decision     TEXT NOT NULL DEFAULT '',
    charged      INTEGER NOT NULL DEFAULT 0,  -- counted against the hourly budget
    back_at      REAL
);
CREATE INDEX disconnections_by_session ON disconnections (session, at);
CREATE INDEX disconnections_by_time ON disconnections (at);

CREATE TABLE events (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    at      REAL NOT NULL,
    type    TEXT NOT NULL,
    session TEXT,
    data    TEXT NOT NULL
);

CREATE TABLE worker_seen (                    -- an event of a worker with a number up to `seq` was already dealt with
    session TEXT NOT NULL,
    store   TEXT NOT NULL,
    seq     INTEGER NOT NULL,
    PRIMARY KEY (session, store)
) WITHOUT ROWID;
"""
