"""The ledger learns durations and versions; uptime rings, alerts, silences, persons and messages to be delivered.

Durations are columns of their own because a difference of two times is wrong when the clock was set in between.
"""

from __future__ import annotations

from typing import Final

SQL: Final = """
ALTER TABLE disconnections ADD COLUMN uptime_s REAL;     -- by the steady clock
ALTER TABLE disconnections ADD COLUMN recovery_s REAL;   -- by the steady clock where the daemon saw both ends
ALTER TABLE disconnections ADD COLUMN engine TEXT NOT NULL DEFAULT '';
ALTER TABLE disconnections ADD COLUMN whatsapp TEXT NOT NULL DEFAULT '';
CREATE INDEX disconnections_open ON disconnections (session) WHERE back_at IS NULL;

CREATE TABLE uptime_chunks (                  -- consecutive slots of a ring: milliseconds online, milliseconds counted
    session TEXT NOT NULL,
    span    TEXT NOT NULL,
    chunk   INTEGER NOT NULL,
    slots   BLOB NOT NULL,
    PRIMARY KEY (session, span, chunk)
) WITHOUT ROWID;

CREATE TABLE uptime_marks (                   -- up to where the rings of a session are filled
    session   TEXT PRIMARY KEY,
    condition TEXT NOT NULL,
    at        REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE alerts (
    id          TEXT PRIMARY KEY,
    rule        TEXT NOT NULL,
    subject     TEXT NOT NULL,                -- session, or '' for the appliance
    phase       TEXT NOT NULL,
    state       TEXT NOT NULL,                -- JSON of the whole state
    ended_at    REAL
);
CREATE UNIQUE INDEX alerts_open ON alerts (rule, subject) WHERE ended_at IS NULL;
CREATE INDEX alerts_by_end ON alerts (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE silences (
    id         TEXT PRIMARY KEY,
    rule       TEXT NOT NULL DEFAULT '',      -- '' is every rule
    session    TEXT NOT NULL DEFAULT '',      -- '' is every session
    until      REAL NOT NULL,
    created_at REAL NOT NULL,
    comment    TEXT NOT NULL DEFAULT ''
);

CREATE TABLE persons (                        -- who is told when they must act; the contact is a secret
    session  TEXT PRIMARY KEY,
    name     TEXT NOT NULL,
    language TEXT NOT NULL,
    contact  TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE deliveries (                     -- what is to be told; rows go when told or given up
    id         TEXT PRIMARY KEY,
    session    TEXT NOT NULL DEFAULT '',      -- whose person it is for; '' is the operators
    target     TEXT NOT NULL,                 -- a secret
    body       TEXT NOT NULL,                 -- JSON
    created_at REAL NOT NULL,
    due_at     REAL NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    error      TEXT NOT NULL DEFAULT ''
);
CREATE INDEX deliveries_by_due ON deliveries (due_at);
"""
