"""`amda webhook …`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import msgspec
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
from appliance.language import _, known, ngettext
from appliance.model_webhooks import DeliveryState, WebhookChange, WebhookRequest

if TYPE_CHECKING:
    from appliance.model_webhooks import DeliveryDetails, NewWebhook, WebhookView

app = typer.Typer(no_args_is_help=True)
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the webhook.")]
EventOption = Annotated[
    list[str] | None,
    typer.Option("--event", metavar="TYPE", help="Only this type or kind (media.stored, media); repeatable."),
]
SessionOption = Annotated[
    list[str] | None, typer.Option("--session", metavar="SESSION", help="Only this session; repeatable.")
]


@app.command()
def add(
    webhook: IdArgument,
    url: Annotated[str, typer.Argument(metavar="URL", help="Where to; - reads it from standard input.")],
    event: EventOption = None,
    session: SessionOption = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="Send nothing until it is enabled.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have events posted to a URL. The secret that signs them is shown this once: store it where they arrive."""
    request = WebhookRequest(
        id=webhook, url=_url(url), events=event or [], sessions=session or [], enabled=not disabled
    )
    _print_new(with_client(config, lambda client: client.create_webhook(request)), as_json=as_json)


@app.command("list")
def list_webhooks(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Every webhook, and how it fares."""
    views = with_client(config, lambda client: client.webhooks())
    if as_json:
        print_json(views)
        return
    every = _("all")
    rows = [
        (view.id, _state(view), view.url, ",".join(view.events) or every, ",".join(view.sessions) or every,
         str(view.waiting), str(view.dead), clock(view.delivered_at), _trouble(view.reason or view.error))
        for view in views
    ]  # fmt: skip
    header = _("ID|STATE|TO|EVENTS|SESSIONS|WAITING|DEAD|DELIVERED|TROUBLE")
    print_table(header, rows, _("No webhooks: amda webhook add ID URL"))


@app.command()
def show(webhook: IdArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """One webhook in full."""
    _show(with_client(config, lambda client: client.webhook(webhook)), as_json=as_json)


@app.command("set")
def set_webhook(
    webhook: IdArgument,
    url: Annotated[str | None, typer.Option(help="Another URL; - reads it from standard input.")] = None,
    event: EventOption = None,
    every_event: Annotated[bool, typer.Option("--all-events", help="Every type again.")] = False,
    session: SessionOption = None,
    every_session: Annotated[bool, typer.Option("--all-sessions", help="Every session again.")] = False,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable", help="Send, or send nothing.")] = None,
    new_secret: Annotated[bool, typer.Option("--new-secret", help="Sign with another secret from now on.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change it; what is not given stays. Disabled, it gets nothing, and what happens meanwhile is not kept for it."""
    change = WebhookChange(
        url=msgspec.UNSET if url is None else _url(url),
        events=(event or []) if event or every_event else msgspec.UNSET,
        sessions=(session or []) if session or every_session else msgspec.UNSET,
        enabled=msgspec.UNSET if enabled is None else enabled,
    )
    if change != WebhookChange():
        view = with_client(config, lambda client: client.change_webhook(webhook, change))
        if not new_secret:
            _show(view, as_json=as_json)
            return
    elif not new_secret:
        raise CommandError(_("nothing to change"), _("See: amda webhook set --help"), Exit.USAGE)
    _print_new(with_client(config, lambda client: client.renew_webhook_secret(webhook)), as_json=as_json)


@app.command()
def remove(webhook: IdArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Send nothing there any more, and forget its deliveries."""
    with_client(config, lambda client: client.remove_webhook(webhook))
    print_json({"removed": webhook}) if as_json else print(f"{webhook}: {_('removed')}")


@app.command("test")
def try_out(webhook: IdArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Post a test message now. Exit status 6 if it is not taken."""
    outcome = with_client(config, lambda client: client.test_webhook(webhook))
    if as_json:
        print_json(outcome)
    else:
        what = _("delivered") if outcome.delivered else f"{_('FAILED')}: {printable(known(outcome.error))}"
        print(f"{webhook}: {outcome.target}: {what} ({duration(outcome.seconds)})")
    if not outcome.delivered:
        sys.exit(Exit.DEGRADED)


@app.command()
def deliveries(
    webhook: IdArgument,
    delivery: Annotated[
        str | None, typer.Argument(metavar="[DELIVERY]", help="Show this one: what is sent, and every attempt.")
    ] = None,
    state: Annotated[DeliveryState | None, typer.Option(help="Only these.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="So many, newest first.")] = 50,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """What was delivered, what waits, and what was given up (dead)."""
    if delivery is not None:
        name = delivery
        details = with_client(config, lambda client: client.delivery(webhook, name))
        print_json(details) if as_json else _print_details(details)
        return
    page = with_client(config, lambda client: client.deliveries(webhook, state=state, limit=limit))
    if as_json:
        print_json(page.items)
        return
    rows = [
        (view.id, view.type, view.session or "-", known(view.state), str(view.attempts), clock(view.created_at),
         clock(view.due_at), _trouble(view.error))
        for view in page.items
    ]  # fmt: skip
    header = _("ID|EVENT|SESSION|STATE|ATTEMPTS|SINCE|NEXT TRY|TROUBLE")
    print_table(header, rows, _("No deliveries."))


@app.command()
def resend(
    webhook: IdArgument,
    delivery: Annotated[
        str | None, typer.Argument(metavar="[DELIVERY]", help="This one; without it everything that was given up.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send again what was given up, or one delivery whatever became of it."""
    if delivery is None:
        count = with_client(config, lambda client: client.resend_dead(webhook))
        print_json({"queued": count}) if as_json else print(
            f"{webhook}: {ngettext('{count} is sent again', '{count} are sent again', count)}"
        )
        return
    name = delivery
    view = with_client(config, lambda client: client.resend(webhook, name))
    print_json(view) if as_json else print(f"{view.id}: {_('is sent again')}")


def _url(text: str) -> str:
    """A URL may hold a token, which a command line shows to everybody on the machine."""
    return sys.stdin.readline().strip() if text == "-" else text


def _state(view: WebhookView) -> str:
    return _("enabled") if view.enabled else _("disabled")


def _trouble(text: str) -> str:
    return printable(known(text)) or "-"


def _print_new(made: NewWebhook, *, as_json: bool) -> None:
    if as_json:
        print_json(made)
        return
    print(made.secret)
    words = _("{id}: signs what is posted to {url}; shown this once")
    print(f"({words.format(id=made.details.id, url=made.details.url)})", file=sys.stderr)


def _show(view: WebhookView, *, as_json: bool) -> None:
    if as_json:
        print_json(view)
        return
    made = _("{time} by {who}").format(time=clock(view.created_at), who=view.created_by)
    again = _("send again: {command}").format(command=f"amda webhook resend {view.id}")
    lines = {
        _("id"): view.id,
        _("to"): view.url,
        _("state"): f"{_state(view)}{f': {printable(known(view.reason))}' if view.reason else ''}",
        _("events"): ", ".join(view.events) or _("all"),
        _("sessions"): ", ".join(view.sessions) or _("all"),
        _("made"): made,
        _("waiting"): str(view.waiting),
        _("given up"): f"{view.dead} ({again})" if view.dead else "0",
        _("delivered"): clock(view.delivered_at),
        _("trouble"): _trouble(view.error),
    }
    width = max(map(len, lines)) + 2
    for name, value in lines.items():
        print(f"{name:<{width}}{value}")


def _print_details(details: DeliveryDetails) -> None:
    view = details.delivery
    print(f"{view.id}  {view.type}  {view.session or '-'}  {known(view.state)}  {_('next try')}: {clock(view.due_at)}")
    print(printable(msgspec.json.encode(details.message).decode()))
    rows = [
        (clock(one.at), duration(one.took_s), str(one.status or "-"), _trouble(one.error)) for one in details.attempts
    ]
    print_table(_("AT|TOOK|ANSWER|TROUBLE"), rows, _("Not tried yet."))
