"""`amda-tui`: finds the appliance and the language, and loads the rest while the first answer is under way."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from types import ModuleType

    from tui.port import Door
    from tui.store import Store

OK: Final = 0
USAGE: Final = 2
NOT_A_TERMINAL: Final = 1
WEB_DRIVER: Final = "TEXTUAL_DRIVER"
"""Set by the web server of `amda web`: the picture goes to a browser."""
THEMES: Final = ("dark", "light", "contrast", "plain")
_DEMO_SESSIONS: Final = 60


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line said."""

    demo: bool = False
    within_demo: bool = False
    config: Path | None = None
    socket: Path | None = None
    theme: str | None = None
    language: str | None = None
    read_only: bool = False
    token: Path | None = None
    sessions: int = _DEMO_SESSIONS


def parse(arguments: list[str]) -> Options:
    """The command line. Without arguments nothing is loaded that could read them."""
    if not arguments:
        return Options()
    import argparse

    from tui.text import _, language_of, use_language

    use_language(language_of())
    made = argparse.ArgumentParser(
        prog="amda-tui",
        description=_("The appliance at a glance. Leaving it stops nothing."),
        epilog=_("Keys: ? shows them, : finds every action by its name."),
    )
    made.add_argument("--demo", action="store_true", help=_("show a simulated fleet; nothing needs to run"))
    settings = _("settings file; otherwise AMDA_CONFIG, a running demo, the default")
    made.add_argument("--config", type=Path, metavar="FILE", help=settings)
    made.add_argument("--socket", type=Path, metavar="PATH", help=_("the daemon's socket itself"))
    made.add_argument("--theme", choices=THEMES, default=None, help=_("colours; otherwise dark (NO_COLOR: plain)"))
    made.add_argument("--language", metavar="LL", help=_("en or fr; otherwise by the locale"))
    made.add_argument("--read-only", action="store_true", help=_("look, and change nothing"))
    token = _("file with a token of the API: what it may, instead of what this user may")
    made.add_argument("--token", type=Path, metavar="FILE", help=token)
    simulated = _("how many the demo simulates")
    made.add_argument("--within-demo", action="store_true", help=argparse.SUPPRESS)  # which ends with it, and says so
    made.add_argument("--sessions", type=int, default=_DEMO_SESSIONS, metavar="N", help=simulated)
    return Options(**vars(made.parse_args(arguments)))


def main(arguments: list[str] | None = None) -> int:
    """Run until somebody quits; the exit status."""
    gc.disable()  # until everything is loaded: half of a start is otherwise spent looking for garbage that is not there
    options = parse(sys.argv[1:] if arguments is None else arguments)
    import asyncio

    from tui.text import _, known, language_of, use_language

    use_language(options.language or language_of())
    in_browser = WEB_DRIVER in os.environ  # its streams are pipes to the web server, which speaks for it
    if not in_browser and not (sys.stdin.isatty() and sys.stderr.isatty()):
        remedy = _("what to do: {remedy}").format(remedy="amda status, amda session list, amda events")
        sys.stderr.write(f"amda-tui: {_('this needs a terminal.')}\n  {remedy}\n")
        return NOT_A_TERMINAL
    try:
        door = _door(options)
    except _UsageError as error:
        sys.stderr.write(f"amda-tui: {known(str(error))}\n")
        return USAGE
    asyncio.run(_run(door, options))
    if not (options.demo or options.within_demo or in_browser):
        sys.stdout.write(_("amda-tui has ended; it has stopped nothing.") + "\n")
    return OK


class _UsageError(Exception):
    """One line about a mistake on the command line or in the settings."""


def _door(options: Options) -> Door:
    if options.demo:
        import time

        from tui.demo import DemoApi
        from tui.demo_fleet import Fleet

        return DemoApi(Fleet(max(0, options.sessions), now=time.time(), lively=20))
    from appliance.client import ApplianceClient
    from appliance.places import PlaceError, api_socket

    try:
        socket = options.socket or api_socket(options.config)
    except PlaceError as error:
        raise _UsageError(str(error)) from error
    token = None if options.token is None else _token(options.token)
    return lambda: ApplianceClient(socket, token)


def _token(file: Path) -> str:
    """Raises _UsageError."""
    from tui.text import _

    try:
        words = file.read_text().split()
    except (OSError, UnicodeDecodeError) as error:
        raise _UsageError(f"{file}: {getattr(error, 'strerror', None) or error}") from error
    if len(words) != 1 or not words[0].isascii():
        raise _UsageError(_("{file} does not hold a token and nothing else").format(file=file))
    return words[0]


async def _run(door: Door, options: Options) -> None:
    """The first snapshot is asked for while the terminal library is being loaded."""
    import asyncio

    from tui.store import Store

    store = Store()
    asking = asyncio.create_task(_first_snapshot(door, store))
    app_module = await asyncio.to_thread(_load)
    await asking
    gc.freeze()  # what was loaded stays until the end: nobody needs to look through it for garbage
    gc.enable()
    await app_module.run(door, store, theme=options.theme, read_only=options.read_only)


def _load() -> ModuleType:
    import tui.app

    return tui.app


async def _first_snapshot(door: Door, store: Store) -> None:
    """So that the first picture is complete; without it the interface says what is wrong and goes on trying."""
    import time

    from appliance.client import ClientError
    from tui.attach import take_snapshot
    from tui.text import known

    try:
        async with door() as api:
            store.load(await take_snapshot(api), time.time())
    except ClientError as error:
        store.lost(known(str(error)))


if __name__ == "__main__":
    sys.exit(main())
