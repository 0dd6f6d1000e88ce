"""`amda bench chaos`: everything that can go wrong does, at random, while messages and media flow to a whole fleet.

Shipped settings; faults of processes, network and clock (`chaos_plan`); afterwards the network's own journal is held
against what the store gives back, against the ledger, and against who is online.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Final

import msgspec

from appliance.bench import chaos_ledger, chaos_plan, proof
from appliance.bench.chaos_strikes import Strikes
from appliance.bench.crowd import Crowd
from appliance.bench.measure import percentile
from appliance.bench.media_choices import MediaStore
from appliance.bench.rig import Rig, api_back, say, until
from appliance.bench.surroundings import MemoryFigures, Surroundings
from appliance.model_history import Disconnection
from appliance.staging import control_types as ct
from appliance.wallclock import ClockSetter

MESSAGES_PER_S: Final = 16.5
"""For sixty sessions; 4,950 in five minutes, and one more for each that is deleted: above 6,000."""
FULL_SESSIONS: Final = 60
MIX: Final = ct.Mix(text=0.0, image=0.0, status=70.0, view_once=4.0, revoked=26.0, pictures=0.1)
"""All of it has to be stored, so all of it is put to the proof: statuses, view-once pictures, and what is deleted."""
PARALLEL_LINKS: Final = 12
RECOVER_S: Final = 90.0
"""Until everybody must be back after the last fault: a half-open connection takes 45 s, a hung dial 60 s."""
STORE_S: Final = 60.0
"""So long nothing may be stored before what is missing counts as lost: intake goes on after the last fault."""
NEEDED_FAULTS, NEEDED_EACH, NEEDED_MESSAGES, NEEDED_MEDIA = 100, 3, 5000, 500
"""Of sixty sessions in five minutes, as the issue asks; smaller rehearsals need their share."""
LIMIT_S: Final = 540.0
SLOWEST: Final = 8
"""Ways back that are told in full: enough to see what they have in common."""


class Chaos(MemoryFigures, frozen=True, kw_only=True):
    sessions: int
    store: str
    minutes: float
    seed: int
    faults: dict[str, int]
    faults_total: int
    messages_sent: int
    media_sent: int
    proved: int
    lost: int
    lost_in_ack_window: int
    duplicates: int
    sha256_mismatches: int
    not_due: int
    second_copies: int
    never_recovered: int
    losses: int
    ledger_rows: int
    ledger_missing: int
    ledger_extra: int
    ledger_undecided: int
    recovery_p50_s: float
    recovery_p99_s: float
    recovery_max_s: float
    own_recovery_p50_s: float
    own_recovery_p99_s: float
    """Without the time for which the session's server was really gone, …"""
    own_recovery_max_s: float
    """… which leaves what the appliance itself takes."""
    slowest: list[str]
    unknown_requests: int
    link_all_s: float
    seconds: float
    details: list[str]

    @property
    def passed(self) -> bool:
        share = min(1.0, self.minutes / chaos_plan.FULL_MINUTES)
        crowd = min(1.0, self.sessions / FULL_SESSIONS)
        zeros = (
            self.lost,
            self.duplicates,
            self.sha256_mismatches,
            self.not_due,
            self.second_copies,
            self.never_recovered,
            self.ledger_missing,
            self.ledger_extra,
            self.killed_for_memory,
        )
        return (
            not any(zeros)
            and self.faults_total >= NEEDED_FAULTS * share
            and min(self.faults.values()) >= min(NEEDED_EACH, max(1, round(NEEDED_EACH * share)))
            and self.messages_sent >= NEEDED_MESSAGES * share * crowd
            and self.media_sent >= NEEDED_MEDIA * share * crowd
            and self.seconds <= LIMIT_S
        )


async def run(
    *,
    sessions: int,
    minutes: float,
    seed: int,
    store: MediaStore = MediaStore.FOLDER,
    memory_limit: int = 0,
    keep: bool = False,
) -> Chaos:
    """Carry it out. Raises BenchError if it cannot be."""
    with Surroundings(store=store, memory_limit=memory_limit) as surroundings:
        rig = surroundings.rig(sessions=sessions, keep=keep)
        clock = ClockSetter(rig.network.folder)
        clock.begin()
        async with rig:
            rehearsal = _Rehearsal(rig, surroundings, clock, sessions, minutes, seed)
            link_all_s = await rehearsal.link_all()
            traffic = await rehearsal.chaos()
            never = await rehearsal.recover()
            return await rehearsal.verdict(link_all_s, traffic, never)


