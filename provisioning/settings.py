"""Writes settings for a server, from the same definitions that read them; install.sh runs it with the release's Python.

settings.py amda [SECTION.KEY=VALUE…]     amda.toml: what differs on a server, what is given, and AMDA_… variables
settings.py redis --folder DIR --socket PATH --password-file FILE
settings.py merge --edited FILE --before FILE --now FILE
                                          the edited file with what has changed since: `before` is what would have been
                                          written the last time, `now` what would be written today
settings.py held --database FILE          how many objects of media lie in an S3, as the daemon's database says
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sqlite3
import sys
import tomllib
from pathlib import Path

import msgspec

from appliance.config import ConfigError, Settings, given_by, load_settings, parse_settings
from appliance.redis_server import service_configuration
from appliance.settings_edit import EditError, with_value

SERVER = {
    "AMDA_PATHS_STATE_DIR": "/var/lib/amda",
    "AMDA_PATHS_RUN_DIR": "/run/amda",
    "AMDA_BACKUP_PATH": "/var/lib/amda-backup",
    "AMDA_BACKUP_KEY_FILE": "/etc/amda/secrets/backup-key",
    "AMDA_REDIS_URL": "unix:///run/amda-redis/redis.sock",
    "AMDA_REDIS_OWN": "false",
    "AMDA_REDIS_USER": "amda",
    "AMDA_REDIS_PASSWORD_FILE": "/etc/amda/secrets/redis-password",
}
HEAD = """\
# Settings of the appliance. `amda config show` lists all of them with their meaning; what is not here has its default.
# A change counts at once, or after what `amda config show` names has started anew. install.sh keeps your changes.
"""


def amda(chosen: list[str], environ: dict[str, str]) -> str:
    """The settings that are not defaults. Raises ConfigError that names the variable."""
    pairs = (choice.partition("=")[::2] for choice in chosen)
    given = {**SERVER, **{f"AMDA_{name.replace('.', '_').upper()}": value for name, value in pairs}, **environ}
    settings: Settings = load_settings(Path(os.devnull), given)
    lines, last = [HEAD], ""
    for section, key in given_by(given):
        value = msgspec.to_builtins(getattr(getattr(settings, section), key), enc_hook=str)
        if value is None:
            continue
        if section != last:
            lines.append(f"\n[{section}]\n")
            last = section
        lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}\n")
    return "".join(lines)


def merge(edited: str, before: str, now: str) -> tuple[str, list[str]]:
    """The new text, and the settings that stay as somebody has set them although our own value has changed.

    Setting by setting: what still has our value from before gets the one of now. Raises EditError.
    """
    have, old, new = (_flat(text) for text in (edited, before, now))
    kept = []
    for name in sorted(old.keys() | new.keys()):
        if new.get(name) in (old.get(name), have.get(name)):
            continue
        if have.get(name) == old.get(name):
            edited = with_value(edited, *name, new.get(name))
        else:
            kept.append(f"{'.'.join(name)} (it would be {json.dumps(new.get(name))} now)")
    return edited, kept


def _flat(text: str) -> dict[tuple[str, str], object]:
    return {
        (section, key): value
        for section, table in tomllib.loads(text).items()
        if isinstance(table, dict)
        for key, value in table.items()
    }


def merged_files(edited: Path, before: Path, now: Path) -> str:
    """As `merge`, and what is kept is told. Raises ConfigError, EditError or OSError."""
    text, kept = merge(*(file.read_text("utf-8") for file in (edited, before, now)))
    parse_settings(text, edited, {})
    for name in kept:
        sys.stderr.write(f"  kept your {name}\n")
    return text


def held_in_s3(database: Path) -> int:
    """0 if it is another kind of store, or there is no database yet. Raises sqlite3.Error."""
    if not database.exists():
        return 0
    with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as index:
        kind = index.execute("SELECT value FROM meta WHERE key = 'storage.kind'").fetchone()
        if kind is None or kind[0] != "s3":
            return 0
        return int(index.execute("SELECT count(*) FROM objects").fetchone()[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("amda").add_argument("chosen", nargs="*")
    redis = kinds.add_parser("redis")
    for name in ("--folder", "--socket", "--password-file"):
        redis.add_argument(name, type=Path, required=True)
    merged = kinds.add_parser("merge")
    for name in ("--edited", "--before", "--now"):
        merged.add_argument(name, type=Path, required=True)
    kinds.add_parser("held").add_argument("--database", type=Path, required=True)
    options = parser.parse_args()
    try:
        if options.kind == "amda":
            text = amda(options.chosen, {name: value for name, value in os.environ.items() if name.startswith("AMDA_")})
        elif options.kind == "merge":
            text = merged_files(options.edited, options.before, options.now)
        elif options.kind == "held":
            text = f"{held_in_s3(options.database)}\n"
        else:
            password = options.password_file.read_text("utf-8").strip()
            text = service_configuration(folder=options.folder, socket=options.socket, user="amda", password=password)
    except (ConfigError, EditError, OSError, sqlite3.Error) as error:
        sys.stderr.write(f"  {error}\n")
        return 1
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
