"""Another release, made of this checkout: a number of its own, a changed database, and a worker that says who it is."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import re
import shutil
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
VERSION: Final = "0.9.0"
SAYS: Final = "the changed worker"
"""In every session's log from then on."""
NEWS: Final = "Something that only this release has."
_NOT_PART: Final = ("*.egg-info", "__pycache__", ".git", ".venv", "demo", "tests", ".mypy_cache", ".ruff_cache")


def change(path: Path, pattern: str, by: str) -> None:
    """Replace what is there exactly once."""
    text, count = re.subn(pattern, by, path.read_text("utf-8"), count=1, flags=re.MULTILINE)
    assert count == 1, f"{path} has changed: {pattern}"
    path.write_text(text, "utf-8")


def changed_checkout(folder: Path, version: str = VERSION, *, schema: bool = True, broken: bool = False) -> Path:
    """A copy of this checkout as the next release would be. `broken`: its workers never get online."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*_NOT_PART), symlinks=True)
    change(folder / "pyproject.toml", r'^version = ".*"$', f'version = "{version}"')
    change(folder / "appliance" / "__init__.py", r'= "[\d.]+"$', f'= "{version}"')
    change(folder / "CHANGELOG.md", r"^## ", f"## {version}\n\n- {NEWS}\n\n## ")
    does = "raise SystemExit(99)" if broken else f'log.write("INFO", "{SAYS} {version}")'
    change(
        folder / "appliance" / "worker" / "main.py",
        r"^    faulthandler\.register",
        f"    {does}\n    faulthandler.register",
    )
    if schema:
        add_migration(folder / "appliance" / "migrations")
    return folder


def add_migration(folder: Path) -> None:
    number = len(list(folder.glob("m0*.py"))) + 1
    name = f"m{number:04}_test"
    (folder / f"{name}.py").write_text(
        "SQL = \"ALTER TABLE sessions ADD COLUMN mood TEXT NOT NULL DEFAULT 'calm'; CREATE TABLE moods (name TEXT);\"\n"
    )
    init = folder / "__init__.py"
    text = f"\nfrom appliance.migrations import {name}\n\nMIGRATIONS = (*MIGRATIONS, {name}.SQL)\n"
    init.write_text(init.read_text("utf-8") + text)


def build(checkout: Path, out: Path, options: Sequence[str]) -> Path:
    """Its offline bundle."""
    command = [str(checkout / "provisioning" / "release"), "--out", str(out), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*-offline-*.tar"))


def changed_engine(wheels: Path, folder: Path) -> Path:
    """The engine's wheel with another library: one byte more at its end, which no loader looks at."""
    wheel = next(wheels.glob(f"neonize-*{platform.machine()}*.whl"))
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / wheel.name
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as target:
        for info in source.infolist():
            more = b"\0" if info.filename.endswith(".so") else b""
            target.writestr(info, source.read(info) + more)
    return made


def wheel_of_the_installed_engine(folder: Path) -> Path:
    """The package that this environment has, as a wheel again."""
    distribution = importlib.metadata.distribution("neonize")
    made = folder / f"neonize-{distribution.version}-py3-none-manylinux2014_{platform.machine()}.whl"
    with zipfile.ZipFile(made, "w") as wheel:
        for file in distribution.files or ():
            path = Path(str(file.locate()))
            if path.is_file() and path.suffix != ".pyc":
                wheel.write(path, str(file))
    return made


def library_hash(wheel: Path) -> str:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".so"))
        return hashlib.sha256(archive.read(name)).hexdigest()
