"""`amda session …`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.common import (
    CommandError,
    ConfigOption,
    Exit,
    JsonOption,
    clock,
    print_json,
    print_table,
    printable,
    size,
    with_client,
)
from appliance.language import _, known, ngettext

if TYPE_CHECKING:
    from appliance.model import SessionView

app = typer.Typer(no_args_is_help=True)
_NONE, _DEFAULT = "none", "default"
"""Words for `--proxy`; neither can be a URL."""
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Name of the session.")]


@app.command()
def add(
    session: IdArgument,
    name: Annotated[str, typer.Option(help="A name for people; otherwise the id.")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a new session; link it then with: amda pair ID --phone +…"""
    view = with_client(config, lambda client: client.create_session(session, name))
    _show(view, as_json=as_json)


@app.command("list")
def list_sessions(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Every session: its state, since when, what it means, what to do."""
    views = with_client(config, lambda client: client.sessions())
    if as_json:
        print_json(views)
        return
    rows = [
        (view.id, known(view.state), clock(view.since), view.phone or "-", f"{view.media_count}", _meaning(view))
        for view in views
    ]
    header = _("ID|STATE|SINCE|NUMBER|MEDIA|WHAT IT MEANS")
    print_table(header, rows, _("No sessions yet: amda session add ID"))


@app.command()
def show(session: IdArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """One session in full."""
    _show(with_client(config, lambda client: client.session(session)), as_json=as_json)


@app.command()
def start(session: IdArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Let it run, and try at once if it was pausing."""
    _show(with_client(config, lambda client: client.start_session(session)), as_json=as_json)


@app.command()
def stop(session: IdArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Disconnect it and keep it stopped; it stays linked."""
    _show(with_client(config, lambda client: client.stop_session(session)), as_json=as_json)


@app.command()
def restart(session: IdArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """End its process and start a new one."""
    _show(with_client(config, lambda client: client.restart_session(session)), as_json=as_json)


@app.command("set")
def set_session(
    session: IdArgument,
    keep: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="What is kept of its messages, for example kinds=image,video."),
    ] = None,
    proxy: Annotated[
        str | None,
        typer.Option(help="socks5:// or http:// URL of its own; `none`: no proxy; `default`: as for all sessions."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Another name for people; the id stays.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change what is kept of its messages (at once; the value `default`: as for all sessions), its way to WhatsApp, or
    its name.

    A proxy is tried first; a session that runs starts anew, through it."""
    if not keep and proxy is None and name is None:
        raise CommandError(_("nothing to set"), _("Write --proxy URL, --name NAME or KEY=VALUE."), Exit.USAGE)
    if name is not None:
        called = name
        view = with_client(config, lambda client: client.rename_session(session, called))
        if not keep and proxy is None:
            _show(view, as_json=as_json)
    if proxy is not None:
        chosen = {_DEFAULT: None, _NONE: ""}.get(proxy, proxy)
        view = with_client(config, lambda client: client.set_proxy(session, chosen))
        if not keep:
            _show(view, as_json=as_json)
    if keep:
        from appliance.cli import capture as settings

        change = settings.parse(keep)
        settings.show(with_client(config, lambda client: client.set_capture(session, change)), as_json=as_json)


@app.command()
def capture(session: IdArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """What is kept of its messages, and which of these settings are its own."""
    from appliance.cli import capture as settings

    settings.show(with_client(config, lambda client: client.capture(session)), as_json=as_json)


@app.command()
def remove(
    session: IdArgument,
    purge: Annotated[bool, typer.Option("--purge", help="Delete its stored media as well.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Unlink the device at WhatsApp and forget the session; its media stays unless --purge."""
    removed = with_client(config, lambda client: client.remove_session(session, purge=purge))
    if as_json:
        print_json(removed)
        return
    done = (
        _("Session {id} is removed; its media is deleted.")
        if purge
        else _("Session {id} is removed; its media is kept.")
    )
    print(done.format(id=session))
    if removed.note is not None:
        print(_("Its device could not be unlinked: {why}").format(why=known(removed.note)), file=sys.stderr)


def _meaning(view: SessionView) -> str:
    return " ".join(filter(None, (known(view.meaning), known(printable(view.detail)))))


def _show(view: SessionView, *, as_json: bool) -> None:
    if as_json:
        print_json(view)
        return
    lines = [
        (_("session"), view.id if view.name == view.id else f"{view.id} ({printable(view.name)})"),
        (_("state"), _("{state} since {time}").format(state=known(view.state), time=clock(view.since))),
        (_("meaning"), _meaning(view)),
        (_("next attempt"), "" if view.next_try_at is None else clock(view.next_try_at)),
        (_("what to do"), known(view.remedy).replace(" ID", f" {view.id}")),
        (_("number"), view.phone or "-"),
        (_("proxy"), view.proxy or ""),
        (_("process"), "-" if view.pid is None else str(view.pid)),
        (_("engine"), view.engine or "-"),
        (_("last traffic"), clock(view.last_traffic_at)),
        (_("phone last noticed"), clock(view.phone_seen_at)),
        (_("disconnections today"), str(view.disconnections_today)),
        (_("media"), f"{ngettext('{count} item', '{count} items', view.media_count)}, {size(view.media_bytes)}"),
    ]
    for label, value in lines:
        if value:
            print(f"{label:<21}{value}")
