"""The webhooks there are: their rows, their secrets, and which of them an event is for."""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from appliance.database import Database
from appliance.history.targets import Reach, forbidden_literal
from appliance.model import EventView
from appliance.model_events import NOT_FOR_WEBHOOKS, chosen_by, unknown_choice
from appliance.model_webhooks import WebhookChange, WebhookRequest
from appliance.problems import ProblemError, conflict, invalid, not_found
from appliance.webhooks.settings import WebhookSettings

SECRET_BYTES: Final = 32
"""As long as what HMAC-SHA256 makes: longer ones add nothing (RFC 2104)."""
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - the beginning of each, by which scanners of leaked secrets know one
_LIST: Final = "List them: amda webhook list"


@dataclasses.dataclass(frozen=True)
class Webhook:
    """`reason`: why it is not enabled, if nobody wanted that."""

    id: str
    url: str = dataclasses.field(repr=False)
    secret: str = dataclasses.field(repr=False)
    events: tuple[str, ...]
    sessions: tuple[str, ...]
    enabled: bool
    reason: str
    created_at: float
    created_by: str

    def is_for(self, kind: str, session: str | None) -> bool:
        """Whether such an event is to be told there."""
        if not self.enabled or kind.startswith(NOT_FOR_WEBHOOKS):
            return False
        if self.sessions and session not in self.sessions:
            return False
        return not self.events or any(chosen_by(choice, kind) for choice in self.events)


