"""`amda bench isolation`: one worker spins, one leaks; do the others notice?

Latency is the network's own: from the moment at which it wrote a message to a connection until it read the receipt,
which the engine sends only when the message is on disk. It is measured twice with the same traffic: in peace, and while
one session's event loop spins (again and again, whenever it was healed) and another one takes 40 MiB a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import Final

import msgspec

from appliance.bench import measure
from appliance.bench.crowd import Crowd
from appliance.bench.rig import BenchError, Rig, say, until
from appliance.client import ClientError
from appliance.model import SessionState
from appliance.staging import control_types as ct
from appliance.worker.misbehaviour import BUSY_SIGNAL, LEAK_SIGNAL

PARALLEL_LINKS: Final = 12
SETTLE_S: Final = 20.0
"""After linking, before anything is measured."""
MEASURE_S: Final = 45.0
"""Twice the time after which a spinning worker is healed."""
MESSAGES_PER_S: Final = 20.0
"""To the others together: many enough for a 95th percentile, few enough that two cores are not the subject."""
DRAIN_S: Final = 60.0
HEAL_S: Final = 60.0
WATCH_S: Final = 0.25
ALLOWED_RATIO: Final = 1.5
VICTIMS: Final = 2


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds from delivery to receipt."""

    messages: int
    unanswered: int
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


class Isolation(msgspec.Struct, frozen=True, kw_only=True):
    sessions: int
    before: Latency
    during: Latency
    ratio: float
    """Of the means."""
    ratio_p95: float
    busy_strikes: int
    busy_cpu_percent_of_core: float
    busy_reasons: dict[str, int]
    leak_peak_mib: float
    leak_reasons: dict[str, int]
    leak_ended_s: float
    others_disconnected: int
    others_restarted: int
    victims_back: bool
    seconds: float

    @property
    def passed(self) -> bool:
        return (
            self.ratio <= ALLOWED_RATIO
            and self.ratio_p95 <= ALLOWED_RATIO
            and not (self.during.unanswered or self.others_disconnected or self.others_restarted)
            and self.busy_strikes > 0
            and bool(self.leak_reasons)
            and self.victims_back
        )


async def run(*, sessions: int, keep: bool = False) -> Isolation:
    """Carry it out with the shipped settings. Raises BenchError if it cannot be."""
    if sessions <= VICTIMS:
        raise BenchError(f"sessions: {sessions}; {VICTIMS} of them misbehave, so there must be more")
    started = time.monotonic()
    async with Rig(keep=keep, variables={"AMDA_LIMITS_SESSIONS": str(max(100, sessions))}) as rig:
        rehearsal = _Rehearsal(rig, sessions)
        say(f"linking {sessions} sessions")
        await rehearsal.crowd.link_all(PARALLEL_LINKS)
        await rehearsal.crowd.all_online()
        await asyncio.sleep(SETTLE_S)
        say(f"{MEASURE_S:.0f} s in peace")
        before = await rehearsal.latency()
        say(f"p50 {before.p50_ms} ms, p95 {before.p95_ms} ms; one spins, one leaks")
        await rehearsal.misbehave()
        during = await rehearsal.latency()
        await rehearsal.stop_misbehaving()
        say(f"p50 {during.p50_ms} ms, p95 {during.p95_ms} ms; waiting for the two")
        result = await rehearsal.result(before, during, started)
        if not result.passed:
            rig.keep()
        return result


