"""Which engine libraries a worker may open, decided before any of their code runs.

The engine speaks for users' accounts, and an untested version of it has cost others their accounts' good standing. So
outside the staging network only libraries are opened that this release's tests have passed, or that a rehearsal on this
very box has (it records the library's hash). A copy patched for the staging network is the reverse: it is accepted only
where it cannot reach anything but a staging network.
"""

from __future__ import annotations

import hashlib
import ipaddress
import mmap
import platform
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from appliance.protocol import WorkerSpec

TESTED: Final = {
    "0.5.2": {
        "x86_64": "56b0636515068e8f8383e5448b6cfd2516ea923fa6c68ce4a2e516da96ec405d",
        "aarch64": "25ea97e7c7933396a655e00a716f79da9095500cfb1cac053cb3addd82bd453c",
    },
}
"""Engine version → machine → SHA-256 of the library in its wheel. A line is added when the tests have passed with
it."""
WHATSAPP_ROOT_KEY: Final = bytes.fromhex("142375574d0a587166aae71ebe516437c4a28b73e3695c6ce1f7f9545da8ee6b")
"""Root of WhatsApp's Noise certificates (whatsmeow, handshake.go). A library that does not hold it is a staging
copy."""
STAGING_MARK: Final = "staging.json"
"""Written by the staging network into its folder, beside the patched copy."""


class EngineRefusedError(Exception):
    """This library must not be opened; the text is one line that says why and what to do."""


class RehearsedEngines(msgspec.Struct, frozen=True, kw_only=True):
    """The file in which a rehearsal on this box records that a library passed."""

    sha256: dict[str, str]
    """Hash of the library → version."""


def admit(spec: WorkerSpec, *, machine: str | None = None) -> str:
    """The version of the library that `spec` names, if it may be opened; `staging` for a staging copy.

    Raises EngineRefusedError.
    """
    path = Path(spec.engine_library)
    digest, original = _inspect(path)
    if spec.staging:
        _admit_staging(path, spec.proxy, original=original)
        return "staging"
    if not original:
        raise EngineRefusedError(
            f"engine refused: {path.name} is a staging copy, and this session is not a staging session"
        )
    machine = machine or platform.machine()
    for version, libraries in TESTED.items():
        if libraries.get(machine) == digest:
            return version
    rehearsed = _rehearsed(spec.engine_approvals).get(digest)
    if rehearsed is not None:
        return rehearsed
    raise EngineRefusedError(
        f"engine refused: {path.name} (SHA-256 {digest[:16]}…) is not in the tested list ({', '.join(TESTED)}), and no "
        "rehearsal on this box has passed with it; install the pinned version, or rehearse: amda engine upgrade"
    )


def _inspect(path: Path) -> tuple[str, bool]:
    """SHA-256 of the file, and whether it trusts WhatsApp's root key."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return hashlib.sha256(content).hexdigest(), content.find(WHATSAPP_ROOT_KEY) >= 0
    except (OSError, ValueError) as error:
        raise EngineRefusedError(f"engine refused: {path} cannot be read: {error}") from error


def _admit_staging(path: Path, proxy: str | None, *, original: bool) -> None:
    if original:
        raise EngineRefusedError(
            f"engine refused: {path.name} would talk to WhatsApp itself; "
            "a staging session needs the staging network's copy"
        )
    if not (path.parent / STAGING_MARK).is_file():
        raise EngineRefusedError(
            f"engine refused: no {STAGING_MARK} beside {path.name}; start the staging network first"
        )
    host = urlsplit(proxy or "").hostname
    if host is None or not _is_loopback(host):
        raise EngineRefusedError(
            "engine refused: a staging session needs the staging network's proxy on a loopback address"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name, even localhost, may be resolved to anything


def _rehearsed(path: str | None) -> dict[str, str]:
    if path is None:
        return {}
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=RehearsedEngines).sha256
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        raise EngineRefusedError(f"engine refused: the record of rehearsals {path} cannot be read: {error}") from error