class WebhookBook:
    """Call `await load()` before use. All of them are held in memory: every event asks."""

    def __init__(
        self, database: Database, settings: Callable[[], WebhookSettings], clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock
        self._hooks: dict[str, Webhook] = {}
        self._busy = asyncio.Lock()

    async def load(self) -> None:
        for row in await self._database.fetch_all("SELECT * FROM webhooks ORDER BY id"):
            self._hooks[row["id"]] = _of_row(row)

    def all(self) -> list[Webhook]:
        """By id."""
        return sorted(self._hooks.values(), key=lambda hook: hook.id)

    def get(self, name: str) -> Webhook:
        """Raises ProblemError 404."""
        if (hook := self._hooks.get(name)) is None:
            raise not_found("webhook", name, _LIST)
        return hook

    def find(self, name: str) -> Webhook | None:
        return self._hooks.get(name)

    def for_event(self, event: EventView) -> list[Webhook]:
        return [hook for hook in self.all() if hook.is_for(event.type, event.session)]

    def wanted(self, kind: str, session: str | None) -> bool:
        """Whether such an event is for any of them."""
        return any(hook.is_for(kind, session) for hook in self._hooks.values())

    def reach(self) -> Reach:
        """Where they may lead, by the settings."""
        return Reach(networks=self._settings().networks())

    async def create(self, request: WebhookRequest, who: str) -> Webhook:
        """Raises ProblemError: 400 names the field, 409 there is one of this id, or there are too many."""
        async with self._busy:
            return await self._create(request, who)

    async def _create(self, request: WebhookRequest, who: str) -> Webhook:
        if request.id in self._hooks:
            raise conflict(f"There is a webhook {request.id} already.", "Choose another id, or remove that one first.")
        if len(self._hooks) >= (limit := self._settings().limit):
            raise conflict(f"There are {limit} webhooks already.", "Remove one, or raise webhooks.limit.")
        _check_ends("id", request.id)
        self._check_url(request.url)
        _check_events(request.events)
        _check_ends("sessions", *request.sessions)
        hook = Webhook(
            id=request.id,
            url=request.url,
            secret=_new_secret(),
            events=tuple(dict.fromkeys(request.events)),
            sessions=tuple(dict.fromkeys(request.sessions)),
            enabled=request.enabled,
            reason="",
            created_at=self._clock(),
            created_by=who,
        )
        await self._database.execute(
            "INSERT INTO webhooks (url, secret, events, sessions, enabled, reason, id, created_at, created_by)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*_values(hook), hook.id, hook.created_at, hook.created_by),
        )
        self._hooks[hook.id] = hook
        return hook

    async def change(self, name: str, change: WebhookChange) -> Webhook:
        """Raises ProblemError: 404, 400 names the field."""
        self.get(name)
        given: dict[str, Any] = {
            field: getattr(change, field)
            for field in change.__struct_fields__
            if getattr(change, field) is not msgspec.UNSET
        }
        if "url" in given:
            self._check_url(given["url"])
        if "events" in given:
            _check_events(given["events"])
        _check_ends("sessions", *given.get("sessions", ()))
        for field in ("events", "sessions"):
            if field in given:
                given[field] = tuple(dict.fromkeys(given[field]))
        if "enabled" in given:
            given["reason"] = ""
        return await self._replace(name, **given)

    async def disable(self, name: str, reason: str) -> None:
        """Nothing is sent there any more, and it says why."""
        await self._replace(name, enabled=False, reason=reason)

    async def renew_secret(self, name: str) -> Webhook:
        """The old one signs nothing any more. Raises ProblemError 404."""
        return await self._replace(name, secret=_new_secret())

    async def remove(self, name: str) -> None:
        """Its deliveries go with it. Raises ProblemError 404."""
        async with self._busy:
            self.get(name)
            await self._database.execute("DELETE FROM webhooks WHERE id = ?", (name,))
            del self._hooks[name]

    def _check_url(self, url: str) -> None:
        """Raises ProblemError 400 for what can never be used. (Names are resolved at each delivery.)"""
        _check_ends("url", url)
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise _bad_url("The URL is not valid.", "Write it like https://example.org/amda") from None
        if not host or port == 0:
            raise _bad_url("The URL names no host.", "Write it like https://example.org/amda")
        if parts.fragment:
            raise _bad_url("The part after # is never sent.", "Leave it out.")
        if forbidden_literal(host, self.reach()):
            raise _bad_url(
                "The URL leads into a private network.", "Use a public address, or allow it: webhooks.private_networks"
            )
        if parts.scheme == "http" and not self._settings().private_networks:
            raise _bad_url("http:// can be read by everybody on the way.", "Use https://")

    async def _replace(self, name: str, **changes: Any) -> Webhook:
        """Raises ProblemError 404."""
        async with self._busy:
            changed = dataclasses.replace(self.get(name), **changes)
            await self._database.execute(
                "UPDATE webhooks SET url = ?, secret = ?, events = ?, sessions = ?, enabled = ?, reason = ?"
                " WHERE id = ?",
                (*_values(changed), name),
            )
            self._hooks[name] = changed
        return changed


def _values(hook: Webhook) -> tuple[object, ...]:
    return hook.url, hook.secret, _text(hook.events), _text(hook.sessions), hook.enabled, hook.reason


def _new_secret() -> str:
    return SECRET_PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def _check_ends(field: str, *values: str) -> None:
    """Patterns of Python end before a last newline. Raises ProblemError 400."""
    if any(value.endswith("\n") for value in values):
        raise invalid(field, f"{field}: ends with a new line.", "Leave that out.")


def _check_events(choices: Iterable[str]) -> None:
    for choice in choices:
        if choice.startswith(NOT_FOR_WEBHOOKS.rstrip(".")):
            raise invalid("events", "events: what concerns webhooks is not told to them.", "See: amda webhook list")
        if unknown_choice(choice):
            raise invalid("events", f"events: there are none called {choice}.", "GET /v1/events/types lists them.")


def _bad_url(detail: str, remedy: str) -> ProblemError:
    return invalid("url", f"url: {detail}", remedy)


def _text(values: tuple[str, ...]) -> str:
    return msgspec.json.encode(values).decode()


def _of_row(row: sqlite3.Row) -> Webhook:
    events, sessions = (tuple(msgspec.json.decode(row[name], type=list[str])) for name in ("events", "sessions"))
    return Webhook(
        id=row["id"],
        url=row["url"],
        secret=row["secret"],
        events=events,
        sessions=sessions,
        enabled=bool(row["enabled"]),
        reason=row["reason"],
        created_at=row["created_at"],
        created_by=row["created_by"],
    )
