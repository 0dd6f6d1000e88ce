"""One user of the pairing rehearsal: asks, reads the code, types it after a while, and asks again if told to."""

from __future__ import annotations

import asyncio
import collections
import enum
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Self, TypeVar

import msgspec

from appliance.bench.pairing_figures import Wait
from appliance.bench.rig import RETRY_PAUSE_S, Rig, api_back
from appliance.client import ApiError, ClientError
from appliance.model import PairingState, PairingView
from appliance.staging.crypto.linking import CODE_ALPHABET

T = TypeVar("T")
POLL_S: Final = 20.0
"""One look at the attempt waits so long for a change."""
SECOND_TRY_S: Final = 3.0
"""Who mistyped needs a moment to type it again."""
MOST_TRIES: Final = 6
"""A user who is told to try again does so; this many times would be a fault of the appliance."""
RACE_S: Final = 2.0
"""A code can die between the look and the typing; then the API must say so within this."""
PAUSE_S: Final = 1.0
"""Between being told to try again and doing so."""
_TOO_MANY: Final = 429
_UNAVAILABLE: Final = 503


class Role(enum.StrEnum):
    TYPE = "type"
    WRONG_ONCE = "wrong_once"
    ASK_TWICE = "ask_twice"
    NEVER = "never"


class Script(msgspec.Struct, frozen=True, kw_only=True):
    role: Role
    types_after_s: float


class Tally(msgspec.Struct, kw_only=True):
    """What one user has met."""

    tries: int = 0
    asked_at: float | None = None
    code_after_s: float | None = None
    """From the first request to the first code."""
    linked_at: float | None = None
    dead_codes: int = 0
    second_codes: int = 0
    refused_by_limits: int = 0
    interrupted: int = 0
    untold: int = 0
    waits: list[Wait] = []
    reasons: dict[str, int] = {}

    @classmethod
    def sum_of(cls, tallies: Sequence[Tally]) -> Self:
        reasons: collections.Counter[str] = collections.Counter()
        for tally in tallies:
            reasons.update(tally.reasons)
        return cls(
            dead_codes=sum(tally.dead_codes for tally in tallies),
            second_codes=sum(tally.second_codes for tally in tallies),
            refused_by_limits=sum(tally.refused_by_limits for tally in tallies),
            interrupted=sum(tally.interrupted for tally in tallies),
            untold=sum(tally.untold for tally in tallies),
            waits=[wait for tally in tallies for wait in tally.waits],
            reasons=dict(reasons),
        )


class User:
    """`live` ends when the user is linked, gives up, or never wanted to type."""

    def __init__(self, rig: Rig, session: str, phone: str, script: Script) -> None:
        self.session = session
        self.phone = phone
        self.script = script
        self.tally = Tally()
        self._rig = rig
        self._codes: dict[str, str] = {}
        """Of each attempt, the code that it has shown."""
        self._alive: str | None = None
        """The attempt whose code is on the screen."""

    async def live(self) -> None:
        self.tally.asked_at = time.monotonic()
        while self.tally.tries < MOST_TRIES:
            self.tally.tries += 1
            view = await self._ask()
            if view is None:
                continue
            if self.script.role is Role.ASK_TWICE:
                again = await self._ask()
                if again is not None and again.id != view.id:
                    self.tally.second_codes += 1
            ended = await self._follow(view)
            if view.wait_s is not None and ended.started_at is not None:
                self.tally.waits.append(Wait(view.wait_s, ended.started_at - ended.created_at))
            if ended.state is PairingState.LINKED:
                self.tally.linked_at = time.monotonic()
                return
            self._note(ended)
            if self.script.role is Role.NEVER and ended.state is PairingState.EXPIRED:
                return
            await asyncio.sleep(PAUSE_S)

    async def _ask(self) -> PairingView | None:
        """None: refused for now; the time that the refusal names has passed."""
        try:
            return await self._patient(lambda: self._rig.api.pair(self.session, phone=self.phone))
        except ApiError as error:
            reason = error.problem.detail or error.problem.title
            self.tally.reasons[reason] = self.tally.reasons.get(reason, 0) + 1
            self.tally.refused_by_limits += error.problem.status == _TOO_MANY
            await asyncio.sleep(PAUSE_S if error.retry_after_s is None else min(error.retry_after_s, POLL_S))
            return None

    async def _follow(self, view: PairingView) -> PairingView:
        typing: asyncio.Task[None] | None = None
        try:
            while not view.state.final:
                if view.code is not None and view.id not in self._codes:
                    self._first_sight(view)
                    typing = asyncio.create_task(self._use(view.id, view.code))
                self._check_only_code(view)
                seen = view
                view = await self._patient(
                    lambda seen=seen: self._rig.api.pairing(  # type: ignore[misc]
                        seen.id, since=seen.updated_at, wait_s=POLL_S
                    )
                )
            return view
        finally:
            self._alive = None
            if typing is not None:
                typing.cancel()
                await asyncio.wait([typing])
                if not typing.cancelled() and (error := typing.exception()) is not None:
                    raise error

    def _first_sight(self, view: PairingView) -> None:
        if self._alive is not None:
            self.tally.second_codes += 1
        self._alive = view.id
        self._codes[view.id] = view.code or ""
        if self.tally.code_after_s is None and self.tally.asked_at is not None:
            self.tally.code_after_s = time.monotonic() - self.tally.asked_at

    def _check_only_code(self, view: PairingView) -> None:
        if view.code is not None and self._codes.get(view.id) != view.code:
            self.tally.second_codes += 1
            self._codes[view.id] = view.code

    async def _use(self, attempt: str, code: str) -> None:
        """Type it after a while, if it is still on the screen by then."""
        if self.script.role is Role.NEVER:
            return
        await asyncio.sleep(self.script.types_after_s)
        if self.script.role is Role.WRONG_ONCE:
            await self._type(attempt, code, mistyped(code))
            await asyncio.sleep(SECOND_TRY_S)
        if self.script.role is Role.ASK_TWICE:
            again = await self._ask()
            if again is not None and again.id == attempt and again.code not in (None, code):
                self.tally.second_codes += 1
        await self._type(attempt, code, code)

    async def _type(self, attempt: str, code: str, typed: str) -> None:
        if not await self._is_shown(attempt, code):
            return
        result = await self._rig.staging.type_code(self.phone, typed, now=True)
        if result.outcome != "no_request":
            return
        await asyncio.sleep(RACE_S)
        if await self._is_shown(attempt, code):
            self.tally.dead_codes += 1

    async def _is_shown(self, attempt: str, code: str) -> bool:
        view = await self._patient(lambda: self._rig.api.pairing(attempt))
        return view.code == code

    def _note(self, ended: PairingView) -> None:
        reason = ended.reason or ""
        self.tally.reasons[reason] = self.tally.reasons.get(reason, 0) + 1
        self.tally.untold += not reason
        self.tally.interrupted += self.script.role is not Role.NEVER

    async def _patient(self, ask: Callable[[], Awaitable[T]]) -> T:
        """As a page in a browser does: while the daemon is being restarted, or says that Redis is, ask again."""
        while True:
            try:
                return await ask()
            except ApiError as error:
                if error.problem.status != _UNAVAILABLE:
                    raise
                await asyncio.sleep(PAUSE_S)
            except ClientError:
                await asyncio.sleep(RETRY_PAUSE_S)
                await api_back(self._rig.api)


def mistyped(code: str) -> str:
    """Another code: the last character replaced by its neighbour in the alphabet."""
    following = CODE_ALPHABET[(CODE_ALPHABET.index(code[-1]) + 1) % len(CODE_ALPHABET)]
    return code[:-1] + following
