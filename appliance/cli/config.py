"""`amda config …`: reads the settings itself, so it works while nothing runs; asks a running daemon what it uses."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.cli.common import CommandError, ConfigOption, Exit, JsonOption, loaded_settings, print_json
from appliance.language import _, known

if TYPE_CHECKING:
    from appliance.config import LoadedSettings
    from appliance.model_api import SettingView

_STDIN = "-"
"""As a value: read it from standard input, where no history of commands and no list of processes shows a secret."""


def register(app: typer.Typer) -> None:
    commands = typer.Typer(no_args_is_help=True)
    commands.callback()(_root)
    commands.command()(show)
    commands.command("set")(set_values)
    commands.command()(unset)
    app.add_typer(commands, name="config", help="Settings: show and change them.")


def _root() -> None:
    """Settings: show and change them."""


def show(
    section: Annotated[str | None, typer.Argument(help="Only this section.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Every setting: its value, where that comes from, when a change takes effect, what it is for."""
    import msgspec

    from appliance.config import SECTIONS
    from appliance.settings_views import describe

    loaded = loaded_settings(config)
    if section is not None and section not in SECTIONS:
        remedy = _("One of: {names}").format(names=", ".join(SECTIONS))
        raise CommandError(_("There is no section {name}.").format(name=section), remedy, Exit.USAGE)
    waiting = _waiting(loaded)
    fields = [
        msgspec.structs.replace(field, waits=f"{field.section}.{field.key}" in waiting)
        for field in describe(loaded.settings, loaded)
        if section in (None, field.section)
    ]
    if as_json:
        print_json(fields)
    else:
        _print(fields, loaded)


def set_values(
    pairs: Annotated[
        list[str],
        typer.Argument(
            metavar="SECTION.KEY VALUE ...",
            help="A setting and its new value, also several. Blanks separate a list's items; - reads it from stdin.",
        ),
    ],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change settings in the settings file; the rest of it stays as it is, comments included.

    A value that begins with - stands behind --, as in: amda config set -- SECTION.KEY -1
    """
    if len(pairs) % 2:
        words = _("{name} has no value.").format(name=pairs[-1])
        raise CommandError(words, _("Write SECTION.KEY VALUE; see amda config show"), Exit.USAGE)
    values = [sys.stdin.read().removesuffix("\n") if value == _STDIN else value for value in pairs[1::2]]
    _change(list(zip(pairs[::2], values, strict=True)), config, as_json=as_json)


def unset(
    names: Annotated[list[str], typer.Argument(metavar="SECTION.KEY ...", help="Settings, as in pairing.slots.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take settings out of the settings file: their defaults count again."""
    _change([(name, None) for name in names], config, as_json=as_json)


def _change(changes: Sequence[tuple[str, str | None]], config: Path | None, *, as_json: bool) -> None:
    """Check everything, write once, and say what each change means."""
    from appliance.config import PREFIX, ConfigError, parse_settings
    from appliance.settings_edit import EditError, replace_file, with_value
    from appliance.settings_views import NEEDS, change_of

    loaded = loaded_settings(config)
    try:
        text = old = loaded.file.read_text("utf-8") if loaded.found else ""
        for name, value in changes:
            section, key = _split(name)
            text = with_value(text, section, key, _written(section, key, value, name))
        parse_settings(text, loaded.file, os.environ)
        if text != old:
            loaded.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(loaded.file, text)
    except (ConfigError, EditError) as error:
        raise CommandError(str(error), _("Nothing was changed."), Exit.USAGE) from error
    except OSError as error:
        words = _("{file} cannot be written: {why}").format(file=loaded.file, why=error.strerror)
        raise CommandError(words, _("Run it as the file's owner.")) from error
    told = [
        {"setting": name, "change": change_of(*_split(name)), "overridden": name in loaded.from_environment}
        for name, _value in changes
    ]
    if as_json:
        print_json({"file": str(loaded.file), "changed": text != old, "settings": told})
        return
    for name, _value in changes:
        needs = f"{name} {known(NEEDS[change_of(*_split(name))])}."
        print(needs if text != old else _("{name} is so already.").format(name=name))
        if name in loaded.from_environment:
            variable = PREFIX + name.replace(".", "_").upper()
            print("  " + _("but a variable of the environment overrides it here: {name}").format(name=variable))


def _split(name: str) -> tuple[str, str]:
    section, dot, key = name.partition(".")
    if not (section and dot and key):
        words = _("{name} is no setting.").format(name=name)
        raise CommandError(words, _("Write SECTION.KEY; see amda config show"), Exit.USAGE)
    return section, key


def _written(section: str, key: str, text: str | None, name: str) -> Any:
    """A value as TOML has it; None: take it out. Raises ConfigError."""
    import msgspec

    from appliance.config import field_type, value_from_text

    field_type(section, key, name)
    if text is None:
        return None
    value = msgspec.to_builtins(value_from_text(section, key, text, name), enc_hook=str)
    return list(value) if isinstance(value, tuple) else value


def _waiting(loaded: LoadedSettings) -> set[str]:
    """Settings of which a running daemon still uses another value."""
    from appliance.cli.common import run_async
    from appliance.client import ApplianceClient, ClientError

    async def ask() -> list[SettingView]:
        try:
            async with ApplianceClient(loaded.settings.paths.api_socket) as client:
                return await client.config()
        except ClientError:
            return []

    return {f"{view.section}.{view.key}" for view in run_async(ask()) if view.waits}


def _print(fields: Sequence[SettingView], loaded: LoadedSettings) -> None:
    current = ""
    for field in fields:
        if field.section != current:
            current = field.section
            print(f"[{current}]")
        value = "" if field.value is None else field.value
        waits = ", " + _("the running daemon still uses another value") if field.waits else ""
        about = f"({field.source}; {field.change}{waits}) {known(field.description)} ({field.variable})"
        print(f"{field.key} = {value}".ljust(44) + f"# {about}")
    print(f"\n# {loaded.file}{'' if loaded.found else ' ' + _('(there is no such file)')}")
    legend = _("live: a change takes effect at once; session, daemon, appliance: when that is started the next time")
    print(f"# {legend}")
