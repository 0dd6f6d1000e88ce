"""A server whose Python is too old, as Ubuntu 22.04's is, and where no MinIO can be had: uv brings a Python, media
begins in a folder, and one command takes it to an object store later.

uv is the real one, from the package index by the hash that the installer pins. The archives of Python that it downloads
lie where no test reaches them: it is told of one on this machine, by its own variable, packed as those are, from
Debian's files; it checks this one's hash, too.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.system.machine import ROOT, Machine, cache_folder, eventually, step
from tests.system.server import PUBLISHED, Server

SUITE = "trixie"
"""Its Python is of the version that the installer asks uv for."""
HIDDEN = "/usr/libexec/python3.13"
"""Where the interpreter of Debian still is, for what stands in for an old one."""
OLD = f"""\
#!/bin/sh
if [ "$1" = --version ]; then echo Python 3.10.12; exit; fi
IS_OLD=1 exec {HIDDEN} "$@"
"""
SITE = """\
import os, sys
if "IS_OLD" in os.environ:
    from collections import namedtuple
    sys.version_info = namedtuple("version_info", "major minor micro releaselevel serial")(3, 10, 12, "final", 0)
"""
"""It says 3.10 to whoever asks, and is called that by nobody else: WhatsApp runs from the same files."""
ARCHIVE = "python.tar.gz"
LISTED, WRONG = "downloads.json", "wrong.json"


def _bring_uv(machine: Machine) -> str:
    """A folder of the machine with uv's wheel. The package index is asked once; the hash is checked each time."""
    kept = cache_folder() / "uv"
    lock = str(ROOT / "provisioning" / "uv.lock")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--require-hashes",
    ]
    target = machine.path("/srv/uv")
    local = [*pip, "--no-index", "--find-links", str(kept), "--requirement", lock, "--dest", str(target)]
    if subprocess.run(local, capture_output=True, check=False).returncode != 0:
        subprocess.run([*pip, "--requirement", lock, "--dest", str(kept)], check=True)
        subprocess.run(local, check=True)
    return "/srv/uv"


def _publish_python(machine: Machine) -> str:
    """Debian's Python as an archive of python-build-standalone, and uv's list of what can be had: once as it is, once
    with another hash. Returns the version."""
    place = machine.path("/srv/amda")
    version = machine.run("python3", "-c", "import platform; print(platform.python_version())").stdout.strip()
    library = machine.bare / "usr/lib/python3.13"

    def wanted(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        outside = member.issym() and member.linkname.startswith("/")
        return None if outside or "__pycache__" in member.name else member

    with tarfile.open(place / ARCHIVE, "w:gz", compresslevel=1) as archive:
        archive.add(machine.bare / "usr/bin/python3.13", "python/bin/python3.13")
        for name in ("python", "python3"):
            link = tarfile.TarInfo(f"python/bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "python3.13"
            archive.addfile(link)
        archive.add(library, "python/lib/python3.13", filter=wanted)
    major, minor, patch = map(int, version.split("."))
    family = machine.run("uname", "-m").stdout.strip()
    entry = {
        "name": "cpython", "major": major, "minor": minor, "patch": patch, "prerelease": "", "variant": None,
        "os": "linux", "libc": "gnu", "arch": {"family": family, "variant": None}, "build": "20260101",
        "url": f"{PUBLISHED}/{ARCHIVE}", "sha256": hashlib.sha256((place / ARCHIVE).read_bytes()).hexdigest(),
    }  # fmt: skip
    for name, row in ((LISTED, entry), (WRONG, entry | {"sha256": "0" * 64})):
        (place / name).write_text(json.dumps({f"cpython-{version}-linux-{family}-gnu": row}))
    return version


def _make_python_old(machine: Machine) -> None:
    machine.run("mv", "/usr/bin/python3.13", HIDDEN)
    machine.path("/usr/bin/python3").unlink()
    machine.path("/usr/bin/python3").write_text(OLD)
    machine.path("/usr/bin/python3").chmod(0o755)
    machine.path("/etc/python3.13/sitecustomize.py").write_text(SITE)
    machine.run("ln", "--symbolic", "--force", "--no-dereference", HIDDEN, "/opt/staging/.venv/bin/python")
    said = machine.run("python3", "-c", "import sys; print(sys.version_info[:2])").stdout
    assert said == "(3, 10)\n"


@pytest.mark.timeout(1200)
def test_a_server_whose_python_is_too_old_and_without_an_object_store(published: Path, tmp_path: Path) -> None:
    with Machine(SUITE, tmp_path / "machine", ("restic",)) as machine:
        server = Server(machine, published)
        with step("put WhatsApp beside it, and nothing of the appliance"):
            server.start_whatsapp(bare=True)
            wheels = _bring_uv(machine)
            version = _publish_python(machine)
            _make_python_old(machine)
        with step("curl … | bash: an archive that is not what its hash says is not taken"):
            source = f"{PUBLISHED}/{WRONG}"
            done = server.install_by_pipe("", wheels, check=False, UV_PYTHON_DOWNLOADS_JSON_URL=source)
            assert (done.returncode, "error E29: uv cannot bring Python 3.13" in done.stderr) == (29, True), done.stderr
            assert "Hash mismatch" in machine.path("/var/log/amda/install.log").read_text()
            assert not machine.run("find", "/opt/amda", "-name", "python3*").stdout
        with step("curl … | bash: uv brings a Python"):
            source = f"{PUBLISHED}/{LISTED}"
            done = server.install_by_pipe("", wheels, UV_PYTHON_DOWNLOADS_JSON_URL=source)
            assert "the system's Python (Python 3.10.12) is too old: uv brings Python 3.13" in done.stderr
            assert "no server of the MinIO API could be had, so a folder" in done.stderr
            assert "healthy: " in done.stderr
        with step("what runs is that Python"):
            for unit in server.units()[1:]:
                program = machine.run("readlink", f"/proc/{machine.unit(unit, 'MainPID')}/exe").stdout
                assert program.startswith(f"/opt/amda/python/cpython-{version}-linux-"), (unit, program)
            assert not machine.path("/root/.cache/uv").exists()
            assert not machine.run("find", "/opt/amda", "-perm", "-002", "-not", "-type", "l").stdout, "nobody else's"
        with step("link a session"):
            server.link("awa")
            server.send_status("awa")
            eventually("one item of media", lambda: server.media() == 1, 60)
        with step("install again"):
            done = server.install()
            assert "nothing changed" in done.stderr, done.stderr
        if machine.path("/srv/bundle/minio").exists():
            _switch(server)


def _switch(server: Server) -> None:
    machine = server.machine
    command = ("/opt/amda/current/install.sh", "--move-media", "--minio-binary", "/srv/bundle/minio")
    with step("one command, and media lies in an object store"):
        before = server.connections()
        done = machine.run(*command)
        assert "media lies in: S3 bucket amda-media" in done.stderr, done.stderr
        assert server.amda("storage", "usage")["store"].startswith("S3 bucket amda-media")
        assert server.amda("storage", "check", "--hashes")["objects"] == 1
        assert server.connections() == before, "nobody was disconnected"
        server.send_status("awa")
        eventually("more media", lambda: server.media() == 2, 60)
    with step("the same command again"):
        done = machine.run(*command)
        assert "nothing changed" in done.stderr, done.stderr
    with step("and back into the folder"):
        done = machine.run("/opt/amda/current/install.sh", "--no-minio", "--move-media")
        assert "media lies in: media folder /var/lib/amda/media" in done.stderr, done.stderr
        assert server.amda("storage", "check", "--hashes")["objects"] == 2
        assert server.connections() == before