class _Rehearsal:
    """The steps, in order."""

    def __init__(
        self, rig: Rig, surroundings: Surroundings, clock: ClockSetter, sessions: int, minutes: float, seed: int
    ) -> None:
        self._rig = rig
        self._surroundings = surroundings
        self._minutes = minutes
        self._seed = seed
        self._started = time.monotonic()
        self._rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._crowd = Crowd(rig, sessions)
        self._strikes = Strikes(rig, self._crowd, clock, self._rng, minutes)

    async def link_all(self) -> float:
        say(f"linking {len(self._crowd.phones)} sessions")
        seconds = await self._crowd.link_all(PARALLEL_LINKS)
        await self._crowd.all_online()
        say(f"all online after {seconds:.0f} s")
        return seconds

    async def chaos(self) -> ct.TrafficState:
        """Faults and traffic at the same time; what was sent."""
        share = len(self._crowd.phones) / FULL_SESSIONS
        rate = MESSAGES_PER_S * share
        identifier = await self._rig.staging.start_traffic(
            ct.Traffic(
                accounts=list(self._crowd.accounts.values()),
                per_second=rate,
                messages=round(rate * self._minutes * 60),
                mix=MIX,
                seed=self._seed,
            )
        )
        started = time.monotonic()
        try:
            async with asyncio.TaskGroup() as group:
                for planned in chaos_plan.plan(self._rng, self._minutes):
                    await asyncio.sleep(max(0.0, started + planned.at_s - time.monotonic()))
                    group.create_task(self._strikes.carry_out(planned))
        finally:
            self._strikes.release()
        return await self._rig.staging.wait_traffic(identifier, RECOVER_S)

    async def recover(self) -> list[str]:
        """Until everybody is back and nothing is owed to anybody; who is not."""
        say("no more faults; waiting until everybody is back")
        started = time.monotonic()
        try:
            async with asyncio.timeout(RECOVER_S):
                await api_back(self._rig.api)
                await self._crowd.all_online()
                await until(self._nothing_owed)
        except TimeoutError:
            pass
        never = [f"{session} is {state.value}" for session, state in (await self._crowd.offline()).items()]
        never += [
            f"{session} does not receipt" for session in await self._crowd.silent() if session not in " ".join(never)
        ]
        say(f"{len(never)} not back after {time.monotonic() - started:.0f} s")
        return never

    async def verdict(self, link_all_s: float, traffic: ct.TrafficState, never: list[str]) -> Chaos:
        rig, strikes = self._rig, self._strikes
        due = await proof.due_captures(rig, self._crowd.phones, receipted_only=False)
        say(f"{len(due)} captures are due")
        await proof.wait_stored(rig, due, STORE_S)
        verdict = await proof.prove(rig, due, strikes.kill_times)
        logins = chaos_ledger.connections(await rig.staging.whole_journal(kinds=chaos_ledger.KINDS))
        audit = chaos_ledger.audit(logins, await self._ledger(), self._crowd.accounts, strikes.steps)
        back = chaos_ledger.recoveries(logins, self._crowd.accounts, strikes.done, chaos_plan.gone_s(self._minutes))
        recoveries, own = [one.seconds for one in back], [one.own_s for one in back]
        stats = await rig.staging.stats()
        result = Chaos(
            sessions=len(self._crowd.phones),
            store=self._surroundings.store.value,
            minutes=self._minutes,
            seed=self._seed,
            faults=strikes.by_kind,
            faults_total=len(strikes.done),
            messages_sent=traffic.sent,
            media_sent=traffic.media_sent,
            proved=verdict.sent,
            lost=verdict.lost,
            lost_in_ack_window=verdict.lost_in_ack_window,
            duplicates=verdict.duplicates,
            sha256_mismatches=verdict.sha256_mismatches,
            not_due=verdict.not_due,
            second_copies=stats.second_copies,
            never_recovered=len(never),
            losses=audit.counted,
            ledger_rows=audit.rows,
            ledger_missing=len(audit.missing),
            ledger_extra=len(audit.extra),
            ledger_undecided=audit.undecided,
            recovery_p50_s=round(percentile(recoveries, 50), 2),
            recovery_p99_s=round(percentile(recoveries, 99), 2),
            recovery_max_s=round(max(recoveries, default=0.0), 2),
            own_recovery_p50_s=round(percentile(own, 50), 2),
            own_recovery_p99_s=round(percentile(own, 99), 2),
            own_recovery_max_s=round(max(own, default=0.0), 2),
            slowest=[_told(one) for one in sorted(back, key=lambda one: -one.own_s)[:SLOWEST]],
            unknown_requests=stats.unknown_requests,
            **self._surroundings.memory_figures(),
            link_all_s=round(link_all_s, 1),
            seconds=round(time.monotonic() - self._started, 1),
            details=[*never, *audit.missing, *audit.extra, *verdict.lost_ids],
        )
        if not result.passed:
            rig.keep()
        for name, content in (("strikes", strikes.done), ("recoveries", back)):
            (rig.folder / f"{name}.json").write_bytes(msgspec.json.format(msgspec.json.encode(content)))
        return result

    async def _ledger(self) -> dict[str, list[Disconnection]]:
        rows: dict[str, list[Disconnection]] = {}
        async for row in self._rig.api.all_history():
            rows.setdefault(row.session, []).insert(0, row)
        return rows

    async def _nothing_owed(self) -> bool:
        return not (await self._rig.staging.stats()).pending


def _told(recovery: chaos_ledger.Recovery) -> str:
    gone = f", {recovery.gone_s:.0f} s of them without server" if recovery.gone_s else ""
    return f"{recovery.session}: {recovery.seconds:.1f} s{gone}: {'; '.join(recovery.because)}"
