"""The appliance's services around a restore: stopped before anything is touched, started when all is in place."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

from appliance.backup.errors import BackupError, BackupTrouble
from appliance.backup.record import give_like
from appliance.config import LoadedSettings, Paths
from appliance.lifecycle import AlreadyRunningError, only_one
from appliance.places import SYSTEM_CONFIG
from appliance.sockets import PeerError, connect_unix

TARGET: Final = "amda.target"
STOPPED: Final = ("amda.service", "amda-sessions.service")
"""The others hold nothing that is restored under them; Redis has to run, to take its state back."""
UNITS: Final = Path("/etc/systemd/system")


def are_installed(loaded: LoadedSettings) -> bool:
    """Whether systemd runs this appliance: settings of another one are none of its business."""
    return loaded.file == SYSTEM_CONFIG and (UNITS / TARGET).exists()


@contextlib.asynccontextmanager
async def stopped(loaded: LoadedSettings) -> AsyncIterator[None]:
    """Nothing of the appliance runs within the block, nor can be started; on a server it runs again afterwards,
    whether the block succeeded or not. Raises BackupError."""
    managed = are_installed(loaded)
    if managed:
        if os.geteuid() != 0:
            raise BackupError("restoring stops and starts services", "Run it as root: sudo amda backup restore")
        await _systemctl("stop", *STOPPED)
    try:
        with _alone(loaded.settings.paths):
            yield
    finally:
        if managed:
            await _systemctl("start", TARGET, *STOPPED)


@contextlib.contextmanager
def _alone(paths: Paths) -> Iterator[None]:
    try:
        connect_unix(paths.fork_socket).close()
    except PeerError:
        pass  # nobody answers there
    else:
        raise BackupError(
            f"the appliance runs in {paths.state_dir}",
            "Stop it first: Ctrl-C where amda run is.",
            BackupTrouble.REFUSED,
        )
    try:
        with only_one(paths.lock_file):
            give_like(paths.lock_file, paths.run_dir)  # root's lock would shut the daemon out
            yield
    except AlreadyRunningError as error:
        raise BackupError(str(error), "Stop it first.", BackupTrouble.REFUSED) from error


async def _systemctl(*words: str) -> None:
    process = await asyncio.create_subprocess_exec(
        "systemctl", *words, stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    if process.returncode != 0:
        text = said.decode(errors="replace").strip().splitlines()
        raise BackupError(
            f"systemctl {' '.join(words)} failed: {text[-1] if text else 'it said nothing'}", "See: journalctl -u amda"
        )
