#!/usr/bin/env python3
"""Keeps the translations in step with the code: scripts/catalogue.py [--check]

Collects every text that people read, brings appliance/locale/*/LC_MESSAGES/amda.po up to date, and compiles them. What
is new there has an empty translation, which is written by hand; then this is run again. With --check nothing is
written, and the exit status is 1 if something would change or has no translation.

Collected are: what stands in `_()`, `N_()` and `ngettext()` in the command line, the client and the terminal interface;
the help of every command; and what the daemon says in English on the wire (states, reasons, problems, settings), which
is translated by whoever shows it.
"""

from __future__ import annotations

import ast
import datetime
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
LOCALES: Final = ROOT / "appliance" / "locale"
MARKS: Final = {"_": 1, "N_": 1, "ngettext": 2}
"""Function → how many texts it is given."""
SPOKEN: Final = ("appliance/cli", "appliance/client*.py", "appliance/language.py", "tui")
"""Where texts are marked; every other module speaks English, on the wire and in its logs."""
SAYS: Final = frozenset(
    {"Advice", "DegradedPart", "Ending", "Rule", "_add", "_daemon", "_info", "conflict", "invalid", "lock_lost",
     "not_found", "problem", "timed_out", "too_many", "unavailable", "AlreadyRunningError", "BackupError",
     "ConfigError", "DaemonError", "EditError", "EmbeddedError", "NetworkError", "PlaceError", "UpgradeError"}
)  # fmt: skip
"""Calls by which the daemon's rooms say something to people: their texts are collected, with places for what is filled
in."""
FINDS: Final = frozenset({"Check", "Repair", "Seen", "info", "ok", "unseen", "warning"})
"""As `SAYS`, in the doctor's checks; elsewhere some of these names write logs."""
FINDINGS: Final = ROOT / "appliance" / "doctor"
DETAILS: Final = (
    "{0} Code {1}.",
    "{0} Code {1}. {2}",
    "The last attempt to link it failed: {0}",
    "Waiting for the fork server.",
)
"""What is put together of several texts where no call says it."""
NEVER_SHOWN: Final = ("bench", "cli", "forkserver", "staging", "worker")
LETTERS_MIN: Final = 8
"""A text with places that has fewer letters of its own would be found in others."""
HEADER: Final = "# Texts of AMDA, kept in step with the code by scripts/catalogue.py."
EPOCH: Final = datetime.datetime(2026, 11, 26, tzinfo=datetime.UTC)
"""Times in the files would change with every run and say nothing that the history does not."""


def collect() -> Catalog:
    """Every text that people read, with where it stands."""
    found = new_catalogue(None)
    for path in sources():
        name = str(path.relative_to(ROOT))
        for message in marked_in(path):
            found.add(message, locations=[(name, 0)])
    for text in help_texts():
        found.add(text, locations=[("amda --help", 0)])
    from appliance.language import TOLD

    for text, name in told():
        found.add(text, locations=[(name, 0)], context=TOLD)
    return found


def new_catalogue(locale: str | None) -> Catalog:
    return Catalog(
        locale=locale, domain="amda", project="AMDA", version="1", fuzzy=False, header_comment=HEADER,
        creation_date=EPOCH, revision_date=EPOCH, msgid_bugs_address="-", last_translator="-", language_team="-",
    )  # fmt: skip


def sources() -> list[Path]:
    """Modules whose texts are marked."""
    found = {path for pattern in SPOKEN for path in ROOT.glob(pattern)}
    return sorted(module for path in found for module in (path.rglob("*.py") if path.is_dir() else (path,)))


def marked_in(path: Path) -> Iterator[str | tuple[str, ...]]:
    """Texts that are marked, within formatted strings as well, where Python's own tokens would not show them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and name_of(node) in MARKS:
            given = node.args[: MARKS[name_of(node)]]
            texts = tuple(one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str))
            if texts and all(texts) and len(texts) == len(given):
                yield texts if len(texts) > 1 else texts[0]


def help_texts() -> Iterator[str]:
    """What every command says of itself and its parameters, as Typer has understood it."""
    import typer.main

    from appliance.cli import app, spoken

    for _name, command in spoken.walk(typer.main.get_command(app.build())):
        yield from filter(None, (command.help, command.epilog))
        yield from filter(None, (getattr(parameter, "help", None) for parameter in command.params))


def told() -> Iterator[tuple[str, str]]:
    """What the daemon and the libraries say, and where."""
    from appliance.cli import spoken
    from appliance.config import parse_settings
    from appliance.model import PairingState, SessionState
    from appliance.model_history import AlertRule
    from appliance.sessions.reasons import exit_texts
    from appliance.settings_views import NEEDS, describe

    for state in (*SessionState, *PairingState):
        yield state.value, "appliance/model.py"
    for rule in AlertRule:
        yield rule.value.replace("_", " "), "appliance/model_history.py"
    for text in DETAILS:
        yield text, "appliance/sessions"
    for text in spoken.COMPLAINTS:
        yield text, "appliance/cli/spoken.py"
    for text in (
        *NEEDS.values(),
        *(view.description for view in describe(parse_settings("", Path("amda.toml"), {}).settings)),
    ):
        yield text, "appliance/settings_views.py"
    for text in exit_texts():
        yield text, "appliance/sessions/reasons.py"
    for path in sorted((ROOT / "appliance").rglob("*.py")):
        if path.relative_to(ROOT).parts[1] not in NEVER_SHOWN:
            for text in said_in(path):
                yield text, str(path.relative_to(ROOT))


def said_in(path: Path) -> Iterator[str]:
    """Texts among the arguments of calls that say something."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    finds = FINDINGS in path.parents
    says = SAYS | FINDS if finds else SAYS
    given = texts_by_name(tree) if finds else {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and name_of(node) in says:
            for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
                for text in given.get(argument.id, []) if isinstance(argument, ast.Name) else texts_of(argument):
                    if " " in text and sum(map(str.isalpha, text)) >= LETTERS_MIN:
                        yield text
                        if " ID" in text:
                            yield named(text)


def texts_by_name(tree: ast.Module) -> dict[str, list[str]]:
    """What each name of a module is given, as far as it is text."""
    found: dict[str, list[str]] = {}
    for node in ast.walk(tree):
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=value)
            ):
                if value is not None:
                    found.setdefault(name, []).extend(texts_of(value))
    return found


