"""Webhooks: who is told of events by a request, and each delivery with its attempts."""

from __future__ import annotations

from typing import Final

SQL: Final = """
CREATE TABLE webhooks (
    id         TEXT PRIMARY KEY,
    url        TEXT NOT NULL,                 -- it may hold a token: a secret
    secret     TEXT NOT NULL,                 -- signs what is sent; as it is, because signing needs it
    events     TEXT NOT NULL,                 -- JSON list of types or their beginnings; empty: all
    sessions   TEXT NOT NULL,                 -- JSON list; empty: all, and what concerns no session
    enabled    INTEGER NOT NULL,
    reason     TEXT NOT NULL DEFAULT '',      -- why it is not enabled, if nobody wanted that
    created_at REAL NOT NULL,
    created_by TEXT NOT NULL,
    delivered_at REAL,                        -- when something was last taken there
    error      TEXT NOT NULL DEFAULT ''       -- why the latest attempt failed; empty: it did not
) WITHOUT ROWID;

CREATE TABLE webhook_deliveries (             -- made in the transaction that records the event
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,          -- what the receiver knows it by
    webhook    TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    seq        INTEGER NOT NULL,              -- the event's number
    type       TEXT NOT NULL,
    session    TEXT,
    body       TEXT NOT NULL,                 -- JSON as it is sent: every attempt sends the same
    state      TEXT NOT NULL,
    created_at REAL NOT NULL,
    queued_at  REAL NOT NULL,                 -- when it was queued last: it is given up a day after this
    due_at     REAL NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,    -- since it was queued last
    ended_at   REAL,
    status     INTEGER,                       -- of the latest answer; NULL: there was none
    error      TEXT NOT NULL DEFAULT ''
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook, due_at) WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_by_webhook ON webhook_deliveries (webhook, state, number);
CREATE INDEX webhook_deliveries_by_end ON webhook_deliveries (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE webhook_attempts (
    id       INTEGER PRIMARY KEY,
    delivery INTEGER NOT NULL REFERENCES webhook_deliveries (number) ON DELETE CASCADE,
    at       REAL NOT NULL,
    took_s   REAL NOT NULL,
    status   INTEGER,
    error    TEXT NOT NULL
);
CREATE INDEX webhook_attempts_by_delivery ON webhook_attempts (delivery);
"""
