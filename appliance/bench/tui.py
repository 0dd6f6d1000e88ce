"""`amda bench tui`: what the terminal interface costs, in a real pseudo-terminal of 120 × 40, against a live API.

Up to sixty sessions it is a real daemon's API: real workers on a staging network, whose connections are reset, a tenth
of them each second. More than that a small machine cannot run; then the API stands over a simulated fleet (the result's
`source` says so): the interface gets answers of the same shape and size, and only the daemon's own cost is not real.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

from appliance.bench.crowd import Crowd
from appliance.bench.rig import BenchError, Rig, say, until
from appliance.bench.terminal import Terminal
from appliance.children import end, package_environment, start_tethered
from appliance.client import ApplianceClient, ClientError
from appliance.staging import control_types as ct

COLUMNS, ROWS = 120, 40
VISIBLE_ROWS: Final = 34
"""Sessions that such a screen shows: forty lines without header (three), titles, and footer (two)."""
FULL_FLEET: Final = 60
"""Up to here with a real daemon; from here on the limits are double."""
STARTS: Final = 5
"""The first screen is the median of so many: a machine that tests share has bad moments."""
STEADY_S: Final = 20.0
SETTLE_S: Final = 3.0
"""After the first screen what is read later arrives: uptime, counts."""
CHANGING: Final = 0.1
"""Share of the sessions whose connection is reset each second."""
KEYS: Final = 40
WAY: Final = 10
"""Rows that the cursor goes down before it comes back; fewer where there are fewer."""
KEY_PAUSE_S: Final = 0.15
SIGNS: Final = tuple(sign.encode() for sign in "●◐◌○✖■")
CURSOR: Final = "▸".encode()
PARALLEL_LINKS: Final = 16
SCREEN_TIMEOUT_S: Final = 20.0
READY_TIMEOUT_S: Final = 30.0

Shake = Callable[[], Awaitable[None]]


class Tui(msgspec.Struct, frozen=True, kw_only=True):
    sessions: int
    source: str
    """`daemon`, or `simulated` for a fleet that this machine could not run."""
    first_screen_s: float
    first_screen_cpu_s: float
    """CPU time of the interface until then: what a busy machine cannot blur."""
    cpu_percent_of_core: float
    bytes_per_s: float
    key_to_repaint_p95_ms: float
    rss_mib: float
    rows_changed_per_s: float
    """Sessions whose state changed, by the API's events, each second of the steady time."""
    seconds: float

    @property
    def passed(self) -> bool:
        """Against what is promised for sixty; five hundred may cost twice as much."""
        times = 1 if self.sessions <= FULL_FLEET else 2
        return (
            self.first_screen_s <= 0.6 * times
            and self.cpu_percent_of_core <= 3 * times
            and self.bytes_per_s <= 4096 * times
            and self.key_to_repaint_p95_ms <= 50 * times
            and self.rss_mib <= 60 * times
        )


async def run(*, sessions: int, keep: bool = False) -> Tui:
    """Carry it out. Raises BenchError if it cannot be."""
    started = time.monotonic()
    source = _daemon(sessions, keep=keep) if sessions <= FULL_FLEET else _simulated(sessions)
    async with source as (name, socket, shake):
        measured = _Measured(socket, min(VISIBLE_ROWS, sessions))
        await measured.starts()
        say(f"first screen after {measured.first_s:.2f} s; {STEADY_S:.0f} s with {CHANGING:.0%} of the rows changing")
        await measured.steady(shake)
        return Tui(
            sessions=sessions,
            source=name,
            first_screen_s=round(measured.first_s, 3),
            first_screen_cpu_s=round(measured.first_cpu_s, 3),
            cpu_percent_of_core=round(measured.cpu_percent, 2),
            bytes_per_s=round(measured.bytes_per_s),
            key_to_repaint_p95_ms=round(measured.key_ms, 1),
            rss_mib=round(measured.rss_mib, 1),
            rows_changed_per_s=round(measured.changed_per_s, 1),
            seconds=round(time.monotonic() - started, 1),
        )


@contextlib.asynccontextmanager
async def _daemon(sessions: int, *, keep: bool) -> AsyncIterator[tuple[str, Path, Shake]]:
    """A whole appliance. The resets are ours: they are not to be taken for an outage of WhatsApp."""
    variables = {"AMDA_FLEET_OUTAGE_MINIMUM": "10000", "AMDA_RECONNECT_ATTEMPTS_PER_HOUR": "1000"}
    async with Rig(keep=keep, variables=variables) as rig:
        say(f"linking {sessions} sessions on a staging network")
        crowd = Crowd(rig, sessions)
        await crowd.link_all(PARALLEL_LINKS)
        accounts = itertools.cycle(crowd.accounts.values())

        async def shake() -> None:
            for account in itertools.islice(accounts, max(1, round(CHANGING * sessions))):
                await rig.staging.set_fault(ct.SetFault(kind=ct.FaultKind.RESET, account=account))

        yield "daemon", rig.appliance.api_socket, shake


