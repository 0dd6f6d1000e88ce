"""`amda pairing …`: the attempts themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.common import ConfigOption, JsonOption, clock, print_json, print_table, with_client
from appliance.language import _, known, number

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
        (view.id, view.session, view.method, known(view.state), clock(view.created_at), view.phone or "-",
         known(view.reason or ""))
        for view in views
    ]  # fmt: skip
    print_table(_("PAIRING|SESSION|BY|STATE|BEGUN|NUMBER|WHY"), rows, _("No attempts yet: amda pair ID …"))


@app.command()
def show(pairing: PairingArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """One attempt."""
    _show(with_client(config, lambda client: client.pairing(pairing)), as_json=as_json)


@app.command()
def cancel(pairing: PairingArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """End an attempt that is under way."""
    _show(with_client(config, lambda client: client.cancel_pairing(pairing)), as_json=as_json)


@app.command()
def lift(
    session: Annotated[str, typer.Argument(metavar="SESSION", help="Whose limits.")],
    phone: Annotated[str | None, typer.Option(help="A further number, beside those that it asked codes for.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a session ask for the next code at once, whatever was counted against it and its numbers."""
    lifted = with_client(config, lambda client: client.lift_pairing_limits(session, phone))
    if as_json:
        print_json({"lifted": lifted})
    else:
        words = _("{id} may ask for a code now.") if lifted else _("Nothing was held against {id}.")
        print(words.format(id=session))


@app.command()
def days(
    count: Annotated[int, typer.Option("--days", min=1, max=400, help="How far back.")] = 14,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """How linking went, day by day: success and how long it took."""
    found = with_client(config, lambda client: client.pairing_days(count))
    if as_json:
        print_json(found)
        return
    rows = [
        (
            *(day.day, str(day.attempts), str(day.linked), str(day.cancelled)),
            "-" if day.success_rate is None else f"{day.success_rate:.0%}",
            *(seconds(day.code_shown_s), seconds(day.linked_s)),
        )
        for day in found
    ]
    header = _("DAY|ATTEMPTS|LINKED|CANCELLED|SUCCESS|CODE AFTER|LINKED AFTER")
    print_table(header, rows, _("No attempts yet: amda pair ID …"))


def seconds(value: float | None) -> str:
    """A number of seconds as people read it."""
    return "-" if value is None else f"{number(value, 1)} s"


def _show(view: PairingView, *, as_json: bool) -> None:
    if as_json:
        print_json(view)
        return
    now = _("{state} since {time}").format(state=known(view.state), time=clock(view.updated_at))
    print(f"{view.id}: {_('session {id}').format(id=view.session)}, {view.method}, {now}")
    steps = (
        (_("asked"), view.created_at),
        (_("begun"), view.started_at),
        (_("code shown"), view.shown_at),
        (_("phone accepted"), view.accepted_at),
        (_("ended"), view.ended_at),
    )
    print("  " + ", ".join(f"{name} {clock(at)}" for name, at in steps if at is not None))
    if view.position is not None:
        words = _("place {position} in the queue, about {time} to wait")
        print("  " + words.format(position=view.position, time=seconds(view.wait_s)))
    if view.code is not None:
        print("  " + _("{code}, good for {time}").format(code=view.code, time=seconds(view.remaining_s)))
    for text in filter(None, (view.reason, view.remedy)):
        print(f"  {known(text)}")
