"""Help and usage errors in the person's language: Typer knows ours only as text, and has words of its own around it."""

from __future__ import annotations

import gettext
import sys
from collections.abc import Iterator
from typing import Final

from typer._click import Command, Context
from typer._click.exceptions import ClickException, NoArgsIsHelpError, UsageError
from typer._click.formatting import HelpFormatter

from appliance.language import CATALOGUES, DOMAIN, N_, _, current_language, known

FRAME: Final = (
    N_("Arguments"),
    N_("Options"),
    N_("Commands"),
    N_("default: {default}"),
    N_("required"),
    N_("Show this message and exit."),
    N_("[OPTIONS]"),
    N_("COMMAND [ARGS]..."),
)
"""What Typer writes around our help; most of it it looks up itself, in the catalogue that `in_french` names."""
COMPLAINTS: Final = (
    "Missing command.",
    "Missing argument {0}.",
    "Missing argument {0}. {1}",
    "Missing option {0}.",
    "Missing option {0}. {1}",
    "No such command {0}.",
    "No such command {0}. Did you mean {1}?",
    "No such option: {0}",
    "No such option: {0} (Possible options: {1})",
    "Option {0} requires an argument.",
    "Option {0} does not take a value.",
    "Got unexpected extra argument(s) ({0})",
    "Invalid value for {0}: {1}",
    "Choose from:{0}",
    "Value error, {0} is not one of {1}.",
    "Input should be {0}",
    "Input should be greater than or equal to {0}",
    "Input should be less than or equal to {0}",
    "Input should be a valid integer, unable to parse string as an integer",
    "Input should be a valid number, unable to parse string as a number",
)
"""What Typer, and pydantic for it, say about a wrong use."""


class _Formatter(HelpFormatter):
    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        super().write_usage(prog, args, _("Usage: ") if prefix is None else prefix)


class _Context(Context):
    formatter_class = _Formatter


def translate(command: Command) -> None:
    """Let a command and all below it speak the language that was chosen."""
    if current_language() == "en":
        return
    gettext.bindtextdomain(DOMAIN, str(CATALOGUES))
    gettext.textdomain(DOMAIN)
    for name, one in walk(command):
        one.context_class = _Context
        one.help = _(one.help) if one.help else None
        one.epilog = _(one.epilog) if one.epilog else None
        one.options_metavar = _(one.options_metavar) if one.options_metavar else None
        if hasattr(one, "subcommand_metavar"):
            one.subcommand_metavar = _(one.subcommand_metavar)
        for parameter in one.params:
            if text := getattr(parameter, "help", None):
                parameter.help = _(text)  # type: ignore[attr-defined]
        option = one.get_help_option(_Context(one, info_name=name, help_option_names=["-h", "--help"]))
        if option is not None:
            option.help = _("Show this message and exit.")


def walk(command: Command, name: str = "amda") -> Iterator[tuple[str, Command]]:
    """A command and all below it, each with its name."""
    yield name, command
    for below, one in getattr(command, "commands", {}).items():
        yield from walk(one, below)


def complain(error: ClickException) -> None:
    """Say on standard error what was wrong about the command line, and where help is."""
    if isinstance(error, NoArgsIsHelpError):
        error.show()
        return
    context = error.ctx if isinstance(error, UsageError) else None
    if context is not None:
        print(context.get_usage(), file=sys.stderr)
        print(_("Try '{command}' for help.").format(command=f"{context.command_path} -h") + "\n", file=sys.stderr)
    print(_("Error: {message}").format(message=known(error.format_message())), file=sys.stderr)
