"""`amda config …`: reads the settings itself, so that it works while nothing runs."""

from __future__ import annotations

from typing import Annotated

import typer

from appliance.cli.common import ConfigOption, JsonOption, print_json, settings_of


def register(app: typer.Typer) -> None:
    commands = typer.Typer(no_args_is_help=True)
    commands.callback()(_root)
    commands.command()(show)
    app.add_typer(commands, name="config", help="Settings.")


def _root() -> None:
    """Settings."""


def show(
    section: Annotated[str | None, typer.Argument(help="Only this section.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Every setting: its effective value, the variable that overrides it, what it is for."""
    from appliance.config import describe

    fields = [field for field in describe(settings_of(config)) if section in (None, field.section)]
    if as_json:
        print_json(fields)
        return
    current = ""
    for field in fields:
        if field.section != current:
            current = field.section
            print(f"[{current}]")
        value = "" if field.value is None else field.value
        print(f"{field.key} = {value}".ljust(44) + f"# {field.description} ({field.variable})")