def texts_of(node: ast.expr) -> list[str]:
    """One text, or both between which is chosen."""
    if isinstance(node, ast.IfExp):
        return [*texts_of(node.body), *texts_of(node.orelse)]
    return [with_places(node)]


def named(text: str) -> str:
    """A remedy with places where the daemon has put a session's name."""
    parts = text.split(" ID")
    return "".join(f"{part} {{{number}}}" for number, part in enumerate(parts[:-1])) + parts[-1]


def name_of(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def with_places(node: ast.expr) -> str:
    """A text as it stands in the code, what is filled in being {0}, {1} …; empty if it is none."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if not isinstance(node, ast.JoinedStr):
        return ""
    text, places = "", 0
    for part in node.values:
        if isinstance(part, ast.Constant):
            text += str(part.value)
        else:
            text += f"{{{places}}}"
            places += 1
    return text


def typeset(text: str) -> str:
    """French as it is printed, however it was typed: a blank at which no line breaks before : ; ? ! » and after «, and
    a real apostrophe.

    >>> typeset("C'est lié : « awa »")
    'C’est lié\\xa0: «\\xa0awa\\xa0»'
    """
    text = re.sub(r"(?<=\S) (?=[:;?!»](?:[\s)|]|$))|(?<=«) | (?=»)", "\u00a0", text)
    return re.sub(r"\b([cdjlmnst]|qu|jusqu|lorsqu|puisqu)'(?=\w)", "\\1’", text, flags=re.IGNORECASE)


def typeset_all(catalogue: Catalog) -> None:
    for message in catalogue:
        if message.id and (given := message.string):
            message.string = typeset(given) if isinstance(given, str) else tuple(map(typeset, given))


def updated(po: Path, found: Catalog) -> Catalog:
    """The translations that are there, for the texts that are there now."""
    with po.open("rb") as file:
        catalogue = read_po(file, locale=po.parts[-3], domain="amda")
    catalogue.update(found, no_fuzzy_matching=True)
    if po.parts[-3] == "fr":
        typeset_all(catalogue)
    catalogue.header_comment = HEADER
    catalogue.creation_date = catalogue.revision_date = EPOCH
    return catalogue


def as_po(catalogue: Catalog) -> bytes:
    file = io.BytesIO()
    write_po(file, catalogue, width=120, ignore_obsolete=True, include_lineno=False, sort_output=True)
    return file.getvalue()


def as_mo(catalogue: Catalog) -> bytes:
    file = io.BytesIO()
    write_mo(file, catalogue)
    return file.getvalue()


def untranslated(catalogue: Catalog) -> list[str]:
    """Texts without a translation, or with one that is only a guess."""
    texts = []
    for message in catalogue:
        strings = message.string if isinstance(message.string, (tuple, list)) else [message.string]
        if message.id and (message.fuzzy or not all(strings)):
            texts.append(message.id if isinstance(message.id, str) else message.id[0])
    return texts


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        sys.stderr.write(f"{__doc__}\n")
        return 2
    found, status = collect(), 0
    for po in sorted(LOCALES.glob("*/LC_MESSAGES/amda.po")):
        catalogue = updated(po, found)
        content = {po: as_po(catalogue), po.with_suffix(".mo"): as_mo(catalogue)}
        missing = untranslated(catalogue)
        stale = [path for path, data in content.items() if not path.exists() or path.read_bytes() != data]
        if not arguments:
            for path in stale:
                path.write_bytes(content[path])
        elif stale or missing:
            status = 1
        print(f"{po.relative_to(ROOT)}: {len(catalogue)} texts, {len(missing)} without a translation")  # noqa: T201
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
