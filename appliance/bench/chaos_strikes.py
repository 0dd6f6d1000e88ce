"""Carries out what `chaos_plan` has planned, on real processes and on the staging network.

Every strike makes sure that it hits something: a session that is online, a part that runs. What is counted happened.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

from appliance.bench.chaos_plan import Deck, Planned, Trouble, gone_s
from appliance.bench.crowd import Crowd
from appliance.bench.rig import BenchError, Rig, say, until
from appliance.keeper import PartError
from appliance.processes import ProcessId, identify, is_running
from appliance.staging import control_types as ct
from appliance.wallclock import ClockSetter

TARGET_S: Final = 90.0
"""How long a strike waits for something to hit: nobody is online while the server is gone."""
RETRY_S: Final = 0.25
STOPPED_S: Final = (3.0, 8.0)
"""How long daemon and fork server are stopped: a machine that swaps. Workers are stopped for good."""
STALL_S: Final = 600.0
"""A stalled socket stays so until somebody gives it up."""
STEPS_S: Final = (-7200.0, -900.0, -30.0, 30.0, 900.0, 7200.0)
"""By how much the clock is wrong after a step; a daemon without NTP, a box that was suspended."""
REFUSALS: Final = (500, 503)
"""Codes with which logins are refused: WhatsApp's own trouble, which a client may try again."""
STORM_CODES: Final = (500, 503)
THIRD: Final = 1 / 3


class Strike(msgspec.Struct, frozen=True, kw_only=True):
    """One fault that happened; `at` by the machine's clock."""

    at: float
    trouble: Trouble
    targets: list[str]
    note: str = ""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """The clock was set: from `at` on (by the machine's clock) it is `offset` ahead."""

    at: float
    offset: float


