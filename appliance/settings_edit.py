"""Changes one value in the text of a settings file and leaves everything else as somebody wrote it, comments included.

TOML has more ways to write a table than are worth handling. So the text is changed in the ordinary way, read again, and
compared: if anything but the one value would have changed, the edit is refused and the file stays as it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tomllib
from pathlib import Path
from typing import Any, Final

_TABLE: Final = re.compile(r"\s*\[")
"""The next table begins. A line of a nested list looks the same; the comparison at the end tells them apart."""


class EditError(Exception):
    """The text cannot be changed safely; one line."""


def with_value(text: str, section: str, key: str, value: Any) -> str:
    """`text` with `[section] key = value`; None removes the key, so that its default counts.

    Raises EditError if the text is not TOML, or is written in a way in which this cannot be done safely.
    """
    before = _parse(text)
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    begin, end = _table(lines, section)
    span = None if begin is None else _entry(lines, begin, end, key)
    line = None if value is None else f"{key} = {json.dumps(value, ensure_ascii=False)}"
    if span is not None:
        first, last = span
        lines[first:last] = [] if line is None else [line + _comment(lines[first:last]) + "\n"]
    elif line is not None and begin is not None:
        lines.insert(_after_entries(lines, begin, end), line + "\n")
    elif line is not None:
        lines += ["\n"] * bool(lines) + [f"[{section}]\n", line + "\n"]
    after = "".join(lines)
    if not _differs_only_in(before, _parse(after), section, key, value):
        raise EditError(f"{section}.{key} is written in a way that cannot be changed safely; change it by hand")
    return after


def replace_file(path: Path, text: str) -> None:
    """Put the new text in place in one step, durable, with the old one's mode and owner (new: 0600). Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            with contextlib.suppress(FileNotFoundError):
                old = path.stat()
                os.fchmod(file.fileno(), old.st_mode & 0o777)
                if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(file.fileno(), old.st_uid, old.st_gid)
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _parse(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise EditError(f"not valid TOML: {error}") from error


def _table(lines: list[str], section: str) -> tuple[int | None, int]:
    """The lines of a table: its header, and where the next one begins; None if it is not written with a header."""
    header = re.compile(rf"\s*\[\s*(?:{section}|\"{section}\"|'{section}')\s*\]\s*(?:#.*)?$")
    begin = next((number for number, line in enumerate(lines) if header.match(line)), None)
    if begin is None:
        return None, len(lines)
    following = range(begin + 1, len(lines))
    return begin, next((number for number in following if _TABLE.match(lines[number])), len(lines))


def _entry(lines: list[str], begin: int, end: int, key: str) -> tuple[int, int] | None:
    """The lines of one key; a list may take several."""
    start = re.compile(rf"\s*(?:{key}|\"{key}\"|'{key}')\s*=")
    for first in range(begin + 1, end):
        if start.match(lines[first]):
            for last in range(first + 1, len(lines) + 1):
                with contextlib.suppress(tomllib.TOMLDecodeError):
                    tomllib.loads("".join(lines[first:last]))
                    return first, last
    return None


def _comment(entry: list[str]) -> str:
    """What stands behind a value of one line, from the blanks before the # on."""
    if len(entry) != 1:
        return ""
    line = entry[0].rstrip("\n")
    for found in re.finditer(r"\s*#", line):
        with contextlib.suppress(tomllib.TOMLDecodeError):
            tomllib.loads(line[: found.start()])
            return line[found.start() :]
    return ""


def _after_entries(lines: list[str], begin: int, end: int) -> int:
    """Behind the last entry of a table, before the blank lines and comments that belong to the next one."""
    while end > begin + 1 and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
        end -= 1
    return end


def _differs_only_in(before: dict[str, Any], after: dict[str, Any], section: str, key: str, value: Any) -> bool:
    wanted = {name: dict(table) if isinstance(table, dict) else table for name, table in before.items()}
    table = wanted.setdefault(section, {})
    if not isinstance(table, dict):
        return False
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value
    if not table and section not in after:
        del wanted[section]
    return wanted == after
