"""`amda events`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.common import ConfigOption, JsonOption, clock, print_json, printable, with_client

if TYPE_CHECKING:
    from appliance.client import ApplianceClient
    from appliance.model import EventView


def register(app: typer.Typer) -> None:
    app.command()(events)


def events(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    last: Annotated[int, typer.Option(min=0, help="Begin with so many old ones.")] = 20,
    session: Annotated[str | None, typer.Option(help="Only of this session.")] = None,
    kind: Annotated[str | None, typer.Option("--type", help="Only types that begin so, for example media.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """What happened, and with --follow what happens. --json: one line per event."""
    with_client(config, lambda client: _print(client, last, session, kind, follow=follow, as_json=as_json))


async def _print(
    client: ApplianceClient, last: int, session: str | None, kind: str | None, *, follow: bool, as_json: bool
) -> None:
    newest = (await client.status()).last_event
    begin = max(0, newest - last)
    if not follow and begin == newest:
        return
    # Without a filter at the daemon the newest one is sure to come, and ends the listing.
    stream = client.events(after=begin) if not follow else client.events(after=begin, session=session, kind=kind)
    async for event in stream:
        if (session is None or event.session == session) and event.type.startswith(kind or ""):
            print_event(event, as_json=as_json)
        if not follow and event.seq >= newest:
            return


def print_event(event: EventView, *, as_json: bool) -> None:
    """One event on one line."""
    if as_json:
        print_json(event)
        return
    data = " ".join(
        f"{name}={printable(str(value))}" for name, value in event.data.items() if name != "id" and value != ""
    )
    print(f"{clock(event.at)}  {event.session or '-':<16} {event.type:<18} {data}".rstrip(), flush=True)