class Strikes:
    """`carry_out` each planned fault; afterwards `release` what was stopped."""

    def __init__(self, rig: Rig, crowd: Crowd, clock: ClockSetter, rng: random.Random, minutes: float) -> None:
        self._rig = rig
        self._crowd = crowd
        self._clock = clock
        self._rng = rng
        self._gone_s = gone_s(minutes)
        self._deck = Deck(rng, list(crowd.phones))
        self._stopped: list[ProcessId] = []
        self.done: list[Strike] = []
        self.kill_times: list[float] = []
        """When workers were killed, by the machine's clock."""
        self.steps = [Step(at=0.0, offset=0.0)]
        self._actions: dict[Trouble, Callable[[Planned], Awaitable[None]]] = {
            Trouble.WORKER_KILLED: self._kill_worker,
            Trouble.WORKER_STOPPED: self._stop_worker,
            Trouble.DAEMON_KILLED: lambda planned: self._kill_part(planned, "daemon"),
            Trouble.DAEMON_STOPPED: lambda planned: self._stop_part(planned, "daemon"),
            Trouble.FORK_SERVER_KILLED: lambda planned: self._kill_part(planned, "forkserver"),
            Trouble.FORK_SERVER_STOPPED: lambda planned: self._stop_part(planned, "forkserver"),
            Trouble.REDIS_RESTARTED: lambda planned: self._kill_part(planned, "redis"),
            Trouble.SOCKETS_CLOSED: lambda planned: self._sockets(planned, ct.FaultKind.CLOSE),
            Trouble.SOCKETS_RESET: lambda planned: self._sockets(planned, ct.FaultKind.RESET),
            Trouble.SOCKETS_STALLED: lambda planned: self._sockets(planned, ct.FaultKind.STALL),
            Trouble.STORM_503: self._storm,
            Trouble.LOGINS_REFUSED: self._refuse_login,
            Trouble.DIAL_HANGS: self._hang_dial,
            Trouble.SERVER_GONE: self._gone,
            Trouble.CLOCK_STEPPED: self._step_clock,
        }

    @property
    def by_kind(self) -> dict[str, int]:
        counted = Counter(strike.trouble.value for strike in self.done)
        return {trouble.value: counted[trouble.value] for trouble in Trouble}

    async def carry_out(self, planned: Planned) -> None:
        """Raises BenchError if there was nothing to hit for a long time."""
        try:
            await self._actions[planned.trouble](planned)
        except PartError as error:  # it ended this very moment, by another strike
            say(f"{planned.trouble.value}: {error}")

    def release(self) -> None:
        """Let daemon and fork server go on if their strike was cut short."""
        for process in self._stopped:
            _signal(process, signal.SIGCONT)

    def _note(self, planned: Planned, targets: list[str], note: str = "") -> None:
        strike = Strike(at=time.time(), trouble=planned.trouble, targets=targets, note=note)
        self.done.append(strike)
        shown = " ".join(targets) if len(targets) <= 3 else f"{len(targets)} sessions"
        say(f"{planned.at_s:6.1f} s  {strike.trouble.value} {shown} {note}".rstrip())

    # ---- processes

    async def _kill_worker(self, planned: Planned) -> None:
        session, process = await self._running_worker()
        self._note(planned, [session])
        self.kill_times.append(time.time())
        _signal(process, signal.SIGKILL)

    async def _stop_worker(self, planned: Planned) -> None:
        session, process = await self._running_worker()
        self._note(planned, [session])
        _signal(process, signal.SIGSTOP)

    async def _kill_part(self, planned: Planned, name: str) -> None:
        async with asyncio.timeout(TARGET_S):
            await self._rig.appliance.wait_ready(name)
        gently = name == "redis" and planned.number % 2 == 0
        self._note(planned, [], "in order" if gently else "")
        if name == "forkserver":
            self.kill_times.append(time.time())
        if gently:
            await self._rig.appliance.restart(name)
        else:
            await self._rig.appliance.kill(name)

    async def _stop_part(self, planned: Planned, name: str) -> None:
        async with asyncio.timeout(TARGET_S):
            await self._rig.appliance.wait_ready(name)
        process = identify(self._rig.appliance.pids()[name])
        seconds = self._rng.uniform(*STOPPED_S)
        self._note(planned, [], f"for {seconds:.1f} s")
        self._stopped.append(process)
        _signal(process, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        _signal(process, signal.SIGCONT)
        self._stopped.remove(process)

    async def _running_worker(self) -> tuple[str, ProcessId]:
        async with _target("no worker runs"):
            while True:
                workers = self._workers()
                if (session := self._deck.deal(set(workers))) is not None:
                    return session, workers[session]
                await asyncio.sleep(RETRY_S)

    def _workers(self) -> dict[str, ProcessId]:
        """Session → its process, by the folder in which it works."""
        found = {}
        sessions = self._rig.settings.paths.sessions
        for pid in self._rig.appliance.worker_pids():
            with contextlib.suppress(OSError, ValueError):
                store = Path("/proc", str(pid), "cwd").readlink()
                found[store.relative_to(sessions).parts[0]] = identify(pid)
        return {session: process for session, process in found.items() if is_running(process)}

    # ---- the network

    async def _sockets(self, planned: Planned, kind: ct.FaultKind) -> None:
        wanted = self._rng.randint(1, 3)
        hit: list[str] = []
        async with _target("nobody is online"):
            while not hit:
                online = await self._online()
                for _ in range(wanted):
                    session = self._deck.deal(online - set(hit))
                    if session is not None and await self._strike(kind, session, duration_s=STALL_S):
                        hit.append(session)
                if not hit:
                    await asyncio.sleep(RETRY_S)
        self._note(planned, hit)

    async def _storm(self, planned: Planned) -> None:
        code = self._rng.choice(STORM_CODES)
        everybody = planned.number % 2 == 0
        async with _target("nobody is online"):
            await until(self._somebody_online)
        online = await self._online()
        chosen = sorted(online) if everybody else sorted(online & set(self._deck.some(THIRD))) or sorted(online)
        self._note(planned, chosen, f"code {code}")
        await asyncio.gather(*(self._strike(ct.FaultKind.STREAM_ERROR, session, code=code) for session in chosen))

    async def _refuse_login(self, planned: Planned) -> None:
        code = self._rng.choice(REFUSALS)
        session = await self._struck_at_login(ct.FaultKind.FAILURE, code)
        self._note(planned, [session], f"code {code}")

    async def _hang_dial(self, planned: Planned) -> None:
        self._note(planned, [await self._struck_at_login(ct.FaultKind.NO_UPGRADE)])

    async def _struck_at_login(self, kind: ct.FaultKind, code: int = 0) -> str:
        """Prepare a fault for the next login of somebody, and make that login necessary."""
        async with _target("nobody is online"):
            while True:
                session = self._deck.deal(await self._online())
                if session is not None:
                    account = self._crowd.accounts[session]
                    fault = await self._rig.staging.set_fault(
                        ct.SetFault(kind=kind, account=account, code=code, count=1)
                    )
                    if await self._strike(ct.FaultKind.RESET, session):
                        return session
                    await self._rig.staging.clear_faults(fault.id)
                await asyncio.sleep(RETRY_S)

    async def _gone(self, planned: Planned) -> None:
        if planned.everybody:
            self._note(planned, [], f"for everybody, {self._gone_s:.0f} s")
            await self._rig.staging.set_fault(ct.SetFault(kind=ct.FaultKind.DOWN, duration_s=self._gone_s))
            return
        chosen = self._deck.some(THIRD)
        self._note(planned, chosen, f"{self._gone_s:.0f} s")
        for session in chosen:
            await self._strike(ct.FaultKind.DOWN, session, duration_s=self._gone_s)

    async def _strike(self, kind: ct.FaultKind, session: str, *, duration_s: float = 0.0, code: int = 0) -> bool:
        """Whether it hit a connection."""
        instant = kind in (ct.FaultKind.CLOSE, ct.FaultKind.RESET, ct.FaultKind.STREAM_ERROR)
        fault = await self._rig.staging.set_fault(
            ct.SetFault(
                kind=kind,
                account=self._crowd.accounts[session],
                duration_s=0.0 if instant else duration_s,
                code=code,
            )
        )
        return fault.struck > 0

    async def _somebody_online(self) -> bool:
        return bool(await self._online())

    async def _online(self) -> set[str]:
        online = {
            account.phone
            for account in await self._rig.staging.accounts()
            if any(device.online for device in account.devices)
        }
        return {session for session, account in self._crowd.accounts.items() if account in online}

    # ---- the machine

    async def _step_clock(self, planned: Planned) -> None:
        offset = self._rng.choice([step for step in (0.0, *STEPS_S) if step != self._clock.offset])
        self._note(planned, [], f"{offset - self._clock.offset:+.0f} s")
        self.steps.append(Step(at=time.time(), offset=offset))
        self._clock.set(offset)


@contextlib.asynccontextmanager
async def _target(what: str) -> AsyncIterator[None]:
    """As long as there may be nothing to hit; then BenchError."""
    try:
        async with asyncio.timeout(TARGET_S):
            yield
    except TimeoutError:
        raise BenchError(f"{what} for {TARGET_S:.0f} s") from None


def _signal(process: ProcessId, number: signal.Signals) -> None:
    """To this very process; nothing if it has ended meanwhile."""
    if is_running(process):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)
