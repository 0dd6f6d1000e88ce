"""`amda status`, `amda version`."""

from __future__ import annotations

import typer

from appliance.cli.common import ConfigOption, Exit, JsonOption, clock, print_json, size, with_client


def register(app: typer.Typer) -> None:
    app.command()(status)
    app.command()(version)


def status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """The appliance at a glance. Exit status 6 if a part of it is away."""
    view = with_client(config, lambda client: client.status())
    if as_json:
        print_json(view)
    else:
        states = ", ".join(f"{number} {state}" for state, number in sorted(view.sessions.items()))
        print(f"release      {view.release}, running since {clock(view.started_at)} (process {view.pid})")
        print(f"network      {view.network}")
        print(f"sessions     {sum(view.sessions.values())}{': ' + states if states else ''}")
        print(f"media        {view.media_count} items, {size(view.media_bytes)}; {view.intake.waiting} waiting")
        if view.intake.poisoned:
            print(f"set aside    {view.intake.poisoned} damaged items")
        for part in view.degraded:
            print(f"DEGRADED     {part.part}: {part.reason}\n             what to do: {part.remedy}")
        for setting in view.settings_waiting:
            print(f"settings     {setting}")
        if not view.degraded:
            print("degraded     nothing")
    if view.degraded:
        raise typer.Exit(Exit.DEGRADED)


def version(as_json: JsonOption = False) -> None:
    """The release of this program."""
    print_version(as_json=as_json)


def print_version(*, as_json: bool) -> None:
    """Without asking the daemon: it may be of another release, or away."""
    from appliance import __version__

    if as_json:
        print_json({"release": __version__})
    else:
        print(f"amda {__version__}")
