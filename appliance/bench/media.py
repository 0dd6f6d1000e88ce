"""`amda bench media`: everybody's contacts post statuses at once; every single one must be stored, once, and be whole.

The network's journal says what is due and which hash it had; the store is read back through the API, byte by byte. What
was stored as it came is held against the hash of what was sent, what was made smaller is decoded and held against what
was drawn. `--disturb` lets S3, the daemon or the disk fail meanwhile; `--memory-limit` makes the machine small.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final

from appliance.bench import proof
from appliance.bench.crowd import CONTACT, Crowd
from appliance.bench.media_choices import Disturbance, MediaStore
from appliance.bench.media_disturb import disturb
from appliance.bench.media_look import Looks
from appliance.bench.media_peaks import Peaks
from appliance.bench.media_plan import Status, statuses
from appliance.bench.proof import COMPRESSED, Due
from appliance.bench.rig import BenchError, Rig, say
from appliance.bench.surroundings import MemoryFigures, Surroundings
from appliance.media.compression.video import installed
from appliance.model import MediaView
from appliance.staging import control_types as ct

SEED: Final = 1
PARALLEL_LINKS: Final = 12
SENDERS: Final = 16
"""Contacts that post at the same moment: the network draws and encrypts as fast as one core can."""
STORE_S: Final = 600.0
"""What is not stored by then counts as lost, …"""
LIMIT_S: Final = 540.0
"""… and the whole rehearsal has to be over by then, unless something is let go wrong on purpose."""
WORKER_MIB: Final = 40.0
DAEMON_MIB: Final = 120.0
FFMPEG_MIB: Final = 250.0


class Media(MemoryFigures, frozen=True, kw_only=True):
    sessions: int
    items: int
    store: str
    disturbance: str
    disturbed: int
    sent: int
    sent_by_kind: dict[str, int]
    stored: int
    lost: int
    sha_mismatches: int
    """Neither the bytes that were sent nor, where they were made smaller, a picture of the same."""
    stored_twice: int
    """Items that are indexed twice, and contents of one session that lie in the store twice."""
    by_treatment: dict[str, int]
    bytes_sent: int
    bytes_stored: int
    bytes_saved_percent: float
    link_s: float
    store_s: float
    """From the first post until everything was stored."""
    items_per_s: float
    worker_pss_max_mib: float
    daemon_pss_max_mib: float
    ffmpeg_pss_max_mib: float
    pss_max_mib: dict[str, float]
    total_pss_max_mib: float
    seconds: float
    wrong: list[str]

    @property
    def passed(self) -> bool:
        return (
            self.sent >= self.sessions * self.items
            and self.stored == self.sent
            and not (self.lost or self.sha_mismatches or self.stored_twice or self.killed_for_memory)
            and self.worker_pss_max_mib <= WORKER_MIB
            and self.daemon_pss_max_mib <= DAEMON_MIB
            and self.ffmpeg_pss_max_mib <= FFMPEG_MIB
            and (self.disturbance != Disturbance.NONE or self.seconds <= LIMIT_S)
        )


async def run(
    *,
    sessions: int,
    items: int,
    store: MediaStore = MediaStore.FOLDER,
    disturbance: Disturbance = Disturbance.NONE,
    memory_limit: int = 0,
    keep: bool = False,
) -> Media:
    """Carry it out on a fresh network with the shipped settings. Raises BenchError if it cannot be."""
    if disturbance is Disturbance.S3_STOP and store is not MediaStore.S3:
        raise BenchError("--disturb s3-stop: there is no S3 to stop; add --store s3")
    programs = installed()
    if not programs:
        raise BenchError("what was made smaller cannot be looked at without ffmpeg; install it")
    started = time.monotonic()
    small = disturbance is Disturbance.DISK_FULL
    with Surroundings(store=store, memory_limit=memory_limit, with_small_disk=small) as surroundings:
        async with surroundings.rig(sessions=sessions, keep=keep) as rig:
            rehearsal = _Rehearsal(rig, surroundings, sessions, items, Looks(programs[0]))
            return await rehearsal.result(disturbance, started)


class _Rehearsal:
    def __init__(self, rig: Rig, surroundings: Surroundings, sessions: int, items: int, looks: Looks) -> None:
        self._rig = rig
        self._surroundings = surroundings
        self._looks = looks
        self._items = items
        self._crowd = Crowd(rig, sessions)
        self._plan = statuses(list(self._crowd.phones), items, SEED)
        self._sent: dict[tuple[str, str], Status] = {}
        self._wrong: list[str] = []

    async def result(self, disturbance: Disturbance, started: float) -> Media:
        say(f"linking {len(self._crowd.phones)} sessions")
        link_s = await self._crowd.link_all(PARALLEL_LINKS)
        peaks = Peaks(self._rig, self._surroundings.others)
        watching = asyncio.create_task(peaks.run())
        begun = time.monotonic()
        trouble = asyncio.create_task(
            disturb(disturbance, self._rig, self._surroundings.minio, self._stored), name="disturbance"
        )
        say(f"posting {len(self._plan)} statuses")
        await self._post()
        say(f"posted in {time.monotonic() - begun:.0f} s; waiting until they are stored")
        due = await proof.due_captures(self._rig, self._crowd.phones, receipted_only=False)
        disturbed = await trouble
        await proof.wait_stored(self._rig, due, STORE_S)
        store_s = time.monotonic() - begun
        watching.cancel()
        say(f"stored after {store_s:.0f} s; reading everything back")
        return await self._judge(due, disturbance, disturbed, peaks, link_s, store_s, started)

    async def _post(self) -> None:
        turns = asyncio.Semaphore(SENDERS)

        async def post(status: Status) -> None:
            async with turns:
                (message_id,) = await self._rig.staging.send(
                    ct.Send(
                        account=self._crowd.phones[status.session],
                        contact=CONTACT,
                        kind=status.kind,
                        where=ct.Where.STATUS,
                        size=status.size,
                        seed=status.seed,
                    )
                )
            self._sent[status.session, message_id] = status

        async with asyncio.TaskGroup() as group:
            for status in self._plan:
                group.create_task(post(status))

    async def _stored(self, part: float) -> None:
        """Until so much of everything is in the store."""
        wanted, seen = int(len(self._plan) * part), 0
        async for _ in self._rig.events(after=0, kind="media.stored"):
            seen += 1
            if seen >= wanted:
                return

    async def _judge(
        self,
        due: Sequence[Due],
        disturbance: Disturbance,
        disturbed: int,
        peaks: Peaks,
        link_s: float,
        store_s: float,
        started: float,
    ) -> Media:
        verdict = await proof.prove(self._rig, due)
        views = [view for session in self._crowd.phones async for view in self._rig.api.all_media(session=session)]
        wrong_looks = await self._look_at(views)
        contents = {(view.session, view.sha256, view.key): view for view in views}
        copies = len(contents) - len({(view.session, view.sha256) for view in views})
        sent = sum(view.original_size for view in contents.values())
        held = sum(view.size for view in contents.values())
        found = Media(
            sessions=len(self._crowd.phones),
            items=self._items,
            store=self._surroundings.store.value,
            disturbance=disturbance.value,
            disturbed=disturbed,
            sent=verdict.sent,
            sent_by_kind=verdict.sent_by_kind,
            stored=verdict.stored,
            lost=verdict.lost,
            sha_mismatches=verdict.sha256_mismatches + wrong_looks,
            stored_twice=verdict.duplicates + copies,
            by_treatment=dict(Counter(view.treatment for view in views)),
            bytes_sent=sent,
            bytes_stored=held,
            bytes_saved_percent=round(100 * (1 - held / sent), 1) if sent else 0.0,
            link_s=round(link_s, 1),
            store_s=round(store_s, 1),
            items_per_s=round(verdict.stored / store_s, 1),
            worker_pss_max_mib=round(peaks.largest.get("worker", 0.0), 1),
            daemon_pss_max_mib=round(peaks.largest.get("daemon", 0.0), 1),
            ffmpeg_pss_max_mib=round(peaks.largest.get("ffmpeg", 0.0), 1),
            pss_max_mib={name: round(size, 1) for name, size in sorted(peaks.largest.items())},
            total_pss_max_mib=round(peaks.total, 1),
            **self._surroundings.memory_figures(),
            seconds=round(time.monotonic() - started, 1),
            wrong=[*verdict.lost_ids, *self._wrong][:20],
        )
        if not found.passed:
            self._rig.keep()
        return found

    async def _look_at(self, views: Sequence[MediaView]) -> int:
        """How many of those that were made smaller no longer show what they should."""
        turns = asyncio.Semaphore(4)

        async def look(view: MediaView) -> bool:
            status = self._sent.get((view.session, view.message_id))
            if status is None or view.treatment != COMPRESSED:
                return False
            async with turns:
                content = b"".join([piece async for piece in self._rig.api.media_content(view.id)])
                wrong = "another hash" if hashlib.sha256(content).hexdigest() != view.stored_sha256 else ""
                wrong = wrong or await self._looks.difference(status, content, view.stored_sha256)
            if wrong:
                self._wrong.append(f"{view.session} {view.kind.value} {view.message_id}: {wrong}")
            return bool(wrong)

        return sum(await asyncio.gather(*(look(view) for view in views)))
