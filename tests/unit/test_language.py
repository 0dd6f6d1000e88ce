"""The language that was chosen is spoken, whatever the text is made of; everything else stays English."""

from __future__ import annotations

import gettext
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo

from appliance import language
from appliance.language import TOLD, _, known, language_of, number, use_language


@pytest.fixture
def french(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A small catalogue of its own: what the real one says may change."""
    catalogue = Catalog(locale="fr")
    catalogue.add("Stopped: {names}", "Arrêtées : {names}")
    catalogue.add(".", ",")
    for text, translation in {
        "It was stopped.": "Elle a été arrêtée.",
        "Session {0} cannot be started. {1}": "La session {0} ne peut pas démarrer. {1}",
        "Session {0} is busy: {1} is under way for {2} s.": "La session {0} est occupée ({1}, depuis {2} s).",
        "{0} is no session id.": "{0} n’est pas un nom de session.",
    }.items():
        catalogue.add(text, translation, context=TOLD)
    place = tmp_path / "fr" / "LC_MESSAGES"
    place.mkdir(parents=True)
    with (place / "amda.mo").open("wb") as file:
        write_mo(file, catalogue)
    monkeypatch.setattr(language, "CATALOGUES", tmp_path)
    use_language("fr_SN.UTF-8")
    yield
    use_language("en")


def test_marked_texts_and_figures(french: None) -> None:
    assert language.current_language() == "fr"
    assert _("Stopped: {names}").format(names="awa") == "Arrêtées : awa"
    assert _("Never translated") == "Never translated"
    assert number(1.25, 2) == "1,25"


def test_what_the_daemon_says_is_found_whole_by_its_pattern_and_within_another(french: None) -> None:
    assert known("It was stopped.") == "Elle a été arrêtée."
    assert known("Session awa cannot be started. It was stopped.") == (
        "La session awa ne peut pas démarrer. Elle a été arrêtée."
    )
    assert known("Session b is busy: stop is under way for 3 s.") == "La session b est occupée (stop, depuis 3 s)."
    assert known("Something new.") == "Something new."
    assert known("") == ""


def test_a_pattern_takes_braces_and_any_character_as_they_are(french: None) -> None:
    assert known("{x}.* is no session id.") == "{x}.* n’est pas un nom de session."


def test_english_is_spoken_without_a_catalogue() -> None:
    use_language("wo_SN")
    assert language.current_language() == "en"
    assert known("It was stopped.") == "It was stopped."
    assert isinstance(language._Chosen.catalogue, gettext.NullTranslations)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "en"),
        ({"LANG": "fr_FR.UTF-8"}, "fr_FR.UTF-8"),
        ({"LANG": "fr_FR.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LANGUAGE": "fr:en"}, "fr"),
        ({"LANG": "POSIX"}, "en"),
    ],
)
def test_the_environment_chooses_as_it_does_for_every_program(environment: dict[str, str], expected: str) -> None:
    assert language_of(environment) == expected
