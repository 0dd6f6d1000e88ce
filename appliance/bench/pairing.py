"""`amda bench pairing`: all want to be linked at the same moment, by the shipped limits; who types right is linked.

The bench plays the users: it asks the API as they would, looks again at what is shown before typing it on the staging
network's phones, and asks again when told that something was interrupted. The network's journal and its list of linked
devices are the judges.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import random
import time
from typing import Final

from appliance.bench import measure, pairing_figures
from appliance.bench.media_choices import MediaStore
from appliance.bench.pairing_user import Role, Script, Tally, User
from appliance.bench.rig import Rig, phone_number, say
from appliance.bench.surroundings import MemoryFigures, Surroundings
from appliance.model import SessionState
from appliance.staging import control_types as ct

TYPE_AFTER_S: Final = (5.0, 40.0)
"""What people need to find the place in WhatsApp's settings and to type eight characters."""
WRONG_SHARE: Final = 0.10
ASK_TWICE_SHARE: Final = 0.05
NEVER_SHARE: Final = 0.05
LIMIT_S: Final = 540.0
"""The whole rehearsal must be over within nine minutes."""
PSS_LIMIT_MIB: Final = 1300.0
SAMPLE_S: Final = 2.0
"""Reading the memory of seventy processes takes some hundredths of a second: seldom enough not to disturb."""
ONLINE_S: Final = 60.0
"""A linked session is online within seconds."""


class Strike(enum.StrEnum):
    """What happens meanwhile in the disturbed variant."""

    KILL_DAEMON = "kill_daemon"
    RESTART_REDIS = "restart_redis"


STRIKES: Final = ((12.0, Strike.KILL_DAEMON), (30.0, Strike.RESTART_REDIS), (45.0, Strike.KILL_DAEMON))
"""Seconds after the first request: while most codes are on the screens, and the queue is long."""
DROP_PERCENT: Final = 10.0
DROP_FOR_S: Final = 75.0


class PairingResult(MemoryFigures, frozen=True, kw_only=True):
    users: int
    store: str
    disturbed: bool
    should_link: int
    linked: int
    dead_codes_shown: int
    """Codes that the API showed although the network did not take them any more."""
    second_codes: int
    """Codes for a user who had a live one."""
    double_links: int
    half_paired_left: int
    """Devices, attempts' stores or workers that belong to no linked session."""
    stuck: int
    """Attempts without an end, or sessions that are still being linked."""
    refused_by_limits: int
    interrupted: int
    """Attempts that ended for a reason of the appliance, the network or the rehearsal; …"""
    untold: int
    """… and those of which nobody was told why."""
    tries_max: int
    code_shown_s_p50: float
    code_shown_s_p95: float
    linked_total_s: float
    """From the first request until the last one who should be was linked."""
    first_logins_at_once: int
    """As the network saw them; two have their turn at a time."""
    wait_told_error_s_p50: float
    wait_told_error_s_p95: float
    """By how much the wait in line differed from what was told at its beginning."""
    peak_pss_mib: float
    peak_parts_mib: dict[str, float]
    peak_workers: int
    seconds: float
    reasons: dict[str, int]
    """Why attempts ended without success."""

    @property
    def passed(self) -> bool:
        zeros = (
            *(self.dead_codes_shown, self.second_codes, self.double_links, self.half_paired_left, self.stuck),
            *(self.untold, self.refused_by_limits, self.killed_for_memory),
        )
        return (
            not any(zeros)
            and self.linked == self.should_link
            and self.peak_pss_mib <= PSS_LIMIT_MIB
            and self.seconds <= LIMIT_S
        )


async def run(
    *,
    users: int = 60,
    disturbed: bool = False,
    seed: int = 1,
    pace: float = 1.0,
    store: MediaStore = MediaStore.FOLDER,
    memory_limit: int = 0,
    keep: bool = False,
) -> PairingResult:
    """Carry it out with the shipped settings. `pace`: people and mishaps take so many times as long; small for a short
    rehearsal. Raises BenchError if it cannot be."""
    with Surroundings(store=store, memory_limit=memory_limit) as surroundings:
        async with surroundings.rig(sessions=users, keep=keep) as rig:
            return await _rehearse(rig, surroundings, _crowd(rig, users, seed, pace), disturbed=disturbed, pace=pace)


async def _rehearse(
    rig: Rig, surroundings: Surroundings, crowd: list[User], *, disturbed: bool, pace: float
) -> PairingResult:
    say(f"{len(crowd)} sessions are made")
    for user in crowd:
        await rig.staging.add_account(ct.AddAccount(phone=user.phone))
        await rig.api.create_session(user.session)
    peak = _Peak(rig)
    sampling = asyncio.create_task(peak.watch())
    started = time.monotonic()
    say("all ask at the same moment")
    tasks = [asyncio.create_task(user.live(), name=user.session) for user in crowd]
    if disturbed:
        tasks.append(asyncio.create_task(_disturb(rig, pace), name="strikes"))
    async with asyncio.timeout(LIMIT_S):
        await asyncio.gather(*tasks)
    seconds = time.monotonic() - started
    sampling.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await sampling
    say(f"all have ended after {seconds:.0f} s")
    result = await _judge(rig, surroundings, crowd, peak.memory, seconds, started, disturbed=disturbed)
    if not result.passed:
        rig.keep()
    return result


