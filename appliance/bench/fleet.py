"""`amda bench fleet`: N sessions with the shipped settings: memory, CPU, cold start, what heals and how fast.

Order: link all, restart everything cold, idle, daemon restart, half-open and hung connections, traffic, large media.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from appliance.bench import measure
from appliance.bench.crowd import CONTACT, Crowd
from appliance.bench.media_choices import MediaStore
from appliance.bench.rig import Rig, api_back, say, until
from appliance.bench.surroundings import MemoryFigures, Surroundings
from appliance.model import SessionState
from appliance.staging import control_types as ct

FULL_FLEET: Final = 60
"""The promised size: figures for one worker are stated for it, totals grow from it."""
COLD_TIMEOUT_S: Final = 180.0
"""For the promised size, as TRAFFIC_TIMEOUT_S."""
SETTLE_S: Final = 20.0
"""After the cold start, before idle CPU and memory are measured: garbage of the start is collected by then."""
IDLE_S: Final = 60.0
AFTER_TRAFFIC_S: Final = 45.0
"""As the figures are defined: 45 s after the last message."""
TEXTS, PICTURES = 200, 20
PARALLEL_CONTACTS: Final = 4
"""Accounts that are written to at the same moment; the network shares our two cores."""
TRAFFIC_TIMEOUT_S: Final = 240.0
PICTURE_BYTES: Final = 60_000
LARGE_BYTES: Final = 16 << 20
LARGE_PICTURES: Final = 3
FAULT_TIMEOUT_S: Final = 100.0
HALF_OPEN_SESSIONS, HUNG_SESSIONS = 5, 3


class Fleet(MemoryFigures, frozen=True, kw_only=True):
    sessions: int
    store: str
    online: int
    link_all_s: float
    cold_start_s: float
    worker_pss_mean_mib: float
    worker_pss_max_mib: float
    worker_pss_used_mean_mib: float
    worker_pss_after_media_mib: float
    total_pss_mib: float
    parts_pss_mib: dict[str, float]
    idle_cpu_percent_of_core: float
    daemon_restart_disconnects: int
    api_back_s: float
    half_open_detected_s_max: float
    half_open_recovered_s_max: float
    engine_hang_recovered_s_max: float
    lost: int
    unknown_requests: int
    second_copies: int
    seconds: float

    @property
    def passed(self) -> bool:
        """Against the figures that are promised; totals grow with the number of sessions."""
        share = share_of(self.sessions)
        mean_limit = 15 if self.sessions >= FULL_FLEET else 17  # fewer processes share the preloaded pages
        return (
            self.online == self.sessions
            and self.cold_start_s <= 30 * share
            and self.worker_pss_mean_mib <= mean_limit
            and self.worker_pss_max_mib <= 18
            and self.worker_pss_used_mean_mib <= 20
            and self.worker_pss_after_media_mib <= 40
            and self.total_pss_mib <= 1000 * share
            and self.idle_cpu_percent_of_core <= 3 * share
            and not self.daemon_restart_disconnects
            and self.api_back_s <= 2
            and self.half_open_recovered_s_max <= 45
            and self.engine_hang_recovered_s_max <= 60
            and not (self.lost or self.unknown_requests or self.second_copies or self.killed_for_memory)
        )


def share_of(sessions: int) -> float:
    """What grows with the fleet, and the time that it may take: 1 for the promised size and below."""
    return max(1.0, sessions / FULL_FLEET)


async def run(
    *, sessions: int, store: MediaStore = MediaStore.FOLDER, memory_limit: int = 0, keep: bool = False
) -> Fleet:
    """Carry it out with shipped settings. Raises BenchError if it cannot be."""
    started = time.monotonic()
    with Surroundings(store=store, memory_limit=memory_limit) as surroundings:
        async with surroundings.rig(sessions=sessions, keep=keep) as rig:
            return await _rehearse(rig, surroundings, sessions, started)


async def _rehearse(rig: Rig, surroundings: Surroundings, sessions: int, started: float) -> Fleet:
    fleet = _Fleet(rig, sessions)
    say(f"linking {sessions} sessions by code")
    link_all_s = await fleet.crowd.link_all()
    say("everything off, and on again")
    cold_start_s = await fleet.cold_start()
    say(f"all online after {cold_start_s:.1f} s; a message through each")
    online = sessions - len(await fleet.crowd.silent())
    await asyncio.sleep(SETTLE_S)
    say(f"idle for {IDLE_S:.0f} s")
    idle_cpu = await fleet.idle_cpu()
    idle = rig.memory()
    say(f"workers {idle.worker_mean:.1f} MiB each, all {idle.total:.0f} MiB, CPU {idle_cpu:.2f} %")
    disconnects, api_back_s = await fleet.restart_daemon()
    say("half-open and hung connections")
    (detected, recovered), hung = await asyncio.gather(fleet.half_open(), fleet.hang())
    say(f"half-open noticed {detected:.1f} s, back {recovered:.1f} s; hung dial back {hung:.1f} s")
    say(f"{TEXTS} texts and {PICTURES} pictures to each")
    lost = await fleet.traffic()
    used = rig.memory()
    say(f"workers {used.worker_mean:.1f} MiB each; three pictures of 16 MiB to one")
    after_media = await fleet.large_media()
    stats = await rig.staging.stats()
    return Fleet(
        sessions=sessions,
        store=surroundings.store.value,
        online=online,
        link_all_s=round(link_all_s, 1),
        cold_start_s=round(cold_start_s, 1),
        worker_pss_mean_mib=round(idle.worker_mean, 2),
        worker_pss_max_mib=round(idle.worker_max, 2),
        worker_pss_used_mean_mib=round(used.worker_mean, 2),
        worker_pss_after_media_mib=round(after_media, 2),
        total_pss_mib=round(idle.total, 1),
        parts_pss_mib={name: round(value, 1) for name, value in idle.parts.items()},
        idle_cpu_percent_of_core=round(idle_cpu, 2),
        daemon_restart_disconnects=disconnects,
        api_back_s=round(api_back_s, 2),
        half_open_detected_s_max=round(detected, 1),
        half_open_recovered_s_max=round(recovered, 1),
        engine_hang_recovered_s_max=round(hung, 1),
        lost=lost,
        unknown_requests=stats.unknown_requests,
        second_copies=stats.second_copies,
        **surroundings.memory_figures(),
        seconds=round(time.monotonic() - started, 1),
    )


class _Fleet:
    """The steps of the rehearsal, each with what it measures."""

    def __init__(self, rig: Rig, count: int) -> None:
        self._rig = rig
        self.crowd = Crowd(rig, count)
        self.phones = self.crowd.phones

    async def cold_start(self) -> float:
        """Seconds from the start of the first process until WhatsApp has seen everybody log in and the API says so."""
        await self._rig.restart_cold()
        started = self._rig.cold_started
        async with asyncio.timeout(COLD_TIMEOUT_S * share_of(len(self.phones))):
            await self.crowd.all_online()
        return time.monotonic() - started

    async def idle_cpu(self) -> float:
        """CPU time of every process of the appliance over a minute, in percent of one core."""
        pids = self._rig.all_pids()
        before, started = measure.cpu_seconds(pids), time.monotonic()
        await asyncio.sleep(IDLE_S)
        return 100 * (measure.cpu_seconds(pids) - before) / (time.monotonic() - started)

    async def restart_daemon(self) -> tuple[int, float]:
        """Connections that ended because of it, and seconds from the daemon's end until the API answers again."""
        before = await self._rig.staging.last()
        await self._rig.appliance.kill_daemon()
        back = await api_back(self._rig.api)
        await self.crowd.all_online()
        closed = await self._rig.staging.whole_journal(after=before, kinds=[ct.JournalKind.CLOSED])
        return sum(1 for entry in closed if entry.data.get("ready")), back

    async def half_open(self) -> tuple[float, float]:
        """Connections that fall silent without an end: seconds until noticed, and until logged in again; the worst."""
        phones = list(self.phones.items())[:HALF_OPEN_SESSIONS]
        results = await asyncio.gather(*(self._fault(*item, ct.FaultKind.STALL) for item in phones))
        return max(detected for detected, _ in results), max(recovered for _, recovered in results)

    async def hang(self) -> float:
        """A dial that never returns holds the engine for ever; seconds until logged in again; the worst."""
        phones = list(self.phones.items())[HALF_OPEN_SESSIONS : HALF_OPEN_SESSIONS + HUNG_SESSIONS]
        results = await asyncio.gather(*(self._fault(*item, ct.FaultKind.NO_UPGRADE) for item in phones))
        return max((recovered for _, recovered in results), default=0.0)

    async def traffic(self) -> int:
        """Texts, and pictures as statuses so that they are fetched, to everybody; how many pictures are missing."""
        stored = (await self._rig.api.status()).media_count
        turns = asyncio.Semaphore(PARALLEL_CONTACTS)

        async def write(phone: str) -> None:
            async with turns:
                await self._rig.staging.send(ct.Send(account=phone, contact=CONTACT, count=TEXTS))
                for _ in range(PICTURES):
                    await self._rig.staging.send(_picture(phone, PICTURE_BYTES))

        async with asyncio.timeout(TRAFFIC_TIMEOUT_S * share_of(len(self.phones))):
            await asyncio.gather(*(write(phone) for phone in self.phones.values()))
            await until(self._nothing_pending)
        await asyncio.sleep(AFTER_TRAFFIC_S)
        return PICTURES * len(self.phones) - ((await self._rig.api.status()).media_count - stored)

    async def large_media(self) -> float:
        """PSS in MiB of one worker 45 s after three pictures of 16 MiB."""
        session, phone = next(iter(self.phones.items()))
        for _ in range(LARGE_PICTURES):
            (message_id,) = await self._rig.staging.send(_picture(phone, LARGE_BYTES))
            await self._stored(session, message_id)
        await asyncio.sleep(AFTER_TRAFFIC_S)
        pid = (await self._rig.api.session(session)).pid
        return measure.pss_mib(pid) if pid else 0.0

    async def _stored(self, session: str, message_id: str) -> None:
        async def listed() -> bool:
            page = await self._rig.api.media(session=session, limit=10)
            return any(item.message_id == message_id for item in page.items)

        async with asyncio.timeout(FAULT_TIMEOUT_S):
            await until(listed)

    async def _nothing_pending(self) -> bool:
        return not (await self._rig.staging.stats()).pending

    async def _fault(self, session: str, phone: str, kind: ct.FaultKind) -> tuple[float, float]:
        """Strike one connection; seconds until the API no longer says online, and until a new login is ready."""
        rig, account = self._rig, phone.lstrip("+")
        before, started = await rig.staging.last(), time.monotonic()
        noticed = asyncio.create_task(self._leaves_online(session))
        if kind is ct.FaultKind.NO_UPGRADE:
            await rig.staging.set_fault(ct.SetFault(kind=kind, account=account, count=1))
            await rig.staging.set_fault(ct.SetFault(kind=ct.FaultKind.RESET, account=account))
        else:
            await rig.staging.set_fault(ct.SetFault(kind=kind, account=account, duration_s=FAULT_TIMEOUT_S))
        await rig.staging.wait_online(phone, after=before, timeout_s=FAULT_TIMEOUT_S)
        await asyncio.wait_for(rig.wait_state(session, SessionState.ONLINE), FAULT_TIMEOUT_S)
        recovered = time.monotonic() - started
        detected = await noticed - started
        return detected, recovered

    async def _leaves_online(self, session: str) -> float:
        """The moment at which the API first calls a session something else than online."""
        async with asyncio.timeout(FAULT_TIMEOUT_S):
            async for event in self._rig.events(session=session, kind="session"):
                if event.data.get("state") != SessionState.ONLINE.value:
                    return time.monotonic()
        raise TimeoutError


def _picture(phone: str, size: int) -> ct.Send:
    return ct.Send(account=phone, contact=CONTACT, kind=ct.SendKind.IMAGE, where=ct.Where.STATUS, size=size)
