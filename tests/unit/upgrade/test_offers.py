"""What `--to` can name, and what is refused before anything is unpacked."""

from __future__ import annotations

import hashlib
import http.server
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import __version__
from appliance.migrations import MIGRATIONS
from appliance.protocol import PROTOCOL_VERSION
from appliance.upgrade import offers
from appliance.upgrade.changelog import between, version_key
from appliance.upgrade.faults import Fault, UpgradeError
from appliance.upgrade.offers import COMPLETE, Publisher
from tests.web_server import serving

ROOT = Path(__file__).resolve().parents[3]
PARTS = ("pyproject.toml", "CHANGELOG.md", "requirements.lock", "appliance/protocol.py", "appliance/migrations")
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")


def make_checkout(folder: Path) -> Path:
    for part in PARTS:
        target = folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, target)
    return folder


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    make_checkout(tmp_path / f"amda-{__version__}")
    file = tmp_path / f"amda-{__version__}.tar.gz"
    with tarfile.open(file, "w:gz") as made:
        made.add(tmp_path / f"amda-{__version__}", f"amda-{__version__}")
    return file


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_this_checkout_is_a_release() -> None:
    offer = offers.from_folder(ROOT)
    assert (offer.version, offer.schema, offer.protocol) == (__version__, len(MIGRATIONS), PROTOCOL_VERSION)
    assert offer.origin == ["--from", str(ROOT)]
    assert "neonize==" in offer.lock


def test_an_archive_says_the_same(archive: Path) -> None:
    offer = offers.from_archive(archive, digest(archive))
    assert (offer.version, offer.schema, offer.protocol) == (__version__, len(MIGRATIONS), PROTOCOL_VERSION)
    assert offer.origin == ["--from", str(archive)]


def test_an_offline_bundle_is_told_from_an_archive(tmp_path: Path, archive: Path) -> None:
    bundle = tmp_path / "bundle.tar"
    (tmp_path / "SHA256SUMS").touch()
    with tarfile.open(bundle, "w") as made:
        made.add(tmp_path / f"amda-{__version__}", f"./amda-{__version__}")
        made.add(tmp_path / "SHA256SUMS", "./SHA256SUMS")
    assert offers.from_archive(bundle, None).origin == ["--offline", str(bundle)]


def test_what_is_no_release(tmp_path: Path, archive: Path) -> None:
    (tmp_path / "text").write_text("410 gone")
    for file in (tmp_path / "text", tmp_path / "missing"):
        with pytest.raises(UpgradeError) as error:
            offers.from_archive(file, None)
        assert error.value.fault is Fault.NO_SUCH_RELEASE
    with pytest.raises(UpgradeError) as error:
        offers.from_folder(tmp_path)
    assert error.value.fault is Fault.NO_SUCH_RELEASE
    with pytest.raises(UpgradeError) as error:
        offers.from_archive(archive, "0" * 64)
    assert error.value.fault is Fault.NOT_VERIFIED


def test_releases_that_are_here_come_oldest_first_and_complete(tmp_path: Path) -> None:
    for name in ("0.1.0-bb", "0.1.0-aa", "0.1.0-half"):
        make_checkout(tmp_path / name)
        if name != "0.1.0-half":
            (tmp_path / name / COMPLETE).touch()
    places = [offer.place for offer in offers.installed(tmp_path)]
    assert [place.name for place in places if place] == ["0.1.0-bb", "0.1.0-aa"]
    assert all(offer.origin == [] for offer in offers.installed(tmp_path))


class Site:
    """A folder that is served on loopback, with a list of releases that is signed."""

    def __init__(self, folder: Path, archive: Path) -> None:
        self.folder = folder
        folder.mkdir()
        shutil.copy(archive, folder)
        (folder / "SHA256SUMS").write_text(f"{digest(archive)}  {archive.name}\n")
        for name in ("key", "other"):
            make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(make, check=True)
        self.sign("key")
        public = (folder / "key.pub").read_text()
        (folder / "signers").write_text(f"amda {public}")

    def sign(self, key: str) -> None:
        (self.folder / "SHA256SUMS.sig").unlink(missing_ok=True)
        command = ["ssh-keygen", "-Y", "sign", "-q", "-n", "file", "-f", str(self.folder / key)]
        subprocess.run([*command, str(self.folder / "SHA256SUMS")], check=True)

    def publisher(self, url: str) -> Publisher:
        return Publisher(url=url, signers=self.folder / "signers")


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "site"))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    with serving(Quiet) as url:
        yield url


@needs_curl
@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen")
def test_published_releases_are_taken_only_from_a_signed_list(tmp_path: Path, archive: Path, url: str) -> None:
    site = Site(tmp_path / "site", archive)
    offer = offers.published(site.publisher(url), None, tmp_path / "downloads")
    assert offer.version == __version__
    assert offer.origin == ["--from", str(tmp_path / "downloads" / archive.name)]
    with pytest.raises(UpgradeError) as error:
        offers.published(site.publisher(url), "9.9.9", tmp_path / "downloads")
    assert error.value.fault is Fault.NO_SUCH_RELEASE
    assert __version__ in str(error.value)
    site.sign("other")
    with pytest.raises(UpgradeError) as error:
        offers.published(site.publisher(url), None, tmp_path / "downloads")
    assert error.value.fault is Fault.NOT_VERIFIED
    site.sign("key")
    (site.folder / archive.name).write_bytes(b"another file")
    with pytest.raises(UpgradeError) as error:
        offers.published(site.publisher(url), None, tmp_path / "downloads")
    assert error.value.fault is Fault.NOT_VERIFIED


@needs_curl
def test_nothing_comes_over_plain_http_or_as_an_error_page(tmp_path: Path, url: str) -> None:
    (tmp_path / "site").mkdir()
    for address in ("http://example.org/x.tar.gz", "ftp://127.0.0.1/x", f"{url}/missing.tar.gz"):
        with pytest.raises(UpgradeError) as error:
            offers.fetch(address, tmp_path / "got")
        assert error.value.fault is Fault.NO_SOURCE
    assert not (tmp_path / "got").exists()


LOG = "# Changelog\n\nWords.\n\n## 0.3.0 (unreleased)\n\n- c\n\n## 0.2.0\n\n- b\n\n## 0.1.0\n\n- a\n"


@pytest.mark.parametrize(
    ("since", "until", "shown"),
    [
        ("0.1.0", "0.3.0", "## 0.3.0 (unreleased)\n\n- c\n\n## 0.2.0\n\n- b"),
        ("0.1.0", "0.2.0", "## 0.2.0\n\n- b"),
        ("0.2.0", "0.2.0", "## 0.2.0\n\n- b"),
        ("0.3.0", "0.4.0", ""),
        ("0.0.9", "0.1.0", "## 0.1.0\n\n- a"),
    ],
)
def test_the_changelog_between_two_releases(since: str, until: str, shown: str) -> None:
    assert between(LOG, since, until) == shown


def test_versions_are_numbers() -> None:
    versions = ["0.2.0", "0.10.0", "1.0.0-rc1", "1.0.0", "0.2.1"]
    assert sorted(versions, key=version_key) == ["0.2.0", "0.2.1", "0.10.0", "1.0.0-rc1", "1.0.0"]
