"""A server without systemd: releases in folders of their own, whose fork server and daemon run as ordinary processes.

Everything but installer and service manager is real: the network, the engine, fork server, daemon, workers, database.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from appliance.bench.rig import StagingProcess
from appliance.client import ApplianceClient
from appliance.config import load_settings
from appliance.model import PairingState, SessionState
from appliance.redis_server import RedisServer
from appliance.sockets import wait_connectable
from appliance.staging import control_types as ct
from appliance.staging.client import StagingClient
from appliance.upgrade.machine import Machine
from appliance.upgrade.offers import COMPLETE
from appliance.upgrade.plan import Place
from tests import other_release

READY_S = 60.0
ONLINE_S = 90.0


class Processes(Machine):
    """`open` makes it with the network and the first release running; `next` is where the other release lies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        config = folder / "amda.toml"
        config.write_text(
            f'[paths]\nstate_dir = "{folder / "state"}"\nrun_dir = "{folder / "run"}"\n'
            f'[network]\nstaging = "{folder / "staging"}"\n'
        )
        settings = load_settings(config, {"HOME": str(folder)})
        super().__init__(settings, self.say, config=config, opt=folder / "amda")
        self.said: list[str] = []
        self.daemon: asyncio.subprocess.Process | None = None
        self.fork_server: asyncio.subprocess.Process | None = None

    def say(self, text: str) -> None:
        self.said.append(text)

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, folder: Path) -> AsyncIterator[Processes]:
        machine = cls(folder)
        network = StagingProcess(folder / "staging")
        (folder / "run").mkdir()
        machine.point(machine.opt / "current", await asyncio.to_thread(machine.release, other_release.ROOT, "old"))
        redis = RedisServer(
            folder=folder / "state" / "redis", socket=machine.settings.paths.redis_socket, log=machine.say
        )
        async with contextlib.AsyncExitStack() as stack:
            await network.start()
            stack.push_async_callback(network.stop)
            await redis.start()
            stack.push_async_callback(redis.stop)
            stack.push_async_callback(machine.end)
            machine.fork_server = await machine.start("fork-server", machine.settings.paths.fork_socket)
            await machine.restart_daemon()
            yield machine

    def release(self, checkout: Path, name: str) -> Path:
        """Put what a checkout has beside the others, with an interpreter that finds it and nothing else of ours."""
        version = next(
            line.split('"')[1] for line in (checkout / "pyproject.toml").read_text().splitlines() if "version =" in line
        )
        folder = self.releases / f"{version}-{name}"
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(checkout / "appliance", folder / "appliance", ignore=ignored)
        for part in ("pyproject.toml", "CHANGELOG.md", "requirements.lock"):
            shutil.copy(checkout / part, folder)
        python = Path(self.python(str(folder)))
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\nPYTHONPATH="{folder}" exec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        (folder / COMPLETE).touch()
        return folder

    async def start(self, command: str, socket: Path) -> asyncio.subprocess.Process:
        """A program of the current release, until it listens."""
        with (self.folder / f"{command}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                self.python(str(self.current)),
                *("-P", "-m", "appliance", command, "--config", str(self.config)),
                env={"HOME": str(self.folder), "PATH": os.environ["PATH"]},
                stdout=log,
                stderr=log,
            )
        await wait_connectable(socket, READY_S)
        return process

    async def end(self) -> None:
        for process in (self.daemon, self.fork_server):
            if process is not None and process.returncode is None:
                process.terminate()
                await process.wait()

    # ---- what systemd and install.sh do on a server

    async def stage(self, origin: Sequence[str]) -> Path:
        return await asyncio.to_thread(self.release, Path(origin[-1]), "new")

    async def switch(self, release: Place) -> None:
        self.point(self.opt / "current", Path(release.folder))

    async def stop_daemon(self) -> None:
        if self.daemon is not None:
            self.daemon.terminate()
            await self.daemon.wait()
            self.daemon = None

    async def restart_daemon(self) -> None:
        await self.stop_daemon()
        self.daemon = await self.start("daemon", self.settings.paths.api_socket)

    # ---- sessions

    async def link(self, session: str, phone: str) -> None:
        """As a person would; online when it returns."""
        staging = StagingClient(self.folder / "staging")
        async with staging, ApplianceClient(self.settings.paths.api_socket) as api, asyncio.timeout(ONLINE_S):
            await staging.add_account(ct.AddAccount(phone=phone))
            await api.create_session(session)
            typed = False
            asked = await api.pair(session, phone=phone)
            async for view in api.follow_pairing(asked):
                if view.code and not typed:
                    typed = True
                    await staging.type_code(phone, view.code)
            assert view.state is PairingState.LINKED, view.reason
            while (await api.session(session)).state is not SessionState.ONLINE:  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    async def connections(self) -> list[tuple[str, str]]:
        """Every login and every end of a connection that the network has seen, in order."""
        async with StagingClient(self.folder / "staging") as staging:
            entries = await staging.whole_journal(kinds=[ct.JournalKind.LOGIN, ct.JournalKind.CLOSED])
        return [(entry.kind.value, entry.account) for entry in entries]
