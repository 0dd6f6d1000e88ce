"""What `amda demo` does: a staging network, the appliance, five linked accounts, contacts that write, until the end."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shlex
import signal
import sys
import termios
import tty
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO, Final

import msgspec

from appliance.children import end, package_environment, start_tethered
from appliance.cli.events import print_event
from appliance.client import ApplianceClient, NotRunningError
from appliance.config import Settings, load_settings
from appliance.embedded import EmbeddedAppliance, EmbeddedError
from appliance.language import N_, _, known
from appliance.logging import configure_logging
from appliance.model import PairingState, SessionState
from appliance.places import demo_folder
from appliance.staging.client import StagingClient
from appliance.staging.control_types import INFO_FILE, AddAccount, Mix, Traffic, TypingPlan

_NETWORK_READY_S: Final = 60.0
"""The first start copies and patches the engine library (some 60 MB), on a slow disk this takes seconds."""
_NETWORK_LOOK_S: Final = 0.05
"""Its file says that it is ready; nothing tells when a file appears without costing more than looking."""
_NETWORK_STOP_S: Final = 10.0
_INTERFACE_STOP_S: Final = 3.0
"""What the interface gets to give the terminal back when a signal ends the demo."""
_SETTINGS_FILE: Final = "amda.toml"
_LOG_FILE: Final = "demo.log"
_RECONNECT_S: Final = 0.5
"""Pause before the events are followed again when the daemon was restarted meanwhile."""
_STOP_KEYS: Final = b"qQ"


class Person(msgspec.Struct, frozen=True):
    session: str
    name: str
    phone: str
    by_qr: bool = False


PEOPLE: Final = (
    Person("awa", "Awa", "+221770000001"),
    Person("bruno", "Bruno", "+33612345601"),
    Person("chidi", "Chidi", "+2348031234501"),
    Person("dana", "Dana", "+4915112345601", by_qr=True),
    Person("edu", "Edu", "+5511961234501"),
)
"""Numbers that are valid in their countries, because the appliance checks them; no call or message ever reaches one."""
_TRAFFIC: Final = Traffic(
    per_second=0.7,
    mix=Mix(text=4, image=1, status=3, view_once=2, voice=1, video=0.5, group=1, revoked=2),
)
_UNLINKED: Final = (SessionState.NEW, SessionState.NEEDS_PAIRING)
_TRY: Final = N_("""
Try in another terminal{where}:
  {amda} status             the appliance at a glance
  {amda} session list       every session: its state, and what to do
  {amda} media list         what was captured
  {amda} media get MEDIA    a file of it
  {amda} session stop awa   then start it again: nothing is lost
  {amda} session add me && {amda} pair me --phone +221770000009
      a code that nobody types: see how it is explained
