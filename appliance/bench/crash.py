"""`amda bench crash`: kill -9 of the worker, of the daemon, of both, at random moments while messages arrive.

Every picture is a status and so has to be stored; every text is deleted by its sender at the end, so that the memory of
texts is put to the proof as well. The limits on crashes are lifted: here the same session is killed fifty times.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import os
import random
import signal
import time
from typing import Final

import msgspec

from appliance.bench import proof
from appliance.bench.measure import percentile
from appliance.bench.rig import Rig, api_back, phone_number, say
from appliance.model import SessionState
from appliance.staging import control_types as ct

SESSION: Final = "hammered"
CONTACT: Final = "+33612345601"
TEXTS_PER_PICTURE: Final = 10
"""Five hundred messages and fifty pictures at fifty kills, as the issue asks."""
LARGEST_GAP_S: Final = 0.03
"""Between two messages of a round, drawn evenly: eleven of them take about 0.2 s …"""
LATEST_KILL_S: Final = 0.3
"""… and the kill falls somewhere before, into or after them."""
RECOVERY_S: Final = 45.0
SETTLE_S: Final = 90.0
LENIENT: Final = {
    "AMDA_RECONNECT_CRASH_LIMIT": "10000",
    "AMDA_RECONNECT_ATTEMPTS_PER_HOUR": "10000",
    "AMDA_RECONNECT_BACKOFF_CAP_S": "0.5",
}


class Target(enum.StrEnum):
    WORKER = "worker"
    DAEMON = "daemon"
    BOTH = "both"


class Crash(msgspec.Struct, frozen=True, kw_only=True):
    kills: dict[str, int]
    messages_sent: int
    pictures_sent: int
    sent: int
    stored: int
    sha256_mismatches: int
    lost: int
    lost_in_ack_window: int
    duplicates: int
    not_due: int
    second_copies: int
    unknown_requests: int
    recovery_p50_s: float
    recovery_max_s: float
    seconds: float
    lost_ids: list[str]

    @property
    def passed(self) -> bool:
        zeros = (self.sha256_mismatches, self.lost, self.duplicates, self.not_due, self.unknown_requests)
        return not any(zeros) and self.lost_in_ack_window <= 1 and not self.second_copies


async def run(*, kills: int, seed: int, keep: bool = False) -> Crash:
    """Carry it out on a fresh network. Raises BenchError if it cannot be."""
    started = time.monotonic()
    rng = random.Random(seed)  # noqa: S311 (repeatable, not secret)
    async with Rig(variables=LENIENT, keep=keep) as rig:
        phone = phone_number(1)
        say("linking the session")
        await rig.link(SESSION, phone)
        rounds = _Rounds(rig, phone, rng)
        for number in range(kills):
            target = rng.choice(list(Target))
            await rounds.one(target)
            say(f"kill {number + 1} of {kills}: {target.value}, back after {rounds.recoveries[-1]:.1f} s")
        say("deleting every text for everyone")
        await rounds.settle()
        for message_id in rounds.texts:
            await rig.staging.revoke(phone, message_id)
        await rounds.settle()
        due = await proof.due_captures(rig, {SESSION: phone}, receipted_only=True)
        say(f"waiting for {len(due)} captures to be stored")
        await proof.wait_stored(rig, due, SETTLE_S)
        verdict = await proof.prove(rig, due, rounds.kill_times)
        stats = await rig.staging.stats()
        if not verdict.perfect:
            rig.keep()
        return Crash(
            kills=rounds.kills,
            messages_sent=len(rounds.texts),
            pictures_sent=kills,
            sent=verdict.sent,
            stored=verdict.stored,
            sha256_mismatches=verdict.sha256_mismatches,
            lost=verdict.lost,
            lost_in_ack_window=verdict.lost_in_ack_window,
            duplicates=verdict.duplicates,
            not_due=verdict.not_due,
            second_copies=stats.second_copies,
            unknown_requests=stats.unknown_requests,
            recovery_p50_s=round(percentile(rounds.recoveries, 50), 2),
            recovery_max_s=round(max(rounds.recoveries), 2),
            seconds=round(time.monotonic() - started, 1),
            lost_ids=verdict.lost_ids,
        )


class _Rounds:
    """One round: a burst of messages, and a kill somewhere around it; over when the session is online again."""

    def __init__(self, rig: Rig, phone: str, rng: random.Random) -> None:
        self._rig = rig
        self._phone = phone
        self._rng = rng
        self.texts: list[str] = []
        self.kill_times: list[float] = []
        self.kills: dict[str, int] = {target.value: 0 for target in Target}
        self.recoveries: list[float] = []

    async def one(self, target: Target) -> None:
        rig = self._rig
        view = await rig.api.session(SESSION)
        before = await rig.staging.last()
        burst = asyncio.create_task(self._burst())
        await asyncio.sleep(self._rng.uniform(0, LATEST_KILL_S))
        killed = time.monotonic()
        self.kills[target.value] += 1
        if target is not Target.DAEMON and view.pid is not None:
            self.kill_times.append(time.time())
            with contextlib.suppress(ProcessLookupError):
                os.kill(view.pid, signal.SIGKILL)
        if target is not Target.WORKER:
            await rig.appliance.kill_daemon()
            await rig.appliance.wait_ready("daemon")
            await api_back(rig.api)
        await burst
        async with asyncio.timeout(RECOVERY_S):
            if target is not Target.DAEMON:
                await rig.staging.wait_online(self._phone, after=before, timeout_s=RECOVERY_S)
            await rig.wait_state(SESSION, SessionState.ONLINE)
        self.recoveries.append(time.monotonic() - killed)

    async def settle(self) -> None:
        """Until the network owes the session nothing any more."""
        account = self._phone.lstrip("+")
        async with asyncio.timeout(SETTLE_S):
            while True:
                last = await self._rig.staging.last()
                view = await self._rig.staging.account(account)
                if view is not None and not any(device.pending for device in view.devices):
                    return
                await self._rig.staging.wait_for(ct.JournalKind.RECEIPTED, account=account, after=last)

    async def _burst(self) -> None:
        picture_at = self._rng.randrange(TEXTS_PER_PICTURE + 1)
        for number in range(TEXTS_PER_PICTURE + 1):
            if number == picture_at:
                await self._rig.staging.send(
                    ct.Send(account=self._phone, contact=CONTACT, kind=ct.SendKind.IMAGE, where=ct.Where.STATUS)
                )
            else:
                self.texts += await self._rig.staging.send(ct.Send(account=self._phone, contact=CONTACT))
            await asyncio.sleep(self._rng.uniform(0, LARGEST_GAP_S))
