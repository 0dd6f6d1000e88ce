"""`amda pairing …`: the attempts themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.common import ConfigOption, JsonOption, clock, print_json, print_table, with_client

if TYPE_CHECKING:
    from appliance.model import PairingView

app = typer.Typer(no_args_is_help=True)
PairingArgument = Annotated[str, typer.Argument(metavar="PAIRING", help="Id of the attempt.")]


@app.command("list")
def list_pairings(
    session: Annotated[str | None, typer.Option(help="Only of this session.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many.")] = 20,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """The latest attempts and what became of them."""
    views = with_client(config, lambda client: client.pairings(session, limit))
    if as_json:
        print_json(views)
        return
    rows = [
        (view.id, view.session, view.method, view.state, clock(view.created_at), view.phone or "-", view.reason or "")
        for view in views
    ]
    print_table(
        ("PAIRING", "SESSION", "BY", "STATE", "BEGUN", "NUMBER", "WHY"), rows, "No attempts yet: amda pair ID …"
    )


@app.command()
def show(pairing: PairingArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """One attempt."""
    _show(with_client(config, lambda client: client.pairing(pairing)), as_json=as_json)


@app.command()
def cancel(pairing: PairingArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """End an attempt that is under way."""
    _show(with_client(config, lambda client: client.cancel_pairing(pairing)), as_json=as_json)


def _show(view: PairingView, *, as_json: bool) -> None:
    if as_json:
        print_json(view)
        return
    print(f"{view.id}: session {view.session}, {view.method}, {view.state} since {clock(view.updated_at)}")
    for text in filter(None, (view.code, view.reason, view.remedy)):
        print(f"  {text}")
