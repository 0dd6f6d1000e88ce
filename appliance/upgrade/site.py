"""Each step of an upgrade, done on a machine. Every one looks first how far it is: it may be the second try."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

from appliance.backup.record import read_record
from appliance.build import ENGINE_VARIABLE, build_name
from appliance.model import SessionState
from appliance.upgrade import engines
from appliance.upgrade.faults import Fault, UpgradeError
from appliance.upgrade.journal import DOWNLOADS
from appliance.upgrade.machine import Machine
from appliance.upgrade.moving import Mover, Progress
from appliance.upgrade.offers import COMPLETE, here
from appliance.upgrade.plan import Journal, Kind, Place, Step, prunable

RELEASES_KEPT: Final = 3
"""The one that runs, the one before, and one more: each takes 500 MB."""
HEALTHY_S: Final = 60.0
"""From a start of the daemon until it has everything that it had before."""
KNOWN_S: Final = 30.0
"""Until the daemon has counted the workers of a fork server that has become another."""
STILL_ONLINE: Final = 0.5
"""Of the sessions that were online before, this part at least is after a restart of the daemon. It disconnects nobody;
but some may go at any time for reasons of their own."""
PAUSE_S: Final = 0.3


class MachineSite:
    """Implements `runner.Site`; `note` makes progress within a step durable and shows it. `movers` is what moves
    sessions, by the daemon's socket."""

    def __init__(
        self, machine: Machine, note: Callable[[Journal], None], movers: Callable[[Path, Progress], Mover] = Mover
    ) -> None:
        self._machine = machine
        self._note = note
        self._movers = movers
        self._steps: dict[Step, Callable[[Journal], Awaitable[Journal]]] = {
            Step.STAGE: self._stage,
            Step.REHEARSE: self._rehearse,
            Step.BACK_UP: self._back_up,
            Step.DAEMON: self._daemon,
            Step.ENGINE: self._engine,
            Step.FORK_SERVER: self._fork_server,
            Step.CANARY: self._canary,
            Step.SESSIONS: self._sessions,
            Step.TIDY: self._tidy,
            Step.BACK_ENGINE: self._engine,
            Step.BACK_FORK_SERVER: self._fork_server,
            Step.BACK_SESSIONS: self._sessions_if_possible,
            Step.BACK_DAEMON: self._daemon_back,
            Step.BACK_REST: self._sessions,
        }

    async def perform(self, journal: Journal) -> Journal:
        try:
            return await self._steps[journal.step](journal)
        except OSError as error:
            fault = Fault.NOT_STAGED if journal.step is Step.STAGE else Fault.DAEMON_UNWELL
            raise UpgradeError(
                fault, f"{error.filename or journal.step}: {error.strerror or error}", "df -h; dmesg"
            ) from error

    # ---- nothing of what runs changes

    async def _stage(self, journal: Journal) -> Journal:
        target = journal.target
        if journal.kind is Kind.ENGINE:
            return msgspec.structs.replace(
                journal, target=engines.unpack(journal.origin, self._machine.engines, target)
            )
        if not target.folder or not (Path(target.folder) / COMPLETE).exists():
            folder = await self._machine.stage(journal.origin)
            place = here(folder).place
            assert place is not None  # noqa: S101 (of a folder that is here it always says where)
            target = place
        if target.folder == journal.source.folder:
            raise UpgradeError(Fault.NOT_POSSIBLE, f"{target.name} is what runs already", "there is nothing to do")
        return msgspec.structs.replace(journal, target=target)

    async def _rehearse(self, journal: Journal) -> Journal:
        await engines.rehearse(self._machine, journal.target)
        return journal

    async def _back_up(self, journal: Journal) -> Journal:
        paths = self._machine.settings.paths
        made = await self._machine.program(
            str(self._machine.current),
            *("appliance.upgrade.snapshot", "--settings", str(self._machine.config)),
            *("--database", str(paths.database), "--into", str(paths.backups)),
            fault=Fault.NO_BACKUP,
            as_owner=True,
        )
        self._machine.tell(f"backup: {made}")
        if read_record(paths.backups).last_run is not None:
            # As root: settings and secrets that are root's own are part of it. It becomes their owner itself, before it
            # looks into any folder of the appliance's user.
            await self._machine.program(
                str(self._machine.current),
                *("appliance", "backup", "run", "--reason", "before-upgrade", "--config", str(self._machine.config)),
                fault=Fault.NO_BACKUP,
            )
            self._machine.tell("backup: and one of everything, encrypted (amda backup list)")
        return msgspec.structs.replace(journal, backup=made)

    # ---- forwards and back

    async def _daemon(self, journal: Journal) -> Journal:
        await self._machine.switch(journal.target)
        self._point_engine(journal.engine_after)
        await self._daemon_becomes(journal.target, journal)
        return journal

    async def _daemon_back(self, journal: Journal) -> Journal:
        newer, paths = journal.target.folder, self._machine.settings.paths
        database = ("--database", str(paths.database))
        module = "appliance.upgrade.schema_back"
        found = await self._machine.program(newer, module, "show", *database, fault=Fault.SCHEMA_STAYS, as_owner=True)
        if int(found) != journal.schema:
            await self._machine.stop_daemon()
            copies = ("--copies", str(paths.backups), "--schema", str(journal.schema))
            said = await self._machine.program(
                newer, module, "back", *database, *copies, fault=Fault.SCHEMA_STAYS, as_owner=True
            )
            self._machine.tell(said)
        await self._machine.switch(journal.source)
        self._point_engine(journal.engine)
        await self._daemon_becomes(journal.source, journal)
        return journal

    async def _daemon_becomes(self, place: Place, journal: Journal) -> None:
        version = await self._machine.version()
        if version is None or version.build != place.name:
            await self._machine.restart_daemon()
        deadline = time.monotonic() + HEALTHY_S
        while complaint := await self._unwell(place, journal):
            if time.monotonic() > deadline:
                raise UpgradeError(Fault.DAEMON_UNWELL, complaint, "journalctl -u amda")
            await asyncio.sleep(PAUSE_S)

    async def _unwell(self, place: Place, journal: Journal) -> str:
        """What is wrong with the daemon that was not before; empty: nothing."""
        version, status = await self._machine.version(), await self._machine.status()
        if version is None or status is None:
            return f"the daemon of {place.name} does not answer"
        if version.build != place.name:
            return f"the daemon is {version.build}, not {place.name}"
        if worse := [part for part in status.degraded if part.part not in journal.degraded]:
            return "; ".join(f"{part.part}: {part.reason}" for part in worse)
        online = sum(status.sessions.get(state, 0) for state in (SessionState.ONLINE, SessionState.DEGRADED))
        if online < journal.sessions * STILL_ONLINE:
            return f"of {journal.sessions} sessions that were online, {online} are"
        return ""

    async def _engine(self, journal: Journal) -> Journal:
        self._point_engine((journal.source if journal.back else journal.target).folder)
        return journal

    def _point_engine(self, folder: str) -> None:
        self._machine.point(engines.link(self._machine.engines), Path(folder) if folder else None)

    async def _fork_server(self, journal: Journal) -> Journal:
        """By the newer release of the two, which understands both."""
        release, engine = self._code(journal)
        newer = journal.target.folder if journal.kind is Kind.RELEASE else release
        build = _build(release, engine)
        await self._machine.program(
            newer,
            *("appliance.upgrade.fork_move", "--socket", str(self._machine.settings.paths.fork_socket)),
            *("--python", self._machine.python(release), "--build", build, "--engine", engine),
            fault=Fault.FORK_SERVER,
            as_owner=True,
        )
        deadline = time.monotonic() + KNOWN_S
        while (version := await self._machine.version()) is not None and version.forks != build:
            if time.monotonic() > deadline:
                raise UpgradeError(
                    Fault.FORK_SERVER, f"the daemon sees a fork server of {version.forks}", "amda status"
                )
            await asyncio.sleep(PAUSE_S)
        return journal

    async def _canary(self, journal: Journal) -> Journal:
        if journal.canary:
            await self._fork_server(journal)
            chosen = await self._mover(journal).canaries(_build(*self._code(journal)), journal.canary, journal.watch_s)
            self._machine.tell(f"canary: {', '.join(chosen) or 'no session is online'}")
        return journal

    async def _sessions(self, journal: Journal) -> Journal:
        await self._fork_server(journal)  # after a power cut it is what the links lead to, whatever it was before
        mover = self._mover(journal)
        left = await mover.everyone(_build(*self._code(journal)))
        if journal.back:
            left += await mover.revive(journal.started_at)
        for session in left:
            self._machine.tell(f"{session} is not as it was, for reasons of its own; look: amda session show {session}")
        return journal

    async def _sessions_if_possible(self, journal: Journal) -> Journal:
        """The daemon that fails may be unable to; the one before does it then (`BACK_REST`)."""
        if journal.kind is Kind.ENGINE:
            return await self._sessions(journal)
        try:
            return await self._sessions(journal)
        except UpgradeError as error:
            self._machine.tell(f"sessions go back later: {error}")
            return journal

    async def _tidy(self, journal: Journal) -> Journal:
        engine = engines.link(self._machine.engines).resolve().name
        needed = frozenset({journal.source.name, journal.target.name, self._machine.current.name, engine})
        folder = self._machine.releases if journal.kind is Kind.RELEASE else self._machine.engines
        found = {
            path.name: path.stat().st_mtime for path in folder.iterdir() if path.is_dir() and not path.is_symlink()
        }
        for name in prunable(found, needed, RELEASES_KEPT):
            self._machine.tell(f"removing {name}")
            await asyncio.to_thread(shutil.rmtree, folder / name)
        await asyncio.to_thread(shutil.rmtree, self._machine.opt / "upgrade" / DOWNLOADS, ignore_errors=True)
        return journal

    # ---- helpers

    def _code(self, journal: Journal) -> tuple[str, str]:
        """Folders of the release and the engine that sessions shall have, in the present direction."""
        place = journal.source if journal.back else journal.target
        if journal.kind is Kind.RELEASE:
            return place.folder, journal.engine if journal.back else journal.engine_after
        return str(self._machine.current), place.folder

    def _mover(self, journal: Journal) -> Mover:
        def progress(done: int, of: int) -> None:
            self._note(msgspec.structs.replace(journal, moved=done, of=of))

        return self._movers(self._machine.settings.paths.api_socket, progress)


def _build(release: str, engine: str) -> str:
    package = Path(release) / "appliance" / "build.py"
    return build_name({ENGINE_VARIABLE: engine}, package)