Everything lies in {folder}
{ending}
""")


class DemoRunningError(Exception):
    """A demo works in this folder already."""


async def run_demo(folder: Path, *, interface: bool) -> None:
    """Run until somebody leaves the terminal interface (with `interface`), or until q; always until a signal.

    Leaves no process. Raises DemoRunningError, and what its parts raise.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_locked(folder))
        stop = stack.enter_context(_stop_request(keys=not interface))
        if interface:  # lines of the log would be written across the interface
            log = stack.enter_context((folder / _LOG_FILE).open("a", encoding="utf-8"))
            configure_logging("warning", "console", log)
        else:
            configure_logging("warning", "console")
        work = asyncio.create_task(_work(folder, interface=interface))
        asked = asyncio.create_task(stop.wait())
        await asyncio.wait([work, asked], return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            print("\n" + _("Stopping …"), flush=True)
        work.cancel()
        asked.cancel()
        await asyncio.wait([work, asked])
        if not work.cancelled() and (error := work.exception()) is not None:
            raise error
        print(_("Stopped. Nothing is running any more."))


async def _work(folder: Path, *, interface: bool) -> None:
    settings = _settings(folder)
    print(_("Starting the staging network …"), flush=True)
    async with _staging_network(folder) as staging:
        print(_("Starting the appliance …"), flush=True)
        async with EmbeddedAppliance(settings) as appliance, ApplianceClient(appliance.api_socket) as client:
            for person in PEOPLE:
                await staging.add_account(AddAccount(phone=person.phone, name=person.name, plan=TypingPlan.TYPE))
            await asyncio.gather(*(_link(client, staging, person) for person in PEOPLE))
            last_event = (await client.status()).last_event
            await staging.start_traffic(_TRAFFIC)
            _print_hints(folder, interface=interface)
            if interface:
                await _show_interface(folder)
            else:
                await _follow(client, last_event)


def _settings(folder: Path) -> Settings:
    """The demo's own settings file, complete: variables of the surroundings do not reach into it."""
    file = folder / _SETTINGS_FILE
    text = msgspec.json.encode(str(folder)).decode(), msgspec.json.encode(str(folder / "staging")).decode()
    file.write_text(f"# Written by amda demo.\n[paths]\nstate_dir = {text[0]}\n\n[network]\nstaging = {text[1]}\n")
    file.chmod(0o600)
    return load_settings(file, {})


@contextlib.asynccontextmanager
async def _staging_network(folder: Path) -> AsyncIterator[StagingClient]:
    place = folder / "staging"
    place.mkdir(mode=0o700, exist_ok=True)
    (folder / "logs").mkdir(mode=0o700, exist_ok=True)
    (place / INFO_FILE).unlink(missing_ok=True)  # of a network that was killed
    command = [sys.executable, "-P", "-m", "appliance.staging", "--folder", str(place)]
    log_file = folder / "logs" / "staging.log"
    with log_file.open("ab") as log:
        process = await start_tethered(command, environment=package_environment(os.environ), output=log)
    try:
        try:
            async with asyncio.timeout(_NETWORK_READY_S):
                while not (place / INFO_FILE).exists():
                    if process.returncode is not None:
                        words = _("the staging network ended at its start: {why}")
                        raise EmbeddedError(words.format(why=_last_line(log_file)))
                    await asyncio.sleep(_NETWORK_LOOK_S)
        except TimeoutError:
            words = _("the staging network was not ready after {seconds:.0f} s")
            raise EmbeddedError(words.format(seconds=_NETWORK_READY_S)) from None
        async with StagingClient(place) as client:
            yield client
    finally:
        await end(process, _NETWORK_STOP_S)


async def _link(client: ApplianceClient, staging: StagingClient, person: Person) -> None:
    """Link a session as its person would: see the code, type it; or scan the QR code."""
    sessions = {view.id: view for view in await client.sessions()}
    if person.session not in sessions:
        await client.create_session(person.session, person.name)
    elif sessions[person.session].state not in _UNLINKED:
        return
    view = await client.pair(person.session, phone=None if person.by_qr else person.phone)
    done = False
    async for found in client.follow_pairing(view):
        view = found
        if found.code and not done:
            words = _("{name}'s code is {code}; it is typed on the simulated phone")
            print("  " + words.format(name=person.name, code=found.code), flush=True)
            await staging.type_code(person.phone, found.code)
            done = True
        elif found.qr and not done:
            words = _("{name}'s QR code is scanned by the simulated phone")
            print("  " + words.format(name=person.name), flush=True)
            await staging.scan_qr(person.phone, found.qr)
            done = True
    if view.state is PairingState.LINKED:
        words = _("{name} is linked: session {id}").format(name=person.name, id=person.session)
        print(f"  {words}", flush=True)
    else:
        why = f"{known(view.reason or '')} {known(view.remedy or '')}"
        words = _("{name} could not be linked: {why}").format(name=person.name, why=why)
        print(f"  {words}", file=sys.stderr, flush=True)


async def _follow(client: ApplianceClient, after: int) -> None:
    """Print events for ever, over restarts of the daemon."""
    while True:
        with contextlib.suppress(NotRunningError):
            async for event in client.events(after=after):
                after = event.seq
                print_event(event, as_json=False)
        await asyncio.sleep(_RECONNECT_S)


async def _show_interface(folder: Path) -> None:
    """amda-tui in the foreground of this terminal, until somebody leaves it; it puts the terminal back by itself.

    Raises EmbeddedError if it could not be shown.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "tui", "--within-demo", "--config", str(folder / _SETTINGS_FILE)),
        env=package_environment(os.environ),
    )
    try:
        if status := await process.wait():
            words = _("the terminal interface ended with status {status}; --no-tui does without it")
            raise EmbeddedError(words.format(status=status))
    finally:
        await end(process, _INTERFACE_STOP_S)


def _print_hints(folder: Path, *, interface: bool) -> None:
    if interface:
        ending = _("Leaving the terminal interface ends this demo.")
    else:
        ending = _("Press q to end it.") if sys.stdin.isatty() else _("Ctrl-C or SIGTERM ends it.")
    print(_(_TRY).format(amda=_program(), where=_where(folder), folder=folder, ending=ending), flush=True)


def _program() -> str:
    """How this very program is called from here: a checkout's is on nobody's PATH."""
    program = Path(sys.argv[0]).absolute()
    if program.name != "amda":
        return f"{sys.executable} -m appliance"
    return str(program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program)


def _where(folder: Path) -> str:
    """What a second terminal needs to find this demo: nothing, if it is the checkout's own."""
    if folder == demo_folder():
        return ""
    command = f"export AMDA_CONFIG={shlex.quote(str(folder / _SETTINGS_FILE))}"
    return " " + _("(first: {command})").format(command=command)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One demo per folder; the lock goes with the process, whatever ends it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(folder / "demo.lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            words = _("a demo runs in {folder} already; stop it, or name another --folder")
            raise DemoRunningError(words.format(folder=folder)) from None
        yield


@contextlib.contextmanager
def _stop_request(*, keys: bool) -> Iterator[asyncio.Event]:
    """An event that is set by a signal, and with `keys` by q on the terminal, which is put back as it was."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    with contextlib.ExitStack() as stack:
        if keys and sys.stdin.isatty():
            stack.enter_context(_single_keys(sys.stdin, stop))
        yield stop


@contextlib.contextmanager
def _single_keys(terminal: IO[str], stop: asyncio.Event) -> Iterator[None]:
    descriptor = terminal.fileno()
    before = termios.tcgetattr(descriptor)
    loop = asyncio.get_running_loop()

    def on_key() -> None:
        pressed = os.read(descriptor, 64)
        if not pressed:  # the terminal is gone
            loop.remove_reader(descriptor)
            stop.set()
        elif any(key in _STOP_KEYS for key in pressed):
            stop.set()

    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, on_key)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _last_line(file: Path) -> str:
    lines = file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else _("it said nothing")
