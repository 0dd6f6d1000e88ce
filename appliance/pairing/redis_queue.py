"""The queue of linking attempts, their locks and their limits, in Redis: what must be true for all daemons at once.

First come, first served per machine (node); one job per session and per number over all of them. A job that was taken
is held by an owner with a fencing number that only grows: whoever was overtaken can prove it neither here nor in the
database. Every method is one script, so it happens whole or not at all; each raises `REDIS_ERRORS` if Redis is away.
"""

from __future__ import annotations

import asyncio
import enum
import functools
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
import redis.asyncio
import redis.exceptions

from appliance.model import PairMethod
from appliance.pairing import scripts

PREFIX: Final = "amda:pairing:"


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """How often codes may be shown. Seconds."""

    lock_s: float
    session_interval_s: float
    phone_interval_s: float
    appliance_codes: int
    appliance_window_s: float
    cool_first_s: float
    cool_longest_s: float
    cool_remembered_s: float


class Verdict(enum.StrEnum):
    """What the end of a job means for the next one of the same user."""

    LINKED = "linked"
    KEEP = "keep"
    """A code was shown and its user did not use it: it counts."""
    FREE = "free"
    """It does not count."""
    COOL = "cool"
    """WhatsApp said 429: the number rests, longer each time."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt as Redis knows it. Empty `owner`: it waits."""

    id: str
    session: str
    method: PairMethod
    phone: str | None
    relink: bool
    node: str
    created_at: float
    seq: int
    owner: str = ""
    fence: int = 0
    code: str = ""
    code_until: float = 0.0
    shown_at: float | None = None
    position: int | None = None
    """Place in the queue, from 1; None: it holds a slot."""


class Queued(msgspec.Struct, frozen=True):
    """It waits now (or did already)."""

    seq: int


class Busy(msgspec.Struct, frozen=True):
    """Another job has the session or the number."""

    other: str
    by_phone: bool


class Limited(msgspec.Struct, frozen=True):
    """Not before `until`. `what`: session, phone, cool or appliance."""

    what: str
    until: float


class Held(enum.StrEnum):
    HELD = "held"
    CANCELLED = "cancelled"
    LOST = "lost"
    BUSY = "busy"


