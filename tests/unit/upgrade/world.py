"""A played server for the real steps of an upgrade: what runs what, which schema the database has, and who is hit when.

It can be killed before or after any of its actions, lose its power, and fail. What must never be is looked for after
each action.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from appliance.config import Settings
from appliance.model import SessionState
from appliance.model_api import IntakeState, StatusView, VersionView
from appliance.upgrade.faults import Fault, UpgradeError
from appliance.upgrade.machine import Machine
from appliance.upgrade.moving import Mover
from appliance.upgrade.offers import COMPLETE
from appliance.upgrade.plan import Place

OLD, NEW = "1.0-aa", "2.0-bb"
SCHEMAS = {OLD: 5, NEW: 6}
SESSIONS = ("anna", "berta", "clara")


class Killed(BaseException):
    """The upgrade's process is gone."""


def make_release(folder: Path, name: str) -> Place:
    """As much of a release as is looked at."""
    release, version = folder / "releases" / name, name.partition("-")[0]
    (release / "appliance" / "migrations").mkdir(parents=True)
    (release / "pyproject.toml").write_text(f'version = "{version}"\n')
    (release / "appliance" / "protocol.py").write_text("PROTOCOL_VERSION: Final = 1\n")
    for number in range(SCHEMAS[name]):
        (release / "appliance" / "migrations" / f"m{number + 1:04}_x.py").touch()
    (release / COMPLETE).touch()
    return Place(name=name, folder=str(release), version=version)


class World(Machine):
    """`kill_at`: before or after which action the process ends (False, True), with or without the machine's power;
    `fails`: actions that fail the first time; `broken`: daemons that never come up."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        super().__init__(settings, lambda _line: None, config=folder / "amda.toml", opt=folder)
        self.link = OLD
        self.daemon: str | None = OLD
        self.fork = OLD
        self.sessions = dict.fromkeys(SESSIONS, OLD)
        self.schema = SCHEMAS[OLD]
        self.copies: set[int] = set()
        self.engine: Path | None = None
        self.moves: list[tuple[str, str]] = []
        self.actions = 0
        self.kills: dict[int, tuple[bool, bool]] = {}
        self.fails: set[int] = set()
        self.broken: set[str] = set()
        self.unable: set[str] = set()
        """Releases whose sessions do not get online."""

    # ---- what happens to it

    def act(self, change: Callable[[], Any]) -> Any:
        """One action, unless it fails or whoever does it is killed."""
        number, self.actions = self.actions, self.actions + 1
        after, power = self.kills.pop(number, (None, False))
        if after is False:
            self.hit(power=power)
        if number in self.fails:
            self.fails.discard(number)
            raise UpgradeError(Fault.DAEMON_UNWELL, "the test lets it fail", "")
        found = change()
        self.look()
        if after:
            self.hit(power=power)
        return found

    def hit(self, *, power: bool) -> NoReturn:
        if power:  # everything starts again, from what the links lead to
            self.fork = self.link
            self.sessions = dict.fromkeys(SESSIONS, self.link)
            self.start()
            self.look()
        raise Killed

    def start(self) -> bool:
        """The daemon of the current release, if it can."""
        self.daemon = None
        if self.link in self.broken or self.schema > SCHEMAS[self.link]:
            return False
        if self.schema < SCHEMAS[self.link]:
            self.copies.add(self.schema)
            self.schema = SCHEMAS[self.link]
        self.daemon = self.link
        return True

    def look(self) -> None:
        """What must hold at every moment."""
        assert self.daemon is None or SCHEMAS[self.daemon] == self.schema
        assert {self.fork, *self.sessions.values(), self.link} <= set(SCHEMAS)

    def is_all(self, name: str) -> bool:
        runs = {self.link, self.daemon, self.fork, *self.sessions.values()}
        return runs == {name} and self.schema == SCHEMAS[name]

    # ---- Machine

    @property
    def current(self) -> Path:
        return self.releases / self.link

    def point(self, link: Path, folder: Path | None) -> None:  # noqa: ARG002
        self.engine = folder

    async def stage(self, origin: Any) -> Path:  # noqa: ARG002
        return self.act(lambda: self.releases / NEW)

    async def switch(self, release: Place) -> None:
        self.act(lambda: setattr(self, "link", release.name))

    async def restart_daemon(self) -> None:
        if not self.act(self.start):
            raise UpgradeError(Fault.DAEMON_UNWELL, "it does not start", "")

    async def stop_daemon(self) -> None:
        self.act(lambda: setattr(self, "daemon", None))

    async def program(
        self,
        release: str,
        module: str,
        *arguments: str,
        fault: Fault,  # noqa: ARG002
        as_owner: bool = False,
    ) -> str:
        assert as_owner, "nothing of a release runs as root"
        given = dict(zip(arguments[1::2], arguments[2::2], strict=False)) | dict(
            zip(arguments[0::2], arguments[1::2], strict=False)
        )
        match module.rpartition(".")[2], arguments[0]:
            case "snapshot", _:
                return str(self.act(lambda: "/backup"))
            case "schema_back", "show":
                return str(self.schema)
            case "schema_back", _:
                return str(self.act(lambda: self.schema_back(int(given["--schema"]))))
            case "fork_move", _:
                assert Path(release).name == NEW, "only the newer release understands both"
                return str(self.act(lambda: setattr(self, "fork", given["--build"])))
        raise AssertionError(module)

    def schema_back(self, schema: int) -> str:
        assert self.daemon is None, "nobody may have it open"
        assert schema in self.copies
        self.schema = schema
        return "back"

    async def version(self) -> VersionView | None:
        if self.daemon is None:
            return None
        return VersionView(release="x", protocol=1, build=self.daemon, forks=self.fork)

    async def status(self) -> StatusView | None:
        if self.daemon is None:
            return None
        return StatusView(
            release="x", node_id="n", pid=1, started_at=0.0, network="whatsapp", media_count=0, media_bytes=0,
            sessions={SessionState.ONLINE: len(SESSIONS)}, intake=IntakeState(), last_event=0, degraded=[],
        )  # fmt: skip


class PlayedMover(Mover):
    def __init__(self, world: World) -> None:
        self.world = world

    async def canaries(self, build: str, count: int, watch_s: float) -> list[str]:  # noqa: ARG002
        for session in SESSIONS[:count]:
            self.move(session, build, Fault.CANARY_FAILED)
        return list(SESSIONS[:count])

    async def everyone(self, build: str) -> list[str]:
        for session in SESSIONS:
            self.move(session, build, Fault.SESSION_FAILED)
        return []

    async def revive(self, since: float) -> list[str]:  # noqa: ARG002
        return []

    def move(self, session: str, build: str, fault: Fault) -> None:
        world = self.world
        if world.daemon is None:
            raise UpgradeError(Fault.NOT_RUNNING, "the daemon does not answer", "")
        assert world.fork == build, "what is forked must be what is wanted"
        if world.sessions[session] == build:
            return

        def change() -> None:
            world.sessions[session] = build
            world.moves.append((session, build))

        world.act(change)
        if build in world.unable:
            raise UpgradeError(fault, f"{session} is not online", "")
