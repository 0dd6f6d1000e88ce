"""Every text that people read has its French, what is installed is what is written, and what is filled in stays."""

from __future__ import annotations

import functools
import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from babel.messages.pofile import read_po

ROOT = Path(__file__).resolve().parents[2]
PO = ROOT / "appliance" / "locale" / "fr" / "LC_MESSAGES" / "amda.po"
PLACE = re.compile(r"\{[^{}]*\}")


@functools.cache
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("catalogue", ROOT / "scripts" / "catalogue.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@functools.cache
def in_step() -> Any:
    """The translations, for the texts that the code has now."""
    return script().updated(PO, script().collect())


def texts(value: str | tuple[str, ...] | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def messages() -> list[tuple[list[str], list[str]]]:
    with PO.open("rb") as file:
        return [(texts(one.id), texts(one.string)) for one in read_po(file, locale="fr") if one.id]


@pytest.mark.slow
def test_every_text_is_translated() -> None:
    missing = script().untranslated(in_step())
    assert missing == [], "run scripts/catalogue.py, and translate what is new in amda.po"
    assert len(in_step()) > 1000, "texts are still found"


@pytest.mark.slow
def test_what_is_committed_is_what_the_script_writes() -> None:
    assert PO.read_bytes() == script().as_po(in_step()), "run scripts/catalogue.py"
    assert PO.with_suffix(".mo").read_bytes() == script().as_mo(in_step()), "run scripts/catalogue.py"


def test_what_is_filled_in_is_the_same() -> None:
    wrong = []
    for ours, theirs in messages():
        places = set(PLACE.findall(" ".join(ours)))
        for number, text in enumerate(theirs):
            kept = set(PLACE.findall(text))
            if kept != places and not (len(theirs) > 1 and number == 0 and kept == places - {"{count}"}):
                wrong.append(text)
    assert wrong == []


def test_tables_keep_their_columns_and_commands_their_names() -> None:
    for ours, theirs in messages():
        assert {text.count("|") for text in theirs} == {ours[0].count("|")}, ours
        if not ours[0].startswith("\n"):
            commands = [set(re.findall(r"\bamda [a-z]+(?: [a-z]+)?(?= |$)", text)) for text in (ours[0], theirs[0])]
            assert {one.split()[1] for one in commands[1]} <= {one.split()[1] for one in commands[0]} | {
                word for text in ours for word in re.findall(r"amda ([a-z]+)", text)
            }, theirs


def test_typography_is_that_of_a_french_page() -> None:
    """Before a colon and its like stands a blank at which no line breaks; apostrophes are not ticks."""
    signs = re.compile(r"(?<=[a-zà-ÿ]) [:;!?](?= |$)")
    assert [text for _ours, theirs in messages() for text in theirs if signs.search(text)] == []
    assert [text for _ours, theirs in messages() for text in theirs if re.search(r"\b[ldnsjcm]'[a-zéèà]", text)] == []


def test_a_text_without_a_translation_is_noticed() -> None:
    found = script().new_catalogue("fr")
    found.add("Translated", "Traduit")
    found.add("Not yet", "")
    found.add("A guess", "Une idée", flags=["fuzzy"])
    found.add(("{count} thing", "{count} things"), ("{count} chose", ""))
    assert script().untranslated(found) == ["Not yet", "A guess", "{count} thing"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (
            'conflict(f"Session {name} is busy: {what!r}.", remedy="Try again.")',
            ["Session {0} is busy: {1}.", "Try again."],
        ),
        ('problem("kind", "No such thing", 404)', ["No such thing"]),
        ('_log.info("not for people")', []),
        ('invalid("field", f"{x}: {y}")', []),
        ('Ending(remedy="Look at it: amda logs ID")', ["Look at it: amda logs ID", "Look at it: amda logs {0}"]),
    ],
)
def test_what_the_daemon_says_is_collected_with_places(tmp_path: Path, code: str, expected: list[str]) -> None:
    file = tmp_path / "module.py"
    file.write_text(code)
    assert list(script().said_in(file)) == expected


def test_marked_texts_are_found_within_formatted_strings(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(
        "print(f\"{_('One')} {name}\", N_('Two'), ngettext('{count} a', '{count} b', n), _(variable), _(''))"
    )
    assert set(script().marked_in(file)) == {"One", "Two", ("{count} a", "{count} b"), ""} - {""}