class PairingQueue:
    """`owner` must be unique to this daemon process. `clock`: seconds since the epoch, the same for all daemons."""

    def __init__(
        self,
        client: redis.asyncio.Redis,
        *,
        node: str,
        owner: str,
        rules: Rules,
        clock: Callable[[], float] = time.time,
        prefix: str = PREFIX,
    ) -> None:
        self._client = client
        self.node = node
        self._owner = owner
        self.rules = rules
        self._clock = clock
        self._prefix = prefix
        self._calls: set[asyncio.Future[Any]] = set()

    @property
    def lock_s(self) -> float:
        return self.rules.lock_s

    async def enqueue(
        self,
        job_id: str,
        session: str,
        method: PairMethod,
        phone: str | None,
        *,
        relink: bool,
        created_at: float,
        restore: int | None = None,
    ) -> Queued | Busy | Limited:
        """Ask for a place: duplicates, limits and the queue in one step. `restore`: the place (`Queued.seq`) of a job
        that Redis has forgotten; it was let in before, so limits do not matter."""
        rules = self.rules
        answer = await self._run(
            scripts.ENQUEUE,
            *(job_id, session, phone or "", method, int(relink), self.node, created_at, self._clock()),
            *(int(restore is None), rules.appliance_codes, rules.appliance_window_s, restore or 0),
        )
        match answer:
            case ["busy", other, name]:
                return Busy(other, name.startswith("phone:"))
            case ["limited", name, until]:
                return Limited(name.partition(":")[0], float(until))
            case [_, _, seq]:
                return Queued(int(seq))
        raise redis.exceptions.ResponseError("unexpected answer of a script")

    async def take(self, slots: int, floor: int) -> Job | None:
        """The next job of this node, ours from now on; None: nobody waits, or `slots` are taken. Its fence is above
        `floor`, the highest that the database has seen: Redis may have lost its counter."""
        answer = await self._run(scripts.TAKE, self.node, self._owner, self._lock_until(), slots, floor)
        return _job(answer[0], _pairs(answer[1])) if answer else None

    async def extend(self, job: Job) -> Held:
        """Prove the lock and extend it by its full length."""
        return Held(await self._run(scripts.EXTEND, job.id, self._owner, job.fence, self._lock_until()))

    async def show(self, job: Job, code: str, until: float) -> bool:
        """Make a code visible and count it; False: the job is not ours any more, and the code must not be shown."""
        rules = self.rules
        return bool(
            await self._run(
                scripts.SHOW,
                *(job.id, self._owner, job.fence, self._clock(), code, until),
                *(rules.session_interval_s, rules.phone_interval_s),
            )
        )

    async def hide(self, job: Job) -> None:
        """The code was used: nobody shall see it any more."""
        await self._run(scripts.HIDE, job.id, self._owner, job.fence)

    async def add_phone(self, job: Job, phone: str) -> Held:
        """Lock a number that became known later."""
        return Held(await self._run(scripts.ADD_PHONE, job.id, self._owner, job.fence, phone))

    async def finish(self, job_id: str, fence: int | None, verdict: Verdict, *, force: bool = False) -> bool:
        """End a job of ours (`fence` None: one that waits) and give back all that it held. False: it is not ours.

        `force`: whoever has it; only for jobs whose holder is known to be dead."""
        rules = self.rules
        owner = "*" if force else "" if fence is None else self._owner
        return bool(
            await self._run(
                scripts.FINISH,
                *(job_id, owner, "" if fence is None else fence, self._clock(), verdict),
                *(rules.cool_first_s, rules.cool_longest_s, rules.cool_remembered_s),
            )
        )

    async def cancel(self, job_id: str) -> str:
        """`dropped`: it waited and is gone; `asked`: its holder will hear of it; `gone`."""
        return str(await self._run(scripts.CANCEL, job_id))

    async def sweep(self) -> list[str]:
        """End all jobs whose holders have not proved themselves in time; their ids."""
        return [str(job_id) for job_id in await self._run(scripts.SWEEP, self._clock())]

    async def lift(self, session: str, phones: Sequence[str]) -> int:
        """Forget what counts against a session and numbers; how many limits there were."""
        return int(await self._run(scripts.LIFT, f"session:{session}", *(f"phone:{phone}" for phone in phones)))

    async def get(self, job_id: str) -> Job | None:
        """The job as it stands, whoever works on it; a code that is dead is not in it."""
        answer = await self._run(scripts.STATE, job_id)
        if not answer:
            return None
        job = _job(job_id, _pairs(answer[0]), None if answer[1] < 0 else answer[1] + 1)
        return job if job.code_until > self._clock() else msgspec.structs.replace(job, code="", code_until=0.0)

    async def of_node(self) -> tuple[list[str], list[str]]:
        """Ids of this node's jobs: those that wait, in order, and those that hold a slot."""
        waiting, busy = await self._run(scripts.WAITING, self.node)
        return list(waiting), list(busy)

    def _lock_until(self) -> float:
        return self._clock() + self.rules.lock_s

    async def _run(self, script: str, *arguments: str | float) -> Any:
        """A cancellation reaches the caller in any case: the client awaits with `asyncio.wait_for`, which in Python
        3.11 loses one that comes together with the answer. The script itself is carried out to its end."""
        texts = [repr(value) if isinstance(value, float) else str(value) for value in arguments]
        call = asyncio.ensure_future(self._call(script, texts))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        return await asyncio.shield(call)

    async def _call(self, script: str, texts: Sequence[str]) -> Any:
        """By hash, so that a kilobyte of text is not sent sixty times a second; a restarted server has forgotten it."""
        try:
            return await self._client.evalsha(_digest(script), 1, self._prefix, *texts)
        except redis.exceptions.NoScriptError:
            return await self._client.eval(script, 1, self._prefix, *texts)


@functools.cache
def _digest(script: str) -> str:
    """What Redis calls a script: SHA-1 of its text, a name and no protection."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


def _pairs(flat: Sequence[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _job(job_id: str, fields: Mapping[str, str], position: int | None = None) -> Job:
    return Job(
        id=job_id,
        session=fields["session"],
        method=PairMethod(fields["method"]),
        phone=fields["phone"] or None,
        relink=fields["relink"] == "1",
        node=fields["node"],
        created_at=float(fields["created_at"]),
        seq=int(fields["seq"]),
        owner=fields["owner"],
        fence=int(fields["fence"] or 0),
        code=fields.get("code", ""),
        code_until=float(fields.get("code_until", 0)),
        shown_at=float(fields["shown_at"]) if "shown_at" in fields else None,
        position=position,
    )
