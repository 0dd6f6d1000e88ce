"""The command line and the terminal interface in French: nothing left in English, nothing wider than its column."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from appliance.cli.app import run
from appliance.language import _, known, use_language
from tui import words
from tui.paint import width_of
from tui.screens import pairing

LINKED_COLUMN = 14
STATE_COLUMN = 13
REASON_COLUMN = 18
SHORT_ROOM = 23
"""What is left for advice at 60 columns."""


@pytest.fixture(autouse=True)
def _french(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LANGUAGE", "fr")
    use_language("fr")
    yield
    use_language("en")


def test_help_is_french_to_the_last_frame(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["session", "remove", "--help"]) == 0
    out = capsys.readouterr().out.replace("\u00a0", " ")
    assert out.startswith("Usage : amda session remove [OPTIONS]")
    assert "Afficher cette aide et terminer." in out
    assert "[obligatoire]" in out
    assert not re.search(r"\b(the|and|of|Show|required)\b", out)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sesion"], "Il n’y a pas de commande 'sesion'. Vouliez-vous dire 'session'"),
        (["pair"], "Il manque l’argument 'ID'."),
        (["status", "--frob"], "Il n’y a pas d’option --frob"),
        (["status", "x"], "Arguments en trop : x"),
        (["media", "list", "--limit", "x"], "Valeur incorrecte pour '--limit' : il faut un nombre entier"),
        (["media", "list", "--limit", "0"], "il faut au moins 1"),
        (["media", "list", "--category", "x"], "'x' n’est pas l’un de 'statuses'"),
    ],
)
def test_what_is_wrong_with_a_command_is_told_in_french(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    err = capsys.readouterr().err.replace("\u00a0", " ")
    assert words in err
    assert "» affiche l’aide." in err


def test_an_option_without_its_value_is_told_in_french(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["media", "list", "--limit"]) == 2
    assert "L’option '--limit' demande une valeur." in capsys.readouterr().err


def test_for_programs_it_stays_english(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["pair", "awa", "--json"])
    told = json.loads(capsys.readouterr().err)
    assert told["error"] == "give either --phone or --qr"
    with pytest.raises(SystemExit):
        run(["pair", "awa"])
    assert "donnez soit --phone, soit --qr" in capsys.readouterr().err


def test_words_fit_their_columns() -> None:
    assert {word for one in words.STATES.values() if width_of(word := _(one.word)) > STATE_COLUMN} == set()
    assert {short for one in words.STATES.values() if width_of(short := _(one.short)) > SHORT_ROOM} == set()
    assert {word for one in words.REASONS.values() if width_of(word := _(one)) > REASON_COLUMN} == set()
    assert {word for one in pairing.STATES.values() if width_of(word := _(one[0])) > LINKED_COLUMN} == set()


def test_times_and_sizes_are_written_as_in_french() -> None:
    assert words.lasting(3 * 86_400 + 4 * 3600) == "3 j 4"
    assert words.duration(1.25) == "1,2 s"
    assert words.size(1_500_000_000) == "1,5 Go"
    assert words.percent(0.9961) == "99,6 %"


def test_what_the_daemon_says_is_told_in_french() -> None:
    assert known("There is no session awa.").startswith("Introuvable")
    assert known("Link it again: amda pair awa --phone +…") == "Liez-la de nouveau\u00a0: amda pair awa --phone +…"
    told = known("Session awa is being linked already, by code for +22177······12.")
    assert told == "La session awa est déjà en cours de jumelage, par code pour +22177······12."
