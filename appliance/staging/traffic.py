"""Contacts that write by themselves: traffic is made inside the network, so that a bench need not chatter."""

from __future__ import annotations

import asyncio
import itertools
import random
from dataclasses import dataclass, field

from appliance.staging.accounts import Directory
from appliance.staging.control_types import (
    JournalKind,
    JournalQuery,
    Revoke,
    Send,
    SendKind,
    Traffic,
    TrafficState,
    ViewOnce,
    Where,
)
from appliance.staging.errors import RequestError
from appliance.staging.journal import Journal
from appliance.staging.sending import Sending
from appliance.staging.store import Store

REVOKE_WITHIN_S = 60.0
"""A message that is to be deleted is deleted once it was receipted; after this time in any case."""


@dataclass
class _Run:
    spec: Traffic
    task: asyncio.Task[None] | None = None
    sent: int = 0
    media_sent: int = 0
    revokes: set[asyncio.Task[None]] = field(default_factory=set)


@dataclass
class TrafficDesk:
    """The generators that were started, by id."""

    directory: Directory
    sending: Sending
    journal: Journal
    store: Store
    _runs: dict[str, _Run] = field(default_factory=dict)
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def start(self, spec: Traffic) -> str:
        """Begin to send; the generator's id. Raises RequestError."""
        if not 0 < spec.per_second <= 1000:
            raise RequestError("per_second: write a rate above 0 and up to 1000 messages")
        if spec.messages < 0 or spec.duration_s < 0:
            raise RequestError("messages, duration_s: negative; 0 means without limit")
        for phone in spec.accounts:
            self.directory.require(phone, "accounts")
        run, identifier = _Run(spec), f"traffic-{next(self._ids)}"
        run.task = asyncio.get_running_loop().create_task(self._work(run))
        self._runs[identifier] = run
        return identifier

    def state(self, identifier: str) -> TrafficState:
        run = self._runs.get(identifier)
        if run is None:
            raise RequestError("id: no such generator")
        running = run.task is not None and (not run.task.done() or bool(run.revokes))
        if run.task is not None and run.task.done() and not run.task.cancelled() and run.task.exception():
            raise RequestError(f"the generator ended with {run.task.exception()}")
        return TrafficState(id=identifier, running=running, sent=run.sent, media_sent=run.media_sent)

    async def wait(self, identifier: str, wait_s: float) -> TrafficState:
        """The state once the generator has ended, or after `wait_s`."""
        state, run = self.state(identifier), self._runs[identifier]
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        while state.running and loop.time() < deadline:
            working = {task for task in (run.task, *run.revokes) if task is not None and not task.done()}
            if working:
                await asyncio.wait(working, timeout=deadline - loop.time(), return_when=asyncio.ALL_COMPLETED)
            state = self.state(identifier)
        return state

    def end(self, identifier: str) -> TrafficState:
        run = self._runs.get(identifier)
        if run is not None and run.task is not None:
            run.task.cancel()
        return self.state(identifier)

    def stop(self) -> None:
        for run in self._runs.values():
            for task in (run.task, *run.revokes):
                if task is not None:
                    task.cancel()

    async def _work(self, run: _Run) -> None:
        spec, chance = run.spec, random.Random(run.spec.seed)  # noqa: S311 - repeatable on purpose
        loop = asyncio.get_running_loop()
        started = loop.time()
        names = ["text", "image", "status", "view_once", "voice", "video", "group", "revoked"]
        weights = [float(getattr(spec.mix, name)) for name in names]
        for number in itertools.count():
            if spec.messages and number >= spec.messages:
                return
            due = started + number / spec.per_second
            if spec.duration_s and due - started >= spec.duration_s:
                return
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            phones = spec.accounts or [a.phone for a in self.directory.accounts() if a.devices]
            if not phones:
                continue
            phone = phones[number % len(phones)]
            await self._one(run, phone, chance.choices(names, weights)[0], chance)

    async def _one(self, run: _Run, phone: str, what: str, chance: random.Random) -> None:
        base = int(phone) // 10 * 10
        contact = str(base + 1 + chance.randrange(max(run.spec.contacts_per_account, 1)))
        picture = what in ("image", "view_once") or (
            what in ("status", "revoked") and chance.random() < run.spec.mix.pictures
        )
        kind = SendKind.IMAGE if picture else SendKind(what) if what in ("voice", "video") else SendKind.TEXT
        where = {"status": Where.STATUS, "group": Where.GROUP}.get(what, Where.CHAT)
        request = Send(
            account=phone,
            contact=contact,
            kind=kind,
            where=where,
            size=run.spec.image_bytes if kind is SendKind.IMAGE else 0,
            view_once=ViewOnce.PAYLOAD if what == "view_once" else ViewOnce.NO,
        )
        (message_id,) = await self.sending.send(request)
        run.sent += 1
        run.media_sent += kind is not SendKind.TEXT
        if what == "revoked":
            task = asyncio.get_running_loop().create_task(self._revoke(run, phone, message_id))
            run.revokes.add(task)
            task.add_done_callback(run.revokes.discard)

    async def _revoke(self, run: _Run, phone: str, message_id: str) -> None:
        await self.journal.wait(
            JournalQuery(
                kinds=[JournalKind.RECEIPTED], account=phone, message_id=message_id, wait_s=REVOKE_WITHIN_S, limit=1
            )
        )
        self.sending.revoke(Revoke(account=phone, message_id=message_id))
        run.sent += 1
