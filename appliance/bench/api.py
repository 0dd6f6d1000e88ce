"""`amda bench api`: a thousand subscribers of events and five hundred reads a second, on the API as it is shipped.

The daemon is a real one with real sessions, whose contacts post statuses all the time: every event comes the way that
events come. The clients are a process of their own (`api_load`); they come from a dozen loopback addresses, each with a
token, because no limit of the API is raised for them. The only setting is `api.listen`, which is off by default.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator
from typing import Final

import msgspec

from appliance.bench import measure
from appliance.bench.api_plan import ORIGINS, LoadFigures, LoadNews, LoadPlan, Phase
from appliance.bench.crowd import CONTACT, Crowd
from appliance.bench.rig import BenchError, Rig, say
from appliance.children import end, package_environment, start_tethered
from appliance.embedded import write_private
from appliance.minio_server import free_port
from appliance.staging import control_types as ct

LINKED: Final = 2
"""Sessions that are really linked; the others are rows, as long as nobody is interested in their processes."""
SESSIONS: Final = 60
"""What the lists show."""
SEEDED: Final = 40
"""Statuses that are stored before it begins, so that lists have something to show."""
SEED_S: Final = 60.0
STATUS_EVERY_S: Final = 0.25
"""A contact posts; each status becomes an event when it is stored."""
RESTART_EVERY_S: Final = 10.0
"""A session is restarted: a row of the ledger, and events of its states."""
STATUS_BYTES: Final = 20_000
"""A small photo: it is not made smaller, which would be another rehearsal."""
MARGIN: Final = 1.02
"""More than asked for, so that the figure is reached although the last answers take a moment."""
SPARE: Final = 0.05
"""Subscribers beyond the number that must be connected at any moment: some are always on their way back …"""
SPARE_LEAST: Final = 5
"""… and of few there are sometimes several at once."""
LOOK_S: Final = 2.0
GRACE_S: Final = 5.0
GROWTH_MIB: Final = 60.0
READ_P99_MS: Final = 50.0
LIMIT_S: Final = 180.0
"""What the figures must not pass."""


class Api(msgspec.Struct, frozen=True, kw_only=True):
    asked: dict[str, float]
    """How many subscribers, requests a second, and seconds."""
    subscribers: int
    """The fewest that were connected at any moment of the measured time."""
    reconnections: int
    disconnects: int
    events: int
    """Published while it was measured."""
    events_delivered: int
    events_missed: int
    events_repeated: int
    requests: int
    requests_per_s: float
    requests_failed: int
    not_modified: int
    read_p50_ms: float
    read_p99_ms: float
    read_max_ms: float
    slowest_reads_p99_ms: dict[str, float]
    daemon_pss_before_mib: float
    daemon_pss_max_mib: float
    daemon_pss_growth_mib: float
    daemon_cpu_percent: float
    """Of one core, while it was measured."""
    generator_cpu_s: float
    seconds: float
    wrong: list[str]

    @property
    def passed(self) -> bool:
        return (
            self.subscribers >= self.asked["subscribers"]
            and self.requests_per_s >= self.asked["requests_per_s"]
            and self.read_p99_ms <= READ_P99_MS
            and self.daemon_pss_growth_mib <= GROWTH_MIB
            and self.events > 0
            and not (self.disconnects or self.events_missed or self.events_repeated or self.requests_failed)
            and self.seconds <= LIMIT_S
        )


async def run(
    *,
    subscribers: int = 1000,
    requests_per_s: int = 500,
    duration_s: float = 60.0,
    sessions: int = SESSIONS,
    seeded: int = SEEDED,
    seed: int = 1,
    keep: bool = False,
) -> Api:
    """Carry it out. Raises BenchError if it cannot be."""
    started = time.monotonic()
    port = free_port()
    async with Rig(keep=keep, variables={"AMDA_API_LISTEN": f"127.0.0.1:{port}"}) as rig:
        crowd = Crowd(rig, LINKED)
        say(f"linking {LINKED} sessions")
        await crowd.link_all()
        await _fill(rig, crowd, sessions, seeded)
        before = measure.pss_mib(rig.appliance.pids()["daemon"])
        plan = LoadPlan(
            socket=str(rig.appliance.api_socket),
            port=port,
            tokens=[(await rig.api.create_token(f"origin-{number}")).secret for number in range(ORIGINS)],
            subscribers=subscribers,
            spare=spare_for(subscribers),
            requests_per_s=requests_per_s * MARGIN,
            seconds=duration_s,
            after=(await rig.api.status()).last_event,
            seed=seed,
        )
        result = _result(plan, await _under_load(rig, crowd, plan), before, requests_per_s, started)
        if not result.passed:
            rig.keep()
        return result


async def _fill(rig: Rig, crowd: Crowd, sessions: int, seeded: int) -> None:
    """What lists and figures are about."""
    say(f"making {sessions} sessions and {seeded} stored statuses")
    for number in range(sessions - LINKED):
        await rig.api.create_session(f"spare-{number:03d}")
    after = (await rig.api.status()).last_event
    phones = list(crowd.phones.values())
    for number in range(seeded):
        await _post(rig, phones[number % LINKED])
    stored = 0
    async with asyncio.timeout(SEED_S):
        async for _ in rig.events(after=after, kind="media.stored"):
            stored += 1
            if stored == seeded:
                return


async def _post(rig: Rig, phone: str) -> None:
    await rig.staging.send(
        ct.Send(account=phone, contact=CONTACT, kind=ct.SendKind.IMAGE, where=ct.Where.STATUS, size=STATUS_BYTES)
    )


async def _under_load(rig: Rig, crowd: Crowd, plan: LoadPlan) -> _Course:
    """Start the clients, let things happen, and look at the daemon until they have ended."""
    path = rig.folder / "load.json"
    write_private(path, msgspec.json.encode(plan).decode())
    process = await start_tethered(
        [sys.executable, "-P", "-m", "appliance.bench.api_load", str(path)],
        environment=package_environment(os.environ),
        output=asyncio.subprocess.PIPE,
    )
    course = _Course(rig.appliance.pids()["daemon"])
    say(f"connecting {plan.subscribers + plan.spare} subscribers")
    try:
        async with asyncio.TaskGroup() as group:
            work = [group.create_task(course.watch())]
            async for news in _news(process):
                match news.phase:
                    case Phase.CONNECTED:
                        say(f"reading {plan.requests_per_s:.0f} times a second for {plan.seconds:.0f} s")
                        work.append(group.create_task(_let_happen(rig, crowd)))
                        course.begin()
                    case Phase.MEASURED:
                        course.end()
                        work[-1].cancel()
                        say("waiting until everybody has heard of everything")
                    case Phase.DONE:
                        course.figures = news.figures
            for task in work:
                task.cancel()
    finally:
        await end(process, GRACE_S)
    course.events = (await rig.api.status()).last_event - plan.after
    return course


def _result(plan: LoadPlan, course: _Course, before: float, requests_per_s: int, started: float) -> Api:
    """`before`: MiB of the daemon when nobody was there."""
    figures = course.figures
    if figures is None:
        raise BenchError("the load generator ended without a result")
    return Api(
        asked={"subscribers": plan.subscribers, "requests_per_s": requests_per_s, "seconds": plan.seconds},
        subscribers=figures.subscribers,
        reconnections=figures.reconnections,
        disconnects=figures.disconnects,
        events=course.events,
        events_delivered=figures.delivered,
        events_missed=figures.events_missed,
        events_repeated=figures.events_repeated,
        requests=figures.requests,
        requests_per_s=figures.requests_per_s,
        requests_failed=figures.requests_failed,
        not_modified=figures.not_modified,
        read_p50_ms=figures.read_p50_ms,
        read_p99_ms=figures.read_p99_ms,
        read_max_ms=figures.read_max_ms,
        slowest_reads_p99_ms=figures.slowest_reads_p99_ms,
        daemon_pss_before_mib=round(before, 1),
        daemon_pss_max_mib=round(course.pss_max, 1),
        daemon_pss_growth_mib=round(course.pss_max - before, 1),
        daemon_cpu_percent=round(course.cpu_percent, 1),
        generator_cpu_s=figures.generator_cpu_s,
        seconds=round(time.monotonic() - started, 1),
        wrong=figures.wrong,
    )


def spare_for(subscribers: int) -> int:
    """How many more there are.

    >>> spare_for(1000)
    55
    """
    return round(subscribers * SPARE) + SPARE_LEAST


class _Course:
    """What is seen of the daemon while it is under load."""

    def __init__(self, pid: int) -> None:
        self.figures: LoadFigures | None = None
        self.events = 0
        self.pss_max = 0.0
        self.cpu_percent = 0.0
        self._pid = pid
        self._began = self._cpu_s = 0.0

    async def watch(self) -> None:
        """Note the largest PSS, until cancelled."""
        while True:
            self.pss_max = max(self.pss_max, await asyncio.to_thread(measure.pss_mib, self._pid))
            await asyncio.sleep(LOOK_S)

    def begin(self) -> None:
        self._began, self._cpu_s = time.monotonic(), measure.cpu_seconds([self._pid])

    def end(self) -> None:
        used_s = measure.cpu_seconds([self._pid]) - self._cpu_s
        self.cpu_percent = 100 * used_s / (time.monotonic() - self._began)


async def _news(process: asyncio.subprocess.Process) -> AsyncIterator[LoadNews]:
    """What the load generator says, until it ends. Raises BenchError with what else it said."""
    assert process.stdout is not None  # noqa: S101 - it was started with a pipe
    complaint: list[str] = []
    async for line in process.stdout:
        with contextlib.suppress(msgspec.DecodeError):
            yield msgspec.json.decode(line, type=LoadNews)
            continue
        complaint.append(line.decode("utf-8", "replace").strip())
    if complaint:
        raise BenchError(f"the load generator failed: {complaint[-1]}")


async def _let_happen(rig: Rig, crowd: Crowd) -> None:
    """Contacts post, and a session is restarted now and then; until cancelled."""
    phones, sessions = list(crowd.phones.values()), list(crowd.phones)
    number, restarted = 0, time.monotonic()
    while True:
        await _post(rig, phones[number % LINKED])
        number += 1
        if time.monotonic() - restarted >= RESTART_EVERY_S:
            restarted = time.monotonic()
            await rig.api.restart_session(sessions[0])
        await asyncio.sleep(STATUS_EVERY_S)
