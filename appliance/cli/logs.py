"""`amda logs`."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import unquote, urlsplit

import typer

from appliance.cli.common import (
    CommandError,
    ConfigOption,
    Exit,
    JsonOption,
    clock,
    print_json,
    settings_of,
    with_client,
)
from appliance.language import _

if TYPE_CHECKING:
    from appliance.client import ApplianceClient

ALL_MAX = 2000
"""Lines that the API gives of everybody at once."""


def register(app: typer.Typer) -> None:
    app.command()(logs)


def logs(
    session: Annotated[
        str | None, typer.Argument(metavar="[SESSION]", help="Name of the session; without it: the daemon and all.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, max=10_000, help="Begin with so many old ones.")] = 200,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """What a session's process says, or everybody, with numbers and secrets masked.

    For one session without the daemon: what its file holds.
    """
    if session is None:
        with_client(config, lambda client: _print_all(client, min(lines, ALL_MAX), follow=follow, as_json=as_json))
        return
    try:
        with_client(config, lambda client: _print(client, session, lines, follow=follow, as_json=as_json))
    except CommandError as error:
        if error.status is not Exit.NOT_RUNNING or follow:
            raise
        print(_("(the appliance is not running: this is what the file holds)"), file=sys.stderr)
        for line in _from_file(config, session, lines):
            _show(line, as_json=as_json)


async def _print_all(client: ApplianceClient, lines: int, *, follow: bool, as_json: bool) -> None:
    async for entry in client.logs(lines=lines, follow=follow):
        if as_json:
            print_json(entry)
        else:
            print(f"{clock(entry.at)}  {entry.session or 'daemon':<16} {entry.level:<8} {entry.text}", flush=True)


async def _print(client: ApplianceClient, session: str, lines: int, *, follow: bool, as_json: bool) -> None:
    async for line in client.log(session, lines=lines, follow=follow):
        _show(line, as_json=as_json)


def _show(line: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"line": line})
    else:
        print(line, flush=True)


def _from_file(config: Path | None, session: str, lines: int) -> list[str]:
    from appliance.log_tail import Tail

    database = settings_of(config).paths.database
    try:
        with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            row = connection.execute("SELECT store_url FROM sessions WHERE id = ?", (session,)).fetchone()
    except sqlite3.Error as error:
        raise CommandError(f"{database}: {error}", _("Start the appliance: amda run"), Exit.NOT_RUNNING) from error
    if row is None or row[0] is None:
        words = _("There is no linked session {id}.").format(id=session)
        raise CommandError(words, _("List them: amda session list"), Exit.NOT_FOUND)
    with Tail(Path(unquote(urlsplit(row[0]).path)), lines) as tail:
        return tail.read()
