"""What every rehearsal stands on: a staging network and a whole appliance, in a folder of their own, started and ended.

Nothing is simulated on the appliance's side: real fork server, workers, engine, Redis and daemon, spoken to through the
API client alone; the staging network is the only stand-in, and its journal is the judge.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from appliance.bench import measure
from appliance.children import end, package_environment, start_tethered
from appliance.client import ApiError, ApplianceClient, ClientError
from appliance.config import Settings, load_settings
from appliance.embedded import EmbeddedAppliance
from appliance.model import EventView, PairingState, PairingView, SessionState, SessionView
from appliance.processes import children_of
from appliance.staging import control_types as ct
from appliance.staging.client import StagingClient

STAGING_READY_S: Final = 60.0
"""It imports, makes its certificates and copies the engine's library of 19 MB."""
STAGING_GRACE_S: Final = 15.0
RETRY_PAUSE_S: Final = 0.1
"""Between two questions to a daemon that is being restarted."""
POLL_S: Final = 0.2
"""Between two questions to something that sends no events."""
PHONE_PREFIX: Final = "+22177"
"""Senegal, mobile: valid numbers by the phonenumbers library, seven free digits."""


class BenchError(Exception):
    """The rehearsal could not be carried out; one line."""


def say(text: str) -> None:
    """Progress, for people; results go to standard output."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def phone_number(index: int) -> str:
    """A distinct valid number for the `index`-th user."""
    return f"{PHONE_PREFIX}{1_000_000 + index * 7919 % 8_999_999:07d}"


class StagingProcess:
    """The staging network as a child process that dies with us."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise BenchError("the staging network does not run")
        return self._process.pid

    async def start(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = self.folder / ct.INFO_FILE
        info.unlink(missing_ok=True)
        with (self.folder / "network.log").open("ab") as log:
            self._process = await start_tethered(
                [sys.executable, "-P", "-m", "appliance.staging", "--folder", str(self.folder)],
                environment=package_environment(os.environ),
                output=log,
            )
        async with asyncio.timeout(STAGING_READY_S):
            while not info.exists():
                if self._process.returncode is not None:
                    raise BenchError(f"the staging network ended at its start; see {self.folder / 'network.log'}")
                await asyncio.sleep(RETRY_PAUSE_S)

    async def stop(self) -> None:
        if self._process is not None:
            await end(self._process, STAGING_GRACE_S)
            self._process = None


class Rig:
    """A staging network and an appliance on it; an asynchronous context manager.

    `variables` are `AMDA_*` settings of this rehearsal on top of the shipped ones. The folder is deleted at the end
    unless `keep` or the rehearsal failed. `around` makes what the appliance lives in: entered when the network runs,
    left when the appliance has ended.
    """

    def __init__(
        self,
        *,
        variables: Mapping[str, str] | None = None,
        keep: bool = False,
        around: Callable[[Rig], contextlib.AbstractAsyncContextManager[None]] | None = None,
    ) -> None:
        self._around = around
        self.folder = Path(tempfile.mkdtemp(prefix="amda-bench-"))
        self.environment = self._environment(variables or {})
        """For programs that are to work with this appliance."""
        self.settings: Settings = load_settings(environ=self.environment)
        self.network = StagingProcess(self.folder / "staging")
        self.appliance = EmbeddedAppliance(self.settings)
        self.cold_started = 0.0
        self._keep = keep
        self._stack = contextlib.AsyncExitStack()
        self._staging: StagingClient | None = None
        self._api: ApplianceClient | None = None

    def _environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        config = self.folder / "amda.toml"
        config.touch(mode=0o600)
        return {
            "HOME": str(self.folder),
            "AMDA_CONFIG": str(config),
            "AMDA_PATHS_STATE_DIR": str(self.folder / "state"),
            "AMDA_NETWORK_STAGING": str(self.folder / "staging"),
            **variables,
        }

    async def __aenter__(self) -> Self:
        try:
            await self.network.start()
            self._stack.push_async_callback(self.network.stop)
            self._staging = await self._stack.enter_async_context(StagingClient(self.network.folder))
            if self._around is not None:
                await self._stack.enter_async_context(self._around(self))
            await self.appliance.start()
            self._stack.push_async_callback(self.appliance.stop)
            self._api = await self._stack.enter_async_context(ApplianceClient(self.appliance.api_socket))
        except BaseException:
            await self._stack.aclose()
            await self.appliance.stop()
            say(f"what was left behind is in {self.folder}")
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        if self._keep or error is not None:
            say(f"logs and stores are kept in {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    async def restart_cold(self) -> None:
        """End every process of the appliance, and start them all again; `cold_started` is the moment of the start."""
        await self.appliance.stop()
        self.cold_started = time.monotonic()
        await self.appliance.start()

    def keep(self) -> None:
        """Do not delete the folder: something in it is worth a look."""
        self._keep = True

    @property
    def staging(self) -> StagingClient:
        if self._staging is None:
            raise BenchError("the rig has not been entered")
        return self._staging

    @property
    def api(self) -> ApplianceClient:
        if self._api is None:
            raise BenchError("the rig has not been entered")
        return self._api

    # ---- sessions

    async def link(
        self,
        session: str,
        phone: str,
        *,
        qr: bool = False,
        account: ct.AddAccount | None = None,
        timeout_s: float = 90.0,
    ) -> PairingView:
        """Create a session, link it as its user would, and wait until the API calls it online.

        Raises BenchError with the attempt's own reason if it is not linked.
        """
        await self.staging.add_account(account or ct.AddAccount(phone=phone))
        await self.api.create_session(session)
        async with asyncio.timeout(timeout_s):
            view = await self.pair(session, phone, qr=qr)
            if view.state is not PairingState.LINKED:
                raise BenchError(f"{session} was not linked: {view.state.value}: {view.reason}")
            await self.wait_state(session, SessionState.ONLINE)
        return view

    async def pair(self, session: str, phone: str, *, qr: bool = False) -> PairingView:
        """One linking attempt to its end: what the API shows is handed to the phone once, whatever becomes of it."""
        handed: str | None = None
        asked = await self.api.pair(session, phone=None if qr else phone)
        view = asked
        async for view in self.api.follow_pairing(asked):
            shown = view.qr if qr else view.code
            if shown and shown != handed:
                handed = shown
                if qr:
                    await self.staging.scan_qr(phone, shown)
                else:
                    await self.staging.type_code(phone, shown)
        return view

    async def wait_state(self, session: str, state: SessionState) -> SessionView:
        """Until the API shows a session in a state; unbounded, see asyncio.timeout."""
        while True:
            last = (await self.api.status()).last_event
            view = await self.api.session(session)
            if view.state is state:
                return view
            async for _ in self.events(after=last, session=session, kind="session"):
                if (view := await self.api.session(session)).state is state:
                    return view

    async def welcomed(self, session: str) -> None:
        """Until its process has told this daemon how it is, and so works by the rules of now; unbounded, too."""
        while (await self.api.session(session)).memory_bytes is None:  # noqa: ASYNC110 - no event tells of a report
            await asyncio.sleep(POLL_S)

    async def events(
        self, *, after: int | None = None, session: str | None = None, kind: str | None = None
    ) -> AsyncIterator[EventView]:
        """The API's events without end: a restarted daemon is found again, and nothing is missed or repeated."""
        if after is None:
            await api_back(self.api)
            after = (await self.api.status()).last_event
        while True:
            try:
                async for event in self.api.events(after=after, session=session, kind=kind):
                    after = event.seq
                    yield event
            except ClientError:
                pass
            await asyncio.sleep(RETRY_PAUSE_S)

    # ---- measuring

    def memory(self) -> measure.Memory:
        parts = self.appliance.pids()
        return measure.memory(parts, parts["forkserver"])

    def all_pids(self) -> list[int]:
        """Every process of the appliance; the staging network is not one."""
        parts = self.appliance.pids()
        return [*parts.values(), *children_of(parts["forkserver"])]


async def api_back(client: ApplianceClient, timeout_s: float = 60.0) -> float:
    """Seconds until the API answers. Raises TimeoutError."""
    started = time.monotonic()
    async with asyncio.timeout(timeout_s):
        while True:
            try:
                await client.status()
            except ApiError:
                raise
            except ClientError:
                await asyncio.sleep(RETRY_PAUSE_S)
            else:
                return time.monotonic() - started


async def until(check: Callable[[], Awaitable[bool]], pause_s: float = POLL_S) -> None:
    """Ask again and again until the answer is yes; unbounded, see asyncio.timeout."""
    while True:
        if await check():
            return
        await asyncio.sleep(pause_s)