def _crowd(rig: Rig, users: int, seed: int, pace: float) -> list[User]:
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
    numbers = list(range(users))
    chance.shuffle(numbers)
    roles: dict[int, Role] = {}
    for share, role in ((NEVER_SHARE, Role.NEVER), (WRONG_SHARE, Role.WRONG_ONCE), (ASK_TWICE_SHARE, Role.ASK_TWICE)):
        for _ in range(round(share * users)):
            roles[numbers.pop()] = role
    return [
        User(
            rig,
            f"user-{number:03d}",
            phone_number(number),
            Script(role=roles.get(number, Role.TYPE), types_after_s=pace * chance.uniform(*TYPE_AFTER_S)),
        )
        for number in range(users)
    ]


async def _disturb(rig: Rig, pace: float) -> None:
    drops = ct.SetFault(kind=ct.FaultKind.DROP, percent=DROP_PERCENT, duration_s=pace * DROP_FOR_S)
    await rig.staging.set_fault(drops)
    passed = 0.0
    for at, strike in STRIKES:
        await asyncio.sleep(pace * (at - passed))
        passed = at
        say(f"{pace * at:.0f} s: {strike.value}")
        if strike is Strike.KILL_DAEMON:
            await rig.appliance.kill_daemon()
        else:
            await rig.appliance.restart("redis")


class _Peak:
    """The largest memory of all processes of the appliance together."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.memory = measure.Memory(parts={}, workers=[])

    async def watch(self) -> None:
        while True:
            with contextlib.suppress(KeyError, OSError):  # a part that is being started again just now
                found = await asyncio.to_thread(self._rig.memory)
                self.memory = max(self.memory, found, key=lambda memory: memory.total)
            await asyncio.sleep(SAMPLE_S)


async def _judge(
    rig: Rig,
    surroundings: Surroundings,
    crowd: list[User],
    peak: measure.Memory,
    seconds: float,
    started: float,
    *,
    disturbed: bool,
) -> PairingResult:
    await _all_online(rig, [user for user in crowd if user.tally.linked_at is not None])
    views = {view.id: view for view in await rig.api.sessions()}
    accounts = {account.phone: account for account in await rig.staging.accounts()}
    linked = half = double = 0
    for user in crowd:
        devices = accounts[user.phone.lstrip("+")].devices
        online = views[user.session].state is SessionState.ONLINE and any(device.online for device in devices)
        linked += online
        double += len(devices) > 1
        half += len(devices) if not online else 0
        half += _stores(rig, user.session) - (1 if online else 0)
    half += len(rig.appliance.worker_pids()) - linked
    attempts = await rig.api.pairings(limit=200)
    stuck = sum(not view.state.final for view in attempts)
    stuck += sum(view.state in (SessionState.QUEUED, SessionState.PAIRING) for view in views.values())
    tally = Tally.sum_of([user.tally for user in crowd])
    shown = [user.tally.code_after_s for user in crowd if user.tally.code_after_s is not None]
    ends = [user.tally.linked_at - started for user in crowd if user.tally.linked_at is not None]
    return PairingResult(
        users=len(crowd),
        store=surroundings.store.value,
        disturbed=disturbed,
        should_link=sum(user.script.role is not Role.NEVER for user in crowd),
        linked=linked,
        dead_codes_shown=tally.dead_codes,
        second_codes=tally.second_codes,
        double_links=double,
        half_paired_left=half,
        stuck=stuck,
        refused_by_limits=tally.refused_by_limits,
        interrupted=tally.interrupted,
        untold=tally.untold,
        tries_max=max(user.tally.tries for user in crowd),
        code_shown_s_p50=round(measure.percentile(shown, 50), 2),
        code_shown_s_p95=round(measure.percentile(shown, 95), 2),
        linked_total_s=round(max(ends, default=0.0), 1),
        first_logins_at_once=pairing_figures.first_logins_at_once(
            await rig.staging.whole_journal(kinds=pairing_figures.KINDS)
        ),
        wait_told_error_s_p50=pairing_figures.wait_error_s(tally.waits, 50),
        wait_told_error_s_p95=pairing_figures.wait_error_s(tally.waits, 95),
        peak_pss_mib=round(peak.total, 1),
        peak_parts_mib={name: round(mib, 1) for name, mib in peak.parts.items()},
        peak_workers=len(peak.workers),
        **surroundings.memory_figures(),
        seconds=round(seconds, 1),
        reasons=tally.reasons,
    )


async def _all_online(rig: Rig, users: list[User]) -> None:
    with contextlib.suppress(TimeoutError):  # who is not, is counted
        async with asyncio.timeout(ONLINE_S):
            for user in users:
                await rig.wait_state(user.session, SessionState.ONLINE)


def _stores(rig: Rig, session: str) -> int:
    folder = rig.settings.paths.sessions / session
    return sum(path.is_dir() for path in folder.iterdir()) if folder.is_dir() else 0
