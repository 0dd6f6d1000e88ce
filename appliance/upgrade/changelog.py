"""What CHANGELOG.md says of everything between two releases, for whoever is about to change from one to the other."""

from __future__ import annotations

import re
from typing import Final

_HEADING: Final = re.compile(r"^## (\S+)(.*)$", re.MULTILINE)


def version_key(version: str) -> tuple[tuple[bool, int, str], ...]:
    """Sorts versions as people number them; a part that is a word comes before any number (0.2.0-rc before 0.2.0).

    >>> sorted(["0.10.0", "0.2.0", "0.2.0-rc1"], key=version_key)
    ['0.2.0-rc1', '0.2.0', '0.10.0']
    """
    words = re.split(r"[.\-+]", version)
    parts = [(word.isdigit(), int(word) if word.isdigit() else 0, "" if word.isdigit() else word) for word in words]
    return (*parts, (True, 0, "")) if all(numeric for numeric, _, _ in parts) else tuple(parts)


def between(changelog: str, since: str, until: str) -> str:
    """The sections of the releases after `since`, up to and including `until`, newest first, as they are written.

    Of one and the same version (a build of the source, not a release) it is that version's section.
    """
    headings = list(_HEADING.finditer(changelog))
    ends = [heading.start() for heading in headings[1:]] + [len(changelog)]
    wanted = []
    for heading, end in zip(headings, ends, strict=True):
        key = version_key(heading[1])
        if version_key(since) < key <= version_key(until) or since == until == heading[1]:
            wanted.append(changelog[heading.start() : end].strip())
    return "\n\n".join(wanted)
