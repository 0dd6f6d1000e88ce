"""`amda alert …`."""

from __future__ import annotations

import re
import sys
import time
from typing import TYPE_CHECKING, Annotated, Final

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
    with_client,
)
from appliance.cli.history import duration
from appliance.language import _, known
from appliance.model_history import AlertRule, Language

if TYPE_CHECKING:
    from appliance.client import ApplianceClient
    from appliance.model_history import PersonView, SilenceView

app = typer.Typer(no_args_is_help=True)
_UNITS: Final = {"m": 60.0, "h": 3600.0, "d": 86_400.0}


@app.command("list")
def list_alerts(
    ended: Annotated[bool, typer.Option("--ended", help="Those of the last day that are over, too.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """What is alarming now. Exit status 0, whatever is listed."""
    views = with_client(config, lambda client: client.alerts(None if ended else time.time()))
    if as_json:
        print_json(views)
        return
    rows = []
    for view in views:
        until = time.time() if view.ended_at is None else view.ended_at
        note = _("acknowledged") if view.acknowledged_by else ""
        if view.silenced_until:
            note = _("silenced until {time}").format(time=clock(view.silenced_until))
        rows.append(
            (view.id, view.phase, view.severity, view.rule, view.session or "-", clock(view.since),
             duration(until - view.since), note, known(printable(view.text)))
        )  # fmt: skip
    print_table(_("ID|NOW|SEVERITY|RULE|SESSION|SINCE|FOR|NOTE|WHAT"), rows, _("Nothing is alarming."))


@app.command()
def rules(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """What is watched."""
    views = with_client(config, lambda client: client.alert_rules())
    if as_json:
        print_json(views)
        return
    rows = [(view.rule, view.severity, _("yes") if view.person else "-", known(view.meaning)) for view in views]
    print_table(_("RULE|SEVERITY|PERSON|WHAT IT MEANS"), rows, "")


@app.command()
def ack(
    alert: Annotated[str, typer.Argument(metavar="ALERT", help="Id of the alert.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Somebody takes care of it: it is not repeated any more."""
    view = with_client(config, lambda client: client.acknowledge_alert(alert))
    print_json(view) if as_json else print(f"{view.id}: {_('acknowledged')}")


@app.command()
def silence(
    length: Annotated[
        str | None, typer.Argument(metavar="[DURATION]", help="30m, 2h, 1d; without it the silences are listed.")
    ] = None,
    rule: Annotated[AlertRule | None, typer.Option(help="Only this rule.")] = None,
    session: Annotated[str | None, typer.Option(help="Only this session.")] = None,
    comment: Annotated[str, typer.Option(help="Why.")] = "",
    end: Annotated[str | None, typer.Option(metavar="SILENCE", help="End this one now.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell nobody for a while; alerts are shown all the same."""
    if end is not None:
        ended = end
        with_client(config, lambda client: client.end_silence(ended))
        print_json({"ended": ended}) if as_json else print(f"{ended}: {_('ended')}")
        return
    if length is None:
        _print_silences(with_client(config, lambda client: client.silences()), as_json=as_json)
        return
    seconds = parse_duration(length)
    view = with_client(config, lambda client: client.silence(seconds, rule=rule, session=session, comment=comment))
    _print_silences([view], as_json=as_json)


@app.command("test")
def try_out(
    session: Annotated[str | None, typer.Option(help="Tell this session's person instead of the operators.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send everybody a test message. Exit status 6 if somebody could not be told."""
    outcomes = with_client(config, lambda client: client.test_alerts(session))
    if as_json:
        print_json(outcomes)
    else:
        rows = [
            (one.target, _("delivered") if one.delivered else _("FAILED"), duration(one.seconds), printable(one.error))
            for one in outcomes
        ]
        print_table(_("TARGET|RESULT|TOOK|WHY"), rows, _("Nobody is told."))
    if not all(one.delivered for one in outcomes):
        sys.exit(Exit.DEGRADED)


@app.command()
def person(
    session: Annotated[str, typer.Argument(metavar="SESSION", help="Name of the session.")],
    name: Annotated[str | None, typer.Option(help="How the person is addressed.")] = None,
    language: Annotated[Language, typer.Option(help="Of the messages.")] = Language.FR,
    contact: Annotated[
        str | None, typer.Option(help="Apprise URL or https:// webhook; - reads it from standard input.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Tell nobody any more.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Who is told when only they can help: link again, open the phone, make room. Without options: shows it."""
    if remove:
        with_client(config, lambda client: client.remove_person(session))
        print_json({"removed": session}) if as_json else print(f"{session}: {_('nobody is told any more')}")
        return
    if (name is None) != (contact is None):
        remedy = _("Give both, or none to show them.")
        raise CommandError(_("--name and --contact belong together"), remedy, Exit.USAGE)
    if name is None or contact is None:
        view = with_client(config, lambda client: client.person(session))
    else:
        target = sys.stdin.readline().strip() if contact == "-" else contact
        view = with_client(config, lambda client: _set(client, session, name, language, target))
    words = _("{id}: {name} ({language}) by {contact}").format(
        id=view.session, name=printable(view.name), language=view.language, contact=view.contact
    )
    print_json(view) if as_json else print(words)


async def _set(client: ApplianceClient, session: str, name: str, language: Language, contact: str) -> PersonView:
    from appliance.model_history import PersonRequest

    return await client.set_person(session, PersonRequest(name=name, language=language, contact=contact))


def parse_duration(text: str) -> float:
    """Seconds. Raises CommandError for a text that is no duration."""
    match = re.fullmatch(r"(\d{1,5})([mhd])", text)
    if match is None or not int(match[1]):
        words = _("{text!r} is no duration").format(text=text)
        raise CommandError(words, _("Write 30m, 2h or 1d."), Exit.USAGE)
    return int(match[1]) * _UNITS[match[2]]


def _print_silences(views: list[SilenceView], *, as_json: bool) -> None:
    if as_json:
        print_json(views)
        return
    rows = [
        (view.id, view.rule or _("every rule"), view.session or _("all"), clock(view.until), printable(view.comment))
        for view in views
    ]
    print_table(_("ID|RULE|SESSION|UNTIL|WHY"), rows, _("Nothing is silenced."))