@contextlib.asynccontextmanager
async def _simulated(sessions: int) -> AsyncIterator[tuple[str, Path, Shake]]:
    folder = Path(tempfile.mkdtemp(prefix="amda-bench-"))
    socket = folder / "api.sock"
    command = [sys.executable, "-P", "-m", "appliance.bench.tui_stand_in", "--socket", str(socket)]
    command += ["--sessions", str(sessions), "--changing", str(CHANGING)]
    process = await start_tethered(command, environment=package_environment(os.environ))
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            await until(lambda: _answers(socket))

        async def shake() -> None:
            """It shakes itself."""

        yield "simulated", socket, shake
    finally:
        await end(process, 2.0)
        shutil.rmtree(folder, ignore_errors=True)


async def _answers(socket: Path) -> bool:
    with contextlib.suppress(ClientError):
        async with ApplianceClient(socket) as client:
            await client.status()
            return True
    return False


class _Measured:
    """The steps, each with what it measures."""

    def __init__(self, socket: Path, visible: int) -> None:
        self._socket = socket
        self._visible = visible
        self.first_s = self.first_cpu_s = self.cpu_percent = self.bytes_per_s = 0.0
        self.key_ms = self.rss_mib = self.changed_per_s = 0.0

    def terminal(self) -> Terminal:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG"))}
        environment |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
        environment["AMDA_PATHS_RUN_DIR"] = str(self._socket.parent)
        environment.pop("NO_COLOR", None)
        return Terminal([sys.executable, "-P", "-m", "tui"], package_environment(environment), COLUMNS, ROWS)

    async def starts(self) -> None:
        """The median of several starts; the first one warms the disk's cache and does not count."""
        await self._start()
        found = [await self._start() for _ in range(STARTS)]
        self.first_s = statistics.median(seconds for seconds, _ in found)
        self.first_cpu_s = statistics.median(cpu for _, cpu in found)

    async def _start(self) -> tuple[float, float]:
        async with self.terminal() as terminal:
            at = await terminal.until(self._all_rows, SCREEN_TIMEOUT_S)
            return at - terminal.started, terminal.cpu_s()

    def _all_rows(self, output: bytes) -> bool:
        """Every visible row has its sign, whatever its state."""
        return sum(output.count(sign) for sign in SIGNS) >= self._visible

    async def steady(self, shake: Shake) -> None:
        """CPU and bytes with a tenth of the rows changing each second, then the time from a key to its repaint."""
        async with self.terminal() as terminal, ApplianceClient(self._socket) as api:
            await terminal.until(self._all_rows, SCREEN_TIMEOUT_S)
            await asyncio.sleep(SETTLE_S)
            first_event = (await api.status()).last_event
            cpu, written, began = terminal.cpu_s(), len(terminal.output), time.monotonic()
            await self._shaken(shake, STEADY_S)
            passed = time.monotonic() - began
            self.cpu_percent = 100 * (terminal.cpu_s() - cpu) / passed
            self.bytes_per_s = (len(terminal.output) - written) / passed
            self.changed_per_s = ((await api.status()).last_event - first_event) / passed
            await self._keys(terminal, shake)
            self.rss_mib = terminal.rss_mib()

    async def _shaken(self, shake: Shake, seconds: float) -> None:
        ending = time.monotonic() + seconds
        while (left := ending - time.monotonic()) > 0:
            started = time.monotonic()
            await shake()
            await asyncio.sleep(max(0.0, min(left, 1.0 - (time.monotonic() - started))))

    async def _keys(self, terminal: Terminal, shake: Shake) -> None:
        """The cursor goes down and up while the fleet goes on changing."""
        shaking = asyncio.create_task(self._shaken(shake, KEYS * KEY_PAUSE_S * 2))
        taken, way = [], max(1, min(WAY, self._visible - 1))
        for number in range(KEYS):
            await asyncio.sleep(KEY_PAUSE_S)
            before, pressed = len(terminal.output), time.monotonic()
            terminal.type("j" if number % (2 * way) < way else "k")
            shown = await terminal.until(lambda output: CURSOR in output, SCREEN_TIMEOUT_S, after=before)
            taken.append(1000 * (shown - pressed))
        shaking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await shaking
        if len(taken) < KEYS:
            raise BenchError("not every key was answered")
        self.key_ms = statistics.quantiles(taken, n=20)[-1]
