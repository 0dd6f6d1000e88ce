"""Who may run a session: the seam at which several machines can share sessions one day.

On one machine the answer never changes. Everything that starts a session asks here first, so that leases with fencing
need no change elsewhere.
"""

from __future__ import annotations

from typing import Protocol


class Ownership(Protocol):
    """Asked before each start."""

    def may_run(self, session: str, node_id: str) -> bool:
        """Whether this machine runs the session that was created on `node_id`."""
        ...


class SingleNode:
    """One machine: every session in its database is its own, a restored backup's too."""

    def may_run(self, session: str, node_id: str) -> bool:  # noqa: ARG002 - the protocol's arguments
        """Always."""
        return True
