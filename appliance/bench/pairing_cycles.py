"""`amda bench pairing --cycles N`: an attempt that fails, then one that is done right, then unlinking; on one number.

The old bot failed every other time, because a failed attempt left something behind. Here failures are of every kind,
and the right attempt after each of them must work.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Final

from appliance.bench import measure
from appliance.bench.media_choices import MediaStore
from appliance.bench.pairing_user import mistyped
from appliance.bench.rig import Rig, phone_number, say
from appliance.bench.surroundings import MemoryFigures, Surroundings
from appliance.model import PairingState, PairingView, SessionState
from appliance.staging import control_types as ct

SESSION: Final = "again-and-again"
ATTEMPT_S: Final = 90.0
"""No attempt of this rehearsal lasts longer: codes that must expire are given one reference, and so 20 s."""
RATE_LIMITED: Final = 429
BAD_REQUEST: Final = 400
_LOOK_S: Final = 20.0
KINDS: Final = (
    "never_typed",
    "mistyped",
    "silent_phone",
    "bad_identity",
    "connection_reset",
    "worker_killed",
    "cancelled",
    "refused_429",
    "refused_400",
)


class CyclesResult(MemoryFigures, frozen=True, kw_only=True):
    cycles: int
    store: str
    correct_linked: int
    """How often the right attempt worked; must be all."""
    failed_as_planned: int
    """How often the attempt before it ended as it should: not linked, with a reason."""
    failures: dict[str, int]
    limits_lifted: int
    double_links: int
    half_paired_left: int
    link_s_p50: float
    link_s_max: float
    seconds: float
    surprises: list[str]

    @property
    def passed(self) -> bool:
        return (
            self.correct_linked == self.failed_as_planned == self.cycles
            and not self.double_links
            and not self.half_paired_left
            and not self.killed_for_memory
        )


async def run(
    *,
    cycles: int,
    seed: int = 1,
    store: MediaStore = MediaStore.FOLDER,
    memory_limit: int = 0,
    keep: bool = False,
) -> CyclesResult:
    """Carry it out with the shipped settings; limits are lifted by the operator's command, as they would be by hand.
    Raises BenchError if it cannot be."""
    started = time.monotonic()
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
    with Surroundings(store=store, memory_limit=memory_limit) as surroundings:
        async with surroundings.rig(sessions=1, keep=keep) as rig:
            return await _rehearse(rig, surroundings, cycles, chance, started)


async def _rehearse(
    rig: Rig, surroundings: Surroundings, cycles: int, chance: random.Random, started: float
) -> CyclesResult:
    phone = phone_number(1)
    await rig.staging.add_account(ct.AddAccount(phone=phone))
    await rig.api.create_session(SESSION)
    play = _Play(rig, phone)
    for number in range(cycles):
        kind = chance.choice(KINDS)
        await play.cycle(kind)
        if number % 10 == 9:
            say(f"{number + 1} of {cycles}: {play.linked} linked")
    result = CyclesResult(
        cycles=cycles,
        store=surroundings.store.value,
        correct_linked=play.linked,
        failed_as_planned=play.failed,
        failures=dict(play.kinds),
        limits_lifted=play.lifted,
        double_links=play.double,
        half_paired_left=play.half,
        **surroundings.memory_figures(),
        link_s_p50=round(measure.percentile(play.times, 50), 2),
        link_s_max=round(max(play.times, default=0.0), 2),
        seconds=round(time.monotonic() - started, 1),
        surprises=play.surprises,
    )
    if not result.passed:
        rig.keep()
    return result


class _Play:
    def __init__(self, rig: Rig, phone: str) -> None:
        self._rig = rig
        self._phone = phone
        self._account = phone.lstrip("+")
        self.linked = self.failed = self.lifted = self.double = self.half = 0
        self.kinds: collections.Counter[str] = collections.Counter()
        self.times: list[float] = []
        self.surprises: list[str] = []

    async def cycle(self, kind: str) -> None:
        """A failure, the operator's lift, a success, and the end of that link."""
        self.kinds[kind] += 1
        async with asyncio.timeout(ATTEMPT_S):
            await self._fail(kind)
        self.lifted += await self._rig.api.lift_pairing_limits(SESSION)
        async with asyncio.timeout(ATTEMPT_S):
            await self._succeed(kind)
            await self._unlink()
        self.lifted += await self._rig.api.lift_pairing_limits(SESSION)

    async def _fail(self, kind: str) -> None:
        faults = {
            "never_typed": ct.SetFault(kind=ct.FaultKind.PAIR_REFS, code=1),
            "mistyped": ct.SetFault(kind=ct.FaultKind.PAIR_REFS, code=1),
            "silent_phone": ct.SetFault(kind=ct.FaultKind.PAIR_REFS, code=1),
            "bad_identity": ct.SetFault(kind=ct.FaultKind.PAIR_BAD_HMAC, account=self._account),
            "refused_429": ct.SetFault(kind=ct.FaultKind.PAIR_REFUSED, account=self._account, code=RATE_LIMITED),
            "refused_400": ct.SetFault(kind=ct.FaultKind.PAIR_REFUSED, account=self._account, code=BAD_REQUEST),
        }
        if kind in faults:
            await self._rig.staging.set_fault(faults[kind])
        if kind == "silent_phone":
            await self._rig.staging.set_fault(ct.SetFault(kind=ct.FaultKind.PAIR_SILENT, account=self._account))
        view = await self._attempt(lambda shown: self._spoil(kind, shown))
        await self._rig.staging.clear_faults()
        if view.state is not PairingState.LINKED and view.reason:
            self.failed += 1
        else:
            self.surprises.append(f"{kind}: {view.state.value} {view.reason or 'without a reason'}")

    async def _spoil(self, kind: str, view: PairingView) -> None:
        rig, code = self._rig, view.code or ""
        match kind:
            case "mistyped":
                await rig.staging.type_code(self._phone, mistyped(code), now=True)
            case "silent_phone" | "bad_identity":
                await rig.staging.type_code(self._phone, code, now=True)
            case "connection_reset":
                await rig.staging.set_fault(ct.SetFault(kind=ct.FaultKind.RESET))
            case "worker_killed":
                for pid in rig.appliance.worker_pids():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            case "cancelled":
                await rig.api.cancel_pairing(view.id)

    async def _succeed(self, after: str) -> None:
        started = time.monotonic()
        view = await self._attempt(lambda shown: self._type(shown.code or ""))
        if view.state is not PairingState.LINKED:
            self.surprises.append(f"right after {after}: {view.state.value} {view.reason}")
            return
        await self._rig.wait_state(SESSION, SessionState.ONLINE)
        self.times.append(time.monotonic() - started)
        self.linked += 1

    async def _type(self, code: str) -> None:
        await self._rig.staging.type_code(self._phone, code, now=True)

    async def _attempt(self, use: Callable[[PairingView], Awaitable[None]]) -> PairingView:
        """One attempt to its end; its code is used once."""
        api = self._rig.api
        view = await api.pair(SESSION, phone=self._phone)
        used: asyncio.Future[None] | None = None
        while not view.state.final:
            if view.code is not None and used is None:
                used = asyncio.ensure_future(use(view))
            view = await api.pairing(view.id, since=view.updated_at, wait_s=_LOOK_S)
        if used is not None:
            await used
        return view

    async def _unlink(self) -> None:
        """The user removes the device on the phone; nothing else may be listed there."""
        account = await self._rig.staging.account(self._phone)
        devices = [] if account is None else account.devices
        self.double += len(devices) > 1
        self.half += sum(not device.online for device in devices)
        if devices:
            await self._rig.staging.unlink(self._account)
            await self._rig.wait_state(SESSION, SessionState.NEEDS_PAIRING)
