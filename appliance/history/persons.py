"""The person of each session: who is told, in which language and where, when only they can help."""

from __future__ import annotations

from collections.abc import Callable

from appliance.database import Database
from appliance.history.settings import AlertSettings
from appliance.history.targets import check_contact
from appliance.masking import hide_target
from appliance.model_history import Language, PersonRequest, PersonView
from appliance.problems import not_found


class Persons:
    """Rows of the database. Contacts are secrets: views never show them whole."""

    def __init__(self, database: Database, settings: Callable[[], AlertSettings]) -> None:
        self._database = database
        self._settings = settings

    async def set(self, session: str, request: PersonRequest) -> PersonView:
        """Raises ProblemError 404 for an unknown session, 400 for a contact that cannot be used."""
        if await self._database.fetch_one("SELECT 1 FROM sessions WHERE id = ?", (session,)) is None:
            raise not_found("session", session, "See the sessions: amda session list")
        check_contact(request.contact, self._settings())
        await self._database.execute(
            "INSERT OR REPLACE INTO persons (session, name, language, contact) VALUES (?, ?, ?, ?)",
            (session, request.name, request.language, request.contact),
        )
        return await self.get(session)

    async def get(self, session: str) -> PersonView:
        """Raises ProblemError 404 if nobody was named."""
        person, _ = await self.contact(session)
        return person

    async def contact(self, session: str) -> tuple[PersonView, str]:
        """The person and, for delivery only, their contact. Raises ProblemError 404."""
        row = await self._database.fetch_one(
            "SELECT name, language, contact FROM persons WHERE session = ?", (session,)
        )
        if row is None:
            raise not_found("person of session", session, "Name one: amda alert person ID --name … --contact …")
        view = PersonView(
            session=session, name=row["name"], language=Language(row["language"]), contact=hide_target(row["contact"])
        )
        return view, row["contact"]

    async def sessions(self) -> frozenset[str]:
        """Sessions that have a person."""
        return frozenset(row["session"] for row in await self._database.fetch_all("SELECT session FROM persons"))

    async def remove(self, session: str) -> None:
        """Nobody is told any more; harmless if nobody was."""
        await self._database.execute("DELETE FROM persons WHERE session = ?", (session,))
