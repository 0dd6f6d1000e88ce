"""/v1/backup: how backups are. They are made and restored by `amda backup`, which does not need the daemon."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.api.routes import Route, get
from appliance.backup.lease_keeper import LeaseKeeper
from appliance.model_backup import BackupView


class BackupResource:
    def __init__(self, lease: LeaseKeeper) -> None:
        self._lease = lease

    def routes(self) -> Sequence[Route]:
        return (get("/v1/backup", self.show),)

    async def show(self) -> BackupView:
        """When the last backup was made and checked, whether its key is kept elsewhere, and who runs these sessions."""
        return self._lease.view()
