"""What `--to` names: a release that is here already, a checkout, an archive, an offline bundle, an address, a version.

Nothing is unpacked here: what people are shown before they agree is read from where it lies.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from appliance.upgrade.changelog import version_key
from appliance.upgrade.faults import Fault, UpgradeError
from appliance.upgrade.plan import Place

COMPLETE: Final = ".complete"
"""install.sh writes it into a release's folder when everything is there."""
DOWNLOAD_S: Final = 1800.0
"""An archive has a few megabytes, an offline bundle two hundred; a slow line needs minutes."""
_SUMS: Final = "SHA256SUMS"
_SIGNER: Final = "amda"
"""The name that provisioning/release signs under."""
_DEPTH: Final = 4
"""An offline bundle has the release in a folder, an archive too: ./amda-0.2.0/appliance/protocol.py."""
_READ: Final = ("pyproject.toml", "CHANGELOG.md", "requirements.lock", "appliance/protocol.py")
_MIGRATION: Final = re.compile(r"appliance/migrations/m\d{4}_\w+\.py$")


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A release that one could change to."""

    version: str
    changelog: str
    schema: int
    """Of its database."""
    protocol: int
    """Of what its daemon says to its sessions."""
    origin: list[str]
    """Arguments of the installer; empty: it is here already."""
    lock: str = ""
    """Its pinned packages."""
    place: Place | None = None
    """Where it is, if it is here."""


class Publisher(msgspec.Struct, frozen=True, kw_only=True):
    """Where releases are published, and whose signature they bear."""

    url: str
    signers: Path


def from_folder(folder: Path) -> Offer:
    """A checkout or an unpacked release. Raises UpgradeError."""

    def files() -> Iterator[tuple[str, Callable[[], bytes]]]:
        for name in _READ:
            if (folder / name).is_file():
                yield name, (folder / name).read_bytes
        for path in (folder / "appliance" / "migrations").glob("*.py"):
            yield f"appliance/migrations/{path.name}", bytes

    return _read(files(), str(folder), ["--from", str(folder.resolve())])


def from_archive(file: Path, sha256: str | None) -> Offer:
    """An archive of a release, or an offline bundle. Raises UpgradeError."""
    if sha256 is not None:
        with file.open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != sha256.lower():
                raise UpgradeError(Fault.NOT_VERIFIED, f"{file} is not the file of that SHA-256", "get a fresh copy")
    try:
        with tarfile.open(file) as archive:
            bundle = any(member.name.removeprefix("./") == _SUMS for member in archive)

            def files() -> Iterator[tuple[str, Callable[[], bytes]]]:
                for member in archive:
                    parts = member.name.removeprefix("./").split("/")
                    if member.isfile() and 1 < len(parts) <= _DEPTH:
                        yield "/".join(parts[1:]), lambda member=member: _content(archive, member)  # type: ignore[misc]

            return _read(files(), str(file), ["--offline" if bundle else "--from", str(file.resolve())])
    except (OSError, tarfile.TarError) as error:
        raise UpgradeError(
            Fault.NO_SUCH_RELEASE, f"{file} is no archive of a release: {error}", "get a fresh copy"
        ) from error


def installed(releases: Path) -> list[Offer]:
    """The releases that lie on this machine, complete, oldest first."""
    found = [folder for folder in releases.glob("*") if (folder / COMPLETE).exists()]
    found.sort(key=lambda folder: (folder / COMPLETE).stat().st_mtime)
    return [here(folder) for folder in found]


def here(folder: Path) -> Offer:
    """One of them. Raises UpgradeError if it is not whole."""
    offer = from_folder(folder)
    place = Place(name=folder.name, folder=str(folder), version=offer.version)
    return msgspec.structs.replace(offer, origin=[], place=place)


def published(publisher: Publisher, version: str | None, downloads: Path) -> Offer:
    """That version, or the newest, of those that are published in a signed list. Raises UpgradeError."""
    downloads.mkdir(mode=0o700, parents=True, exist_ok=True)
    base = publisher.url.rstrip("/")
    sums, signature = downloads / _SUMS, downloads / f"{_SUMS}.sig"
    fetch(f"{base}/{_SUMS}", sums)
    fetch(f"{base}/{_SUMS}.sig", signature)
    check_signature(sums, signature, publisher.signers)
    lines = re.findall(r"^([0-9a-f]{64})  amda-(\S+)\.tar\.gz$", sums.read_text("ascii"), re.MULTILINE)
    listed = {name: digest for digest, name in lines}
    wanted = version or max(listed, key=version_key, default=None)
    if wanted is None or wanted not in listed:
        raise UpgradeError(
            Fault.NO_SUCH_RELEASE,
            f"{base} offers {', '.join(sorted(listed, key=version_key)) or 'nothing'}, not {wanted}",
            "name one of these, a file or an address: amda upgrade --to",
        )
    return from_address(f"{base}/amda-{wanted}.tar.gz", listed[wanted], downloads)


def from_address(url: str, sha256: str, downloads: Path) -> Offer:
    """An archive over https. Raises UpgradeError."""
    downloads.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = downloads / url.rsplit("/", 1)[1]
    fetch(url, file)
    return from_archive(file, sha256)


def fetch(url: str, file: Path) -> None:
    """Over https, or from this machine itself; a page that says an error is none. Raises UpgradeError."""
    local = re.match(r"http://(127\.0\.0\.1|localhost)[:/]", url)
    if not url.startswith("https://") and not local:
        raise UpgradeError(Fault.NO_SOURCE, f"{url} is not an https:// address", "name one, or a file")
    command = ["curl", "-fsSL", "--proto", "=http" if local else "=https", "--proto-redir", "=https", "--retry", "3"]
    command += ["--connect-timeout", "20", "--output", str(file), url]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DOWNLOAD_S)
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["curl failed"])[-1]
        raise UpgradeError(
            Fault.NO_SOURCE, f"{url} cannot be downloaded: {said}", "check address and network, then again"
        )


def check_signature(file: Path, signature: Path, signers: Path) -> None:
    """By ssh-keygen, as provisioning/release signs. Raises UpgradeError."""
    command = ["ssh-keygen", "-Y", "verify", "-f", str(signers), "-I", _SIGNER, "-n", "file", "-s", str(signature)]
    try:
        with file.open("rb") as content:
            done = subprocess.run(command, stdin=content, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise UpgradeError(
            Fault.NOT_VERIFIED, "there is no ssh-keygen here", "apt-get install openssh-client"
        ) from error
    if done.returncode != 0:
        raise UpgradeError(
            Fault.NOT_VERIFIED,
            f"the list of releases bears no signature of {signers}: {done.stderr.strip() or done.stdout.strip()}",
            "do not install it; ask whoever publishes the releases",
        )


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return b"" if file is None else file.read()


def _read(files: Iterator[tuple[str, Callable[[], bytes]]], name: str, origin: list[str]) -> Offer:
    found: dict[str, str] = {}
    schema = 0
    for path, read in files:
        if path in _READ:
            found[path] = read().decode("utf-8", "replace")
        elif _MIGRATION.match(path):
            schema += 1
    version = re.search(r'^version = "([^"]+)"$', found.get("pyproject.toml", ""), re.MULTILINE)
    protocol = re.search(r"^PROTOCOL_VERSION\b.*= (\d+)$", found.get("appliance/protocol.py", ""), re.MULTILINE)
    if version is None or protocol is None or not schema:
        raise UpgradeError(Fault.NO_SUCH_RELEASE, f"{name} is not a release of this appliance", "name another one")
    return Offer(
        version=version[1],
        changelog=found.get("CHANGELOG.md", ""),
        lock=found.get("requirements.lock", ""),
        schema=schema,
        protocol=int(protocol[1]),
        origin=origin,
    )
