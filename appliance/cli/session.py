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
        (view.id, view.state, clock(view.since), view.phone or "-", f"{view.media_count}", _meaning(view))
        for view in views
    ]
    print_table(
        ("ID", "STATE", "SINCE", "NUMBER", "MEDIA", "WHAT IT MEANS"), rows, "No sessions yet: amda session add ID"
    )


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
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change what is kept of its messages (at once; the value `default`: as for all sessions), or its way to WhatsApp.

    A proxy is tried first; a session that runs starts anew, through it."""
    if not keep and proxy is None:
        raise CommandError("nothing to set", "Write --proxy URL or KEY=VALUE.", Exit.USAGE)
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
    print(f"Session {session} is removed; its media is {'deleted' if purge else 'kept'}.")
    if removed.note is not None:
        print(f"Its device could not be unlinked: {removed.note}", file=sys.stderr)


def _meaning(view: SessionView) -> str:
    return " ".join(filter(None, (view.meaning, printable(view.detail))))


def _show(view: SessionView, *, as_json: bool) -> None:
    if as_json:
        print_json(view)
        return
    lines = [
        ("session", view.id if view.name == view.id else f"{view.id} ({printable(view.name)})"),
        ("state", f"{view.state} since {clock(view.since)}"),
        ("meaning", _meaning(view)),
        ("what to do", view.remedy.replace(" ID", f" {view.id}")),
        ("number", view.phone or "-"),
        ("proxy", view.proxy or ""),
        ("process", "-" if view.pid is None else str(view.pid)),
        ("engine", view.engine or "-"),
        ("last traffic", clock(view.last_traffic_at)),
        ("phone last noticed", clock(view.phone_seen_at)),
        ("disconnections today", str(view.disconnections_today)),
        ("media", f"{view.media_count} items, {size(view.media_bytes)}"),
    ]
    for label, value in lines:
        if value:
            print(f"{label:<21}{value}")
