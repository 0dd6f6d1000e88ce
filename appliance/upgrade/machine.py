"""What an upgrade does to the machine: the installer, systemd, programs of other releases, and what the daemon says.

`Machine` is a server as install.sh makes it. Its few actions are what a test replaces; what is decided is elsewhere.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from appliance.client import ApplianceClient, ClientError
from appliance.config import Settings
from appliance.model_api import StatusView, VersionView
from appliance.upgrade.faults import Fault, UpgradeError
from appliance.upgrade.plan import Place

OPT: Final = Path("/opt/amda")
DAEMON: Final = "amda.service"
INSTALLER_S: Final = 1800.0
"""It downloads 110 MB, over a slow line too."""
UNIT_S: Final = 150.0
"""A start may take 120 s (TimeoutStartSec), a stop 30."""
PROGRAM_S: Final = 3600.0
"""Programs of a release: copying a large database takes seconds, a fork server's change 90 at the very most; a backup
with media may take long."""
ANSWER_S: Final = 10.0
_OURS: Final = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
"""What leads our interpreter to our code must not mislead another release's."""
T = TypeVar("T")
_SAID: Final = 3
"""Lines of a program's complaint that are shown; its log has all of them."""


class Machine:
    """`settings`: the appliance's, as its daemon reads them from `config`; `opt`: where releases lie; `tell` hears what
    the installer says."""

    def __init__(self, settings: Settings, tell: Callable[[str], None], *, config: Path, opt: Path = OPT) -> None:
        self.settings = settings
        self.config = config
        self.opt = opt
        self.tell = tell

    # ---- places

    @property
    def releases(self) -> Path:
        return self.opt / "releases"

    @property
    def engines(self) -> Path:
        return self.opt / "engines"

    @property
    def current(self) -> Path:
        """The release that starts from now on, whatever runs."""
        return (self.opt / "current").resolve()

    @staticmethod
    def python(release: str) -> str:
        return str(Path(release) / ".venv" / "bin" / "python")

    def point(self, link: Path, folder: Path | None) -> None:
        """Have a link lead there, in one step; None: take it away. Raises OSError."""
        if folder is None:
            link.unlink(missing_ok=True)
            return
        fresh = link.with_name(f"{link.name}.amda-new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(folder)
        fresh.replace(link)

    # ---- installer and systemd

    async def stage(self, origin: Sequence[str]) -> Path:
        """Have a release put beside the others; its folder. Raises UpgradeError."""
        said = await self._install(self.current, "stage", *origin)
        return Path(said.strip().splitlines()[-1])

    async def switch(self, release: Place) -> None:
        """Settings, units and links are that release's from now on; nobody is disconnected. Raises UpgradeError."""
        await self._install(Path(release.folder), "switch")

    async def restart_daemon(self) -> None:
        """Until systemd says that it is ready, or will not be. Raises UpgradeError."""
        await self._systemctl("restart")

    async def stop_daemon(self) -> None:
        await self._systemctl("stop")

    async def _install(self, release: Path, action: str, *options: str) -> str:
        command = ["sh", str(release / "install.sh"), action, *options]
        status, out, err = await run(command, INSTALLER_S, tell=self.tell)
        if status != 0:
            fault = Fault.NOT_STAGED if action == "stage" else Fault.DAEMON_UNWELL
            raise UpgradeError(
                fault, f"install.sh {action} failed: {last_words(err)}", "/var/log/amda/install.log has more"
            )
        return out

    async def _systemctl(self, verb: str) -> None:
        status, _, err = await run(["systemctl", verb, DAEMON], UNIT_S)
        if status != 0:
            raise UpgradeError(
                Fault.DAEMON_UNWELL, f"systemctl {verb} {DAEMON} failed: {last_words(err)}", "journalctl -u amda"
            )

    # ---- programs of a release

    async def program(self, release: str, module: str, *arguments: str, fault: Fault, as_owner: bool = False) -> str:
        """What it prints. `as_owner`: as the user whom the data belongs to, so that nothing that this user can put into
        its own folders leads root astray. Raises UpgradeError with its complaint."""
        command = [self.python(release), "-P", "-m", module, *arguments]
        status, out, err = await run(command, PROGRAM_S, owner=self.settings.paths.state_dir if as_owner else None)
        if status != 0:
            raise UpgradeError(fault, last_words(err), "journalctl -u amda -u amda-sessions may say more")
        return out.strip()

    # ---- the daemon

    async def version(self) -> VersionView | None:
        """What runs; None while no daemon answers."""
        return await self._ask(lambda api: api.version())

    async def status(self) -> StatusView | None:
        """How it is; None while no daemon answers."""
        return await self._ask(lambda api: api.status())

    async def _ask(self, question: Callable[[ApplianceClient], Awaitable[T]]) -> T | None:
        try:
            async with ApplianceClient(self.settings.paths.api_socket) as api, asyncio.timeout(ANSWER_S):
                return await question(api)
        except (ClientError, TimeoutError):
            return None


async def run(
    command: Sequence[str],
    timeout_s: float,
    *,
    tell: Callable[[str], None] = lambda _line: None,
    owner: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[int, str, str]:
    """Run a program to its end: status, output, complaints, of which `tell` hears each line at once. `owner`: run it as
    the user whom that folder belongs to. One that takes longer is killed and has status 124."""
    user, group = _owner_of(owner)
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd="/",
        env={name: value for name, value in os.environ.items() if name not in _OURS} | dict(environment or {}),
        user=user,
        group=group,
        extra_groups=None if user is None else [],
    )
    assert process.stdout is not None and process.stderr is not None  # noqa: S101, PT018 (pipes were asked for)
    complaints: list[str] = []

    async def listen(stream: asyncio.StreamReader) -> None:
        async for line in stream:
            complaints.append(line.decode("utf-8", "replace"))
            tell(complaints[-1].rstrip("\n"))

    try:
        async with asyncio.timeout(timeout_s):
            out, _ = await asyncio.gather(process.stdout.read(), listen(process.stderr))
            return await process.wait(), out.decode("utf-8", "replace"), "".join(complaints)
    except TimeoutError:
        return 124, "", f"it did not end within {timeout_s:.0f} s"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _owner_of(folder: Path | None) -> tuple[int | None, int | None]:
    """User and group to run a program as; None: as whoever we are, who is no one else unless we are root."""
    if folder is None or os.geteuid() != 0:
        return None, None
    found = folder.stat()
    return found.st_uid, found.st_gid


def last_words(text: str) -> str:
    """The end of what a program has complained of, in one line."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return " ".join(lines[-_SAID:]) or "it said nothing"
