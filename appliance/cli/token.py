"""`amda token …`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.alert import parse_duration
from appliance.cli.common import ConfigOption, JsonOption, clock, print_json, print_table, with_client
from appliance.language import _
from appliance.model_api import Scope

if TYPE_CHECKING:
    from appliance.model_access import TokenView

app = typer.Typer(no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for; the audit shows it.")],
    scope: Annotated[Scope, typer.Option(help="What its holder may do; each includes the ones before.")] = Scope.READ,
    session: Annotated[str | None, typer.Option(help="Good for this session only.")] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Works so long: 12h, 90d; without it until revoked.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token for the TCP door. It is shown this once: store it where it is used."""
    life = None if expires is None else parse_duration(expires)
    made = with_client(config, lambda client: client.create_token(name, scope, session=session, expires_in_s=life))
    if as_json:
        print_json(made)
        return
    print(made.secret)
    print(f"({_words(made.details)}; {_('shown this once')})", file=sys.stderr)


@app.command("list")
def list_tokens(
    everything: Annotated[bool, typer.Option("--all", help="Revoked and expired ones, too.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Who may use the API over TCP, and who did lately."""
    views = with_client(config, lambda client: client.tokens(everything=everything))
    if as_json:
        print_json(views)
        return
    rows = [
        (view.id, view.name, view.scope, view.session or _("all"), clock(view.created_at), _end(view),
         clock(view.last_used_at), view.last_address or "-")
        for view in views
    ]  # fmt: skip
    header = _("ID|NAME|SCOPE|SESSION|SINCE|UNTIL|LAST USED|FROM")
    print_table(header, rows, _("No tokens: amda token create NAME"))


@app.command()
def revoke(
    token: Annotated[str, typer.Argument(metavar="ID", help="Its id, from: amda token list")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """It is refused from now on, and its streams end."""
    view = with_client(config, lambda client: client.revoke_token(token))
    print_json(view) if as_json else print(f"{view.id} ({view.name}): {_('revoked')}")


def _end(view: TokenView) -> str:
    if view.revoked_at is not None:
        return _("revoked {time}").format(time=clock(view.revoked_at))
    return _("revoked by hand") if view.expires_at is None else clock(view.expires_at)


def _words(view: TokenView) -> str:
    where = _("session {id}").format(id=view.session) if view.session else _("all sessions")
    until = _("until {time}").format(time=clock(view.expires_at))
    until = _("until it is revoked") if view.expires_at is None else until
    return f"id {view.id}, {_('scope {name}').format(name=view.scope)}, {where}, {until}"
