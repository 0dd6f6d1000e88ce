"""Who may use the API, who did what, and which creating calls have been answered already."""

from __future__ import annotations

from typing import Final

SQL: Final = """
CREATE TABLE tokens (
    id           TEXT PRIMARY KEY,            -- part of the token, and no secret
    name         TEXT NOT NULL,
    digest       BLOB NOT NULL,               -- SHA-256 of the secret part: 256 random bits need no salt
    scope        TEXT NOT NULL,
    session      TEXT,                        -- the only session that it is good for
    created_at   REAL NOT NULL,
    created_by   TEXT NOT NULL,
    expires_at   REAL,
    revoked_at   REAL,
    last_used_at REAL,
    last_address TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE UNIQUE INDEX tokens_by_name ON tokens (name) WHERE revoked_at IS NULL;

CREATE TABLE audit (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      REAL NOT NULL,
    who     TEXT NOT NULL,
    door    TEXT NOT NULL,
    address TEXT NOT NULL,
    action  TEXT NOT NULL,
    target  TEXT NOT NULL DEFAULT '',         -- the path that was called
    session TEXT,
    status  INTEGER NOT NULL,                 -- 0: there was no answer
    detail  TEXT NOT NULL DEFAULT '',
    count   INTEGER NOT NULL DEFAULT 1        -- of what came so often that it shares one row
);
CREATE INDEX audit_by_time ON audit (at);
CREATE INDEX audit_by_session ON audit (session, at) WHERE session IS NOT NULL;

CREATE TABLE repeats (                        -- what was created under an Idempotency-Key
    key         BLOB PRIMARY KEY,             -- hash of caller, call and key
    fingerprint BLOB NOT NULL,                -- hash of the body: another one under the same key is a mistake
    name        TEXT NOT NULL,                -- of what was created; never the answer, which may hold a secret
    at          REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX repeats_by_time ON repeats (at);
"""
