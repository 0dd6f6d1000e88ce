"""`amda`: assembles the commands. They import what they need when they run, so that `amda --help` answers at once."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
import typer.main

from appliance.cli import (
    alert,
    audit,
    backup,
    bench,
    config,
    demo,
    doctor,
    engine,
    events,
    history,
    logs,
    media,
    pair,
    pairing,
    rehearse,
    run_commands,
    session,
    staging,
    status,
    storage,
    token,
    upgrade,
    web,
    webhook,
)
from appliance.cli.common import CommandError, Exit, fail
from appliance.language import language_of, use_language

_EPILOG = (
    "Exit status: 0 done, 1 failed, 2 wrong use or input, 3 not found, 4 refused, 5 the appliance is not running,"
    " 6 a part is away or no answer in time."
)


def _show_version(asked: bool) -> None:
    """Before a command is looked for: there need not be one."""
    if asked:
        status.print_version(as_json=False)
        raise typer.Exit


def build() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(
        help="Sixty WhatsApp accounts on one small server.",
        epilog=_EPILOG,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback(invoke_without_command=False)
    def root(
        version: Annotated[
            bool,
            typer.Option("--version", is_eager=True, callback=_show_version, help="Print the release and end."),
        ] = False,
    ) -> None:
        """Sixty WhatsApp accounts on one small server."""

    for module in (run_commands, demo, web, status, doctor, events, history, audit, logs, config, pair, upgrade):
        module.register(app)
    app.add_typer(session.app, name="session", help="Sessions: one WhatsApp account each.")
    app.add_typer(alert.app, name="alert", help="What is alarming, and who is told.")
    app.add_typer(pairing.app, name="pairing", help="Attempts to link a session.")
    app.add_typer(bench.app, name="bench")
    app.add_typer(rehearse.app, name="rehearse", help="Checks of the real thing, with a real phone.")
    app.add_typer(media.app, name="media", help="Stored statuses, deleted messages and view-once media.")
    app.add_typer(storage.app, name="storage", help="How much is stored, and what makes room.")
    app.add_typer(backup.app, name="backup", help="Backups: make, check, restore.")
    app.add_typer(engine.app, name="engine", help="The WhatsApp engine: which one sessions have, and another one.")
    app.add_typer(token.app, name="token", help="Tokens: who may use the API over TCP.")
    app.add_typer(webhook.app, name="webhook", help="Who is told of events by a signed request.")
    app.add_typer(staging.app, name="staging", help="A WhatsApp of our own on loopback, for rehearsals.")
    return app


def run(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit status. Whatever goes wrong is one line and a remedy on standard error."""
    from typer._click.exceptions import ClickException

    from appliance.cli import spoken

    arguments = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in arguments
    use_language("en" if as_json else language_of())  # programs are spoken to in one language
    command = typer.main.get_command(build())
    spoken.translate(command)
    try:
        status = command.main(arguments, prog_name="amda", standalone_mode=False)
    except CommandError as error:
        fail(error, json=as_json)
    except ClickException as error:
        spoken.complain(error)
        return error.exit_code
    except typer.Abort:
        return Exit.FAILED
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else Exit.OK
    return status if isinstance(status, int) else Exit.OK
