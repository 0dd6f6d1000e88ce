"""`python -m appliance.upgrade.snapshot`: a verified copy of database and settings.

The least that is kept before anything changes: `amda backup` keeps the logins, too.
"""

from __future__ import annotations

import argparse
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from appliance.database_copy import copy_database
from appliance.settings_edit import replace_file

PREFIX: Final = "upgrade-"
KEPT: Final = 3
"""As many as releases."""


def take(database: Path, into: Path, settings: Path) -> Path:
    """Returns the new folder. Raises OSError, sqlite3.Error."""
    into.mkdir(mode=0o700, parents=True, exist_ok=True)
    stamp = time.strftime(f"{PREFIX}%Y%m%dT%H%M%SZ-", time.gmtime())
    folder = Path(tempfile.mkdtemp(prefix=stamp, dir=into))
    copy_database(database, folder / "amda.db")
    if settings.is_file():
        replace_file(folder / "amda.toml", settings.read_text("utf-8"))
    for old in sorted(into.glob(f"{PREFIX}*"))[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return folder


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m appliance.upgrade.snapshot", description=__doc__)
    parser.add_argument("--database", type=Path, required=True)
    parser.add_argument("--into", type=Path, required=True)
    parser.add_argument("--settings", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        folder = take(options.database, options.into, options.settings)
    except (OSError, sqlite3.Error) as error:
        sys.stderr.write(f"no backup of {options.database}: {error}\n")
        return 1
    sys.stdout.write(f"{folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
