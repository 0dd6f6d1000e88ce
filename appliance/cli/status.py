"""`amda status`, `amda version`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from appliance.cli.common import ConfigOption, Exit, JsonOption, clock, print_json, size, with_client
from appliance.language import _, known, ngettext

if TYPE_CHECKING:
    from appliance.model_api import StatusView


def register(app: typer.Typer) -> None:
    app.command()(status)
    app.command()(version)


def status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """The appliance at a glance. Exit status 6 if a part of it is away."""
    view = with_client(config, lambda client: client.status())
    if as_json:
        print_json(view)
    else:
        for label, text in _lines(view):
            print(f"{label:<13}{text}")
    if view.degraded:
        raise typer.Exit(Exit.DEGRADED)


def _lines(view: StatusView) -> Iterator[tuple[str, str]]:
    since = clock(view.started_at)
    yield (
        _("release"),
        _("{release}, running since {since} (process {pid})").format(release=view.release, since=since, pid=view.pid),
    )
    yield _("network"), view.network
    states = ", ".join(f"{count} {known(state)}" for state, count in sorted(view.sessions.items()))
    yield _("sessions"), f"{sum(view.sessions.values())}{': ' + states if states else ''}"
    items = ngettext("{count} item", "{count} items", view.media_count)
    waiting = _("{count} waiting").format(count=view.intake.waiting)
    yield _("media"), f"{items}, {size(view.media_bytes)}; {waiting}"
    if view.intake.poisoned:
        yield _("set aside"), ngettext("{count} damaged item", "{count} damaged items", view.intake.poisoned)
    for part in view.degraded:
        yield _("DEGRADED"), f"{part.part}: {known(part.reason)}"
        yield "", _("what to do: {remedy}").format(remedy=known(part.remedy))
    for setting in view.settings_waiting:
        yield _("settings"), known(setting)
    if not view.degraded:
        yield _("DEGRADED").lower(), _("nothing")


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