class _Rehearsal:
    def __init__(self, rig: Rig, sessions: int) -> None:
        self._rig = rig
        self.crowd = Crowd(rig, sessions)
        self._busy, self._leaking, *self._others = self.crowd.phones
        self._strikes = 0
        self._cpu: list[float] = []
        self._leak_peak = 0.0
        self._leak_ended_s = 0.0
        self._tasks: list[asyncio.Task[None]] = []
        self._before: dict[str, int | None] = {}
        self._since = 0

    async def latency(self) -> Latency:
        """Write to the others for a while, and see how long each receipt took."""
        staging = self._rig.staging
        accounts = [self.crowd.accounts[session] for session in self._others]
        since = await staging.last()
        identifier = await staging.start_traffic(
            ct.Traffic(accounts=accounts, per_second=MESSAGES_PER_S, duration_s=MEASURE_S, mix=ct.Mix(image=0.0))
        )
        await staging.wait_traffic(identifier, MEASURE_S + DRAIN_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await until(self._nothing_owed)
        journal = await staging.whole_journal(after=since, kinds=[ct.JournalKind.DELIVERED, ct.JournalKind.RECEIPTED])
        return latency_of(journal, set(accounts))

    async def misbehave(self) -> None:
        self._before = {view.id: view.pid for view in await self._rig.api.sessions()}
        self._since = await self._rig.staging.last()
        self._tasks = [asyncio.create_task(self._keep_busy()), asyncio.create_task(self._leak_once())]

    async def stop_misbehaving(self) -> None:
        for task in self._tasks:
            task.cancel()
        done, _ = await asyncio.wait(self._tasks)
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def result(self, before: Latency, during: Latency, started: float) -> Isolation:
        rig = self._rig
        back = True
        try:
            async with asyncio.timeout(HEAL_S):
                await self.crowd.all_online()
        except TimeoutError:
            back = False
        closed = await rig.staging.whole_journal(after=self._since, kinds=[ct.JournalKind.CLOSED])
        others = {self.crowd.accounts[session] for session in self._others}
        pids = {view.id: view.pid for view in await rig.api.sessions()}
        return Isolation(
            sessions=len(self.crowd.phones),
            before=before,
            during=during,
            ratio=round(during.mean_ms / before.mean_ms, 2),
            ratio_p95=round(during.p95_ms / before.p95_ms, 2),
            busy_strikes=self._strikes,
            busy_cpu_percent_of_core=round(100 * sum(self._cpu) / len(self._cpu), 1) if self._cpu else 0.0,
            busy_reasons=await self._reasons(self._busy),
            leak_peak_mib=round(self._leak_peak, 1),
            leak_reasons=await self._reasons(self._leaking),
            leak_ended_s=round(self._leak_ended_s, 1),
            others_disconnected=sum(entry.account in others for entry in closed),
            others_restarted=sum(pids.get(session) != self._before.get(session) for session in self._others),
            victims_back=back,
            seconds=round(time.monotonic() - started, 1),
        )

    async def _keep_busy(self) -> None:
        """Have it spin; when it was healed, again."""
        struck: int | None = None
        while True:
            pid = await self._online_pid(self._busy)
            if pid is not None and pid != struck:
                struck = pid
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, BUSY_SIGNAL)
                    self._strikes += 1
                    self._cpu.append(await _cpu_share(pid))
            await asyncio.sleep(WATCH_S)

    async def _leak_once(self) -> None:
        """Have it leak, and watch it until it has ended."""
        pid = await self._online_pid(self._leaking)
        if pid is None:
            raise BenchError(f"{self._leaking} is not online")
        started = time.monotonic()
        os.kill(pid, LEAK_SIGNAL)
        while (now := measure.pss_mib(pid)) > 0:
            self._leak_peak = max(self._leak_peak, now)
            await asyncio.sleep(WATCH_S)
        self._leak_ended_s = time.monotonic() - started

    async def _online_pid(self, session: str) -> int | None:
        try:
            view = await self._rig.api.session(session)
        except ClientError:
            return None
        return view.pid if view.state is SessionState.ONLINE else None

    async def _reasons(self, session: str) -> dict[str, int]:
        found: dict[str, int] = {}
        async for row in self._rig.api.all_history(session=session):
            found[row.reason] = found.get(row.reason, 0) + 1
        return found

    async def _nothing_owed(self) -> bool:
        others = {self.crowd.accounts[session] for session in self._others}
        views = await self._rig.staging.accounts()
        return not any(device.pending for view in views if view.phone in others for device in view.devices)


def latency_of(journal: list[ct.JournalEntry], accounts: set[str]) -> Latency:
    """From the last delivery of each message to its receipt."""
    delivered: dict[tuple[str, str], float] = {}
    took: list[float] = []
    for entry in journal:
        key = (entry.account, entry.message_id)
        if entry.account not in accounts:
            continue
        if entry.kind is ct.JournalKind.DELIVERED:
            delivered[key] = entry.at
        elif key in delivered:
            took.append(1000 * (entry.at - delivered.pop(key)))
    return Latency(
        messages=len(took),
        unanswered=len(delivered),
        mean_ms=round(sum(took) / len(took), 2) if took else 0.0,
        p50_ms=round(measure.percentile(took, 50), 2),
        p95_ms=round(measure.percentile(took, 95), 2),
        p99_ms=round(measure.percentile(took, 99), 2),
    )


async def _cpu_share(pid: int) -> float:
    """Of one core, over a second."""
    before, started = measure.cpu_seconds([pid]), time.monotonic()
    await asyncio.sleep(1.0)
    return max(0.0, measure.cpu_seconds([pid]) - before) / (time.monotonic() - started)
