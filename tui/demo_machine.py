"""The part of the simulated API that is about one session's settings and about the machine: logs, system, doctor."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Final

import msgspec

from appliance.client import ApiError
from appliance.model import MediaKind, MediaView, Problem, SessionView
from appliance.model_capture import CaptureChange, CaptureSettings, CaptureView
from appliance.model_doctor import DoctorReport, Finding, Severity, worst_of
from appliance.model_history import Language, LogEntry, LogLevel, LogSource, PersonRequest, PersonView
from appliance.model_storage import Pixels
from appliance.model_system import (
    EngineUse,
    MachineUse,
    MemoryKind,
    PartUse,
    RedisUse,
    SpoolUse,
    StoreUse,
    SystemView,
)
from tui import demo_facts
from tui.demo_fleet import Fleet

_MIB: Final = 1 << 20
_LINE_EVERY_S: Final = 3.0
_PAST: Final = 60
"""Lines that were said before somebody looked."""
_SAID: Final = (
    (LogLevel.INFO, "logged in"),
    (LogLevel.DEBUG, "ping answered after {ms} ms"),
    (LogLevel.DEBUG, "frame received"),
    (LogLevel.INFO, "status stored"),
    (LogLevel.WARNING, "no answer to the last ping, asking again"),
)
_FINDINGS: Final = (
    ("redis", Severity.OK, "Redis", "writes down everything, version 9.1", ""),
    ("disk", Severity.OK, "the disk of the state folder", "27 GB of 40 GB are free", ""),
    ("swap", Severity.INFO, "swap", "there is none, and memory enough without", ""),
    ("backup", Severity.WARNING, "backups in folder", "the last good one was made 9 days ago", "amda backup run"),
    ("clock", Severity.OK, "the clock", "is exact within 0.1 s", ""),
)


class MachineCalls:
    """Mixed into the simulated API. `step_s`: seconds of the person for a second of the simulation."""

    def __init__(self, fleet: Fleet, step_s: float) -> None:
        self.fleet = fleet
        self._step_s = step_s
        self._captures: dict[str, CaptureChange] = {}
        self._persons: dict[str, PersonView | None] = {}

    # ---- one session

    async def person(self, session: str) -> PersonView:
        self._known(session)
        name = self.fleet.members[session].view.name
        usual = PersonView(session=session, name=name, language=Language.FR, contact="ntfy://···")
        found = self._persons.get(session, usual)
        if found is None:
            raise refused(f"Nobody is told about {session}.", 404)
        return found

    async def set_person(self, session: str, request: PersonRequest) -> PersonView:
        self._known(session)
        hidden = request.contact.partition("://")[0] + "://···"
        made = PersonView(session=session, name=request.name, language=request.language, contact=hidden)
        self._persons[session] = made
        return made

    async def remove_person(self, session: str) -> None:
        self._persons[session] = None

    async def set_proxy(self, session: str, proxy: str | None) -> SessionView:
        self._known(session)
        if proxy and "://" not in proxy:
            raise refused("proxy: not the URL of a proxy.", 400)
        member = self.fleet.members[session]
        member.view = msgspec.structs.replace(member.view, proxy="none" if not proxy and proxy is not None else proxy)
        return member.view

    async def capture(self, session: str) -> CaptureView:
        self._known(session)
        own = self._captures.get(session, CaptureChange())
        return CaptureView(settings=own.applied(CaptureSettings()), own=list(own.own()))

    async def set_capture(self, session: str, change: CaptureChange) -> CaptureView:
        self._known(session)
        self._captures[session] = self._captures.get(session, CaptureChange()).then(change)
        return await self.capture(session)

    async def pin_media(self, media: str, *, pinned: bool = True) -> MediaView:
        for index, item in enumerate(self.fleet.media):
            if item.id == media:
                self.fleet.media[index] = msgspec.structs.replace(item, pinned=pinned)
                return self.fleet.media[index]
        raise refused(f"There is no media item {media}.", 404)

    async def media_pixels(self, media: str, width: int, height: int) -> Pixels:
        """A sunset that nobody has taken."""
        item = next((item for item in self.fleet.media if item.id == media), None)
        if item is None or item.kind is not MediaKind.IMAGE:
            raise refused(f"{media} is no picture that can be drawn.", 409)
        wide, high = min(width, 4 * height // 3), min(height, 3 * width // 4)
        rgb = bytes(part for y in range(high) for x in range(wide) for part in _sunset(x / wide, y / high))
        return Pixels(width=wide, height=high, rgb=rgb)

    # ---- logs

    async def logs(
        self,
        *,
        lines: int = 200,
        follow: bool = False,
        level: LogLevel = LogLevel.INFO,
        source: LogSource | None = None,
        session: str | None = None,
    ) -> AsyncIterator[LogEntry]:
        names = [name for name in self.fleet.members if session in (None, name)]

        def wanted(entry: LogEntry) -> bool:
            mine = session in (None, entry.session) and source in (None, entry.source)
            return mine and level.includes(entry.level)

        past = [self._entry(names, count, self.fleet.now - 20.0 * (_PAST - count)) for count in range(_PAST)]
        for entry in past[-lines:] if lines else []:
            if wanted(entry):
                yield entry
        number = 0
        while follow:
            await asyncio.sleep(_LINE_EVERY_S * self._step_s)
            number += 1
            entry = self._entry(names, number, self.fleet.now)
            if wanted(entry):
                yield entry

    def _entry(self, names: list[str], number: int, at: float) -> LogEntry:
        """Always the same line for the same number."""
        level, text = _SAID[number * 7 % len(_SAID)]
        who = names[number * 17 % len(names)] if names and number % 6 else None
        source = LogSource.DAEMON if who is None else LogSource.SESSION
        if who is None:
            level, text = LogLevel.INFO, f"health verdict for {len(names)} sessions"
        return LogEntry(at=at, source=source, session=who, level=level, text=text.format(ms=40 + number % 7))

    # ---- the machine

    async def system(self) -> SystemView:
        fleet, views = self.fleet, [member.view for member in self.fleet.members.values()]
        known = [view.memory_bytes or 0 for view in views]
        up = fleet.now - fleet.started_at
        usage = demo_facts.usage(fleet)
        parts = [
            PartUse(
                name="daemon", processes=1, pid=1, memory_bytes=70 * _MIB, cpu_s=0.004 * up, started_at=fleet.started_at
            ),
            PartUse(name="forkserver", processes=1, memory_bytes=19 * _MIB, cpu_s=0.0001 * up),
            PartUse(
                name="workers",
                processes=len(known),
                memory_bytes=sum(known),
                largest_bytes=max(known, default=None),
                cpu_s=0.018 * up,
            ),
            PartUse(name="minio", processes=1, memory_bytes=130 * _MIB, memory_kind=MemoryKind.GROUP, cpu_s=0.002 * up),
            PartUse(name="redis", processes=1, memory_bytes=6 * _MIB, memory_kind=MemoryKind.RSS, cpu_s=0.001 * up),
        ]
        return SystemView(
            at=fleet.now,
            release="demo",
            python="3.13",
            started_at=fleet.started_at,
            machine=MachineUse(
                cores=2,
                load=0.21,
                memory_bytes=2_000 * _MIB,
                memory_available_bytes=700 * _MIB,
                swap_bytes=0,
                swap_used_bytes=0,
                disk_bytes=40_000_000_000,
                disk_free_bytes=27_000_000_000,
                started_at=fleet.started_at - 86_400,
            ),
            parts=parts,
            redis=RedisUse(version="9.1.2", answer_s=0.0002, memory_bytes=2 * _MIB, clients=3, durable=True),
            store=StoreUse(
                kind="s3", place="http://127.0.0.1:9000/amda-media", used_bytes=usage.used, quota_bytes=usage.quota
            ),
            spool=SpoolUse(items=2, size=1_400_000, oldest_s=3.0, set_aside=0),
            engines=[EngineUse(version="0.5.2", sessions=len(views))] if views else [],
            whatsapp="2.3000.1047769893",
        )

    async def doctor(self) -> DoctorReport:
        findings = [
            Finding(check=check, severity=severity, looked_at=looked_at, found=found, remedy=remedy)
            for check, severity, looked_at, found, remedy in _FINDINGS
        ]
        return DoctorReport(at=self.fleet.now, release="demo", worst=worst_of(findings), findings=findings)

    def _known(self, session: str) -> None:
        if session not in self.fleet.members:
            raise refused(f"There is no session {session}.", 404)


def _sunset(x: float, y: float) -> tuple[int, int, int]:
    """A colour of the sky, of the sun, or of the sea, by place from 0 to 1."""
    if y < 0.62 and math.hypot((x - 0.5) * 4 / 3, y - 0.5) < 0.16:
        return 255, 214, 120
    if y < 0.62:
        return int(60 + 190 * y / 0.62), int(40 + 80 * y / 0.62), int(110 - 50 * y / 0.62)
    glitter = 70 if abs(x - 0.5) < 0.1 + 0.2 * (y - 0.62) and int(40 * y) % 2 else 0
    return 20 + glitter, 50 + glitter, 90 + glitter // 2


def refused(text: str, status: int) -> ApiError:
    return ApiError(Problem(type="about:blank", title="Refused", status=status, detail=text))
