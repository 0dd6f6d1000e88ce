"""The language of whoever looks: what the CLI and the terminal interface say passes through `_()` when it is shown.

Strings in tables are marked with `N_()` where they stand and looked up later, because the language is chosen after the
tables were imported. Texts that come from the daemon are English on the wire and looked up by whoever shows them
(`known`). Without a catalogue the English original is shown; a process that never calls `use_language` speaks English.
`scripts/catalogue.py` collects what is to be translated.
"""

from __future__ import annotations

import functools
import gettext
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

DOMAIN: Final = "amda"
CATALOGUES: Final = Path(__file__).parent / "locale"
TOLD: Final = "told"
"""Context, in the catalogue, of texts that the daemon or a library makes: whole, or with places `{0}`, `{1}` …"""
_PLACE: Final = re.compile(r"\{\d\}")
_NESTED: Final = 2
"""A text within a text is looked up as well ("Invalid value for X: …"), and one within that; deeper there is none."""
_VARIABLES: Final = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")
"""The order in which gettext itself asks the environment."""


class _Chosen:
    """The catalogue in use; one person looks at one terminal in one language."""

    catalogue: gettext.NullTranslations = gettext.NullTranslations()
    language: str = "en"


def use_language(language: str) -> None:
    """Show everything in this language (`fr`, `fr_CA.UTF-8`, …); one without a catalogue is English."""
    short = language.partition(".")[0].partition("_")[0].lower()
    names = [language.partition(".")[0], short]
    _Chosen.catalogue = gettext.translation(DOMAIN, CATALOGUES, names, fallback=True)
    known = isinstance(_Chosen.catalogue, gettext.GNUTranslations)
    _Chosen.language = short if known else "en"


def language_of(environ: Mapping[str, str] = os.environ) -> str:
    """The person's language by the environment; `en` without one."""
    for variable in _VARIABLES:
        if value := environ.get(variable, "").partition(":")[0]:
            return "en" if value in {"C", "POSIX", "C.UTF-8"} else value
    return "en"


def current_language() -> str:
    return _Chosen.language


def _(message: str) -> str:
    """The message in the person's language."""
    return _Chosen.catalogue.gettext(message) if message else ""


def ngettext(one: str, many: str, count: int) -> str:
    """Singular or plural, by the rules of the person's language, with `{count}` filled in."""
    return _Chosen.catalogue.ngettext(one, many, count).format(count=count)


def N_(message: str) -> str:  # noqa: N802 - the name that tools for catalogues look for
    """Marks a message that is looked up later."""
    return message


def number(value: float, digits: int) -> str:
    """A figure with so many decimals, with the person's decimal sign.

    >>> number(1.25, 1)
    '1.2'
    """
    return f"{value:.{digits}f}".replace(".", _("."))


def known(text: str, nested: int = _NESTED) -> str:
    """What the daemon or a library has said, in the person's language, if it is in the catalogue, whole or with names
    and figures filled in; otherwise as it came.

    >>> known("There is no session awa.")
    'There is no session awa.'
    """
    catalogue = _Chosen.catalogue
    if not text or not isinstance(catalogue, gettext.GNUTranslations):
        return text
    whole = catalogue.pgettext(TOLD, text)
    if whole != text:
        return whole
    for pattern, translation in _patterns(catalogue):
        if found := pattern.fullmatch(text):
            parts = [known(part, nested - 1) if nested else part for part in found.groups()]
            return translation.format(*parts)
    return text


@functools.lru_cache(maxsize=2)
def _patterns(catalogue: gettext.GNUTranslations) -> list[tuple[re.Pattern[str], str]]:
    """What the catalogue has with places in it, most particular first. gettext offers no way to list its messages."""
    messages: Mapping[object, str] = vars(catalogue)["_catalog"]
    prefix = TOLD + "\x04"
    found = []
    for key, translation in messages.items():
        if isinstance(key, str) and key.startswith(prefix) and _PLACE.search(key):
            template = key.removeprefix(prefix)
            fixed = [re.escape(part) for part in _PLACE.split(template)]
            found.append((len(_PLACE.sub("", template)), re.compile("(.*?)".join(fixed), re.DOTALL), translation))
    found.sort(key=lambda one: -one[0])
    return [(pattern, translation) for _length, pattern, translation in found]
