"""What a session's state machine remembers beyond its state: connection, waits and the history that bounds retries."""

from __future__ import annotations

from typing import Final

SQL: Final = """
ALTER TABLE sessions ADD COLUMN memory TEXT NOT NULL DEFAULT '{}';   -- JSON of appliance.sessions.memory.Memory
"""
