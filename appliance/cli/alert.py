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
        note = "acknowledged" if view.acknowledged_by else ""
        note = f"silenced until {clock(view.silenced_until)}" if view.silenced_until else note
        rows.append(
            (view.id, view.phase, view.severity, view.rule, view.session or "-", clock(view.since),
             duration(until - view.since), note, printable(view.text))
        )  # fmt: skip
    header = ("ID", "NOW", "SEVERITY", "RULE", "SESSION", "SINCE", "FOR", "NOTE", "WHAT")
    print_table(header, rows, "Nothing is alarming.")


@app.command()
def rules(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """What is watched."""
    views = with_client(config, lambda client: client.alert_rules())
    if as_json:
        print_json(views)
        return
    rows = [(view.rule, view.severity, "yes" if view.person else "-", view.meaning) for view in views]
    print_table(("RULE", "SEVERITY", "PERSON", "WHAT IT MEANS"), rows, "")


@app.command()
def ack(
    alert: Annotated[str, typer.Argument(metavar="ALERT", help="Id of the alert.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Somebody takes care of it: it is not repeated any more."""
    view = with_client(config, lambda client: client.acknowledge_alert(alert))
    print_json(view) if as_json else print(f"{view.id}: acknowledged")


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
        print_json({"ended": ended}) if as_json else print(f"{ended}: ended")
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
            (one.target, "delivered" if one.delivered else "FAILED", duration(one.seconds), printable(one.error))
            for one in outcomes
        ]
        print_table(("TARGET", "RESULT", "TOOK", "WHY"), rows, "Nobody is told.")
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
        print_json({"removed": session}) if as_json else print(f"{session}: nobody is told any more")
        return
    if (name is None) != (contact is None):
        raise CommandError("--name and --contact belong together", "Give both, or none to show them.", Exit.USAGE)
    if name is None or contact is None:
        view = with_client(config, lambda client: client.person(session))
    else:
        target = sys.stdin.readline().strip() if contact == "-" else contact
        view = with_client(config, lambda client: _set(client, session, name, language, target))
    print_json(view) if as_json else print(
        f"{view.session}: {printable(view.name)} ({view.language}) by {view.contact}"
    )


async def _set(client: ApplianceClient, session: str, name: str, language: Language, contact: str) -> PersonView:
    from appliance.model_history import PersonRequest

    return await client.set_person(session, PersonRequest(name=name, language=language, contact=contact))


def parse_duration(text: str) -> float:
    """Seconds. Raises CommandError for a text that is no duration."""
    match = re.fullmatch(r"(\d{1,5})([mhd])", text)
    if match is None or not int(match[1]):
        raise CommandError(f"{text!r} is no duration", "Write 30m, 2h or 1d.", Exit.USAGE)
    return int(match[1]) * _UNITS[match[2]]


def _print_silences(views: list[SilenceView], *, as_json: bool) -> None:
    if as_json:
        print_json(views)
        return
    rows = [
        (view.id, view.rule or "every rule", view.session or "all", clock(view.until), printable(view.comment))
        for view in views
    ]
    print_table(("ID", "RULE", "SESSION", "UNTIL", "WHY"), rows, "Nothing is silenced.")
