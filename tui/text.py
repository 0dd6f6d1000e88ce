"""The language of the interface: every string that a person reads passes through `_()` when it is painted.

Strings in tables are marked with `N_()` where they stand and looked up later, because the language is chosen after the
tables were imported. Without a catalogue the English original is shown.
"""

from __future__ import annotations

import gettext
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

DOMAIN: Final = "amda"
CATALOGUES: Final = Path(__file__).parent / "locale"
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
