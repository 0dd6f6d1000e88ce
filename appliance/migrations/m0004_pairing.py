"""Linking attempts learn how often a code was asked for; fencing numbers keep an overtaken attempt from promoting."""

from __future__ import annotations

from typing import Final

SQL: Final = """
ALTER TABLE pairings ADD COLUMN tries INTEGER NOT NULL DEFAULT 1;
CREATE INDEX pairings_by_end ON pairings (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE pairing_fences (                 -- the newest attempt that was let to work on a session or a number
    name  TEXT PRIMARY KEY,                   -- session:… or phone:…
    fence INTEGER NOT NULL
) WITHOUT ROWID;
"""
