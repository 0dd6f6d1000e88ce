"""/v1/doctor: what is wrong with the appliance and its machine, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.api.routes import Route, get
from appliance.doctor.service import Doctor
from appliance.model_api import Scope
from appliance.model_doctor import DoctorQuery, DoctorReport


class DoctorResource:
    def __init__(self, doctor: Doctor) -> None:
        self._doctor = doctor

    def routes(self) -> Sequence[Route]:
        return (get("/v1/doctor", self.look, Scope.OPERATE),)

    async def look(self, query: DoctorQuery) -> DoctorReport:
        """Look at everything that the daemon can see, or at some of it; takes some seconds.

        Each finding says what was looked at, what was found, and what to do. What the daemon may not see is said;
        the command line's doctor, as root on the machine, sees that too. Nothing is changed.
        """
        return await self._doctor.report(query.only)
