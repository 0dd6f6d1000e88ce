"""What is published: one number names the release everywhere, and each file is what the signed list says."""

from __future__ import annotations

import hashlib
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

import appliance

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "https://example.org/v1"


def publish(out: Path, *options: str) -> None:
    command = ["sh", str(ROOT / "provisioning" / "release"), "--out", str(out), *options]
    subprocess.run(command, check=True, capture_output=True)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_package_and_project_file_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["version"] == appliance.__version__


@pytest.mark.slow
def test_each_file_names_the_next_and_the_signature_holds_them_together(tmp_path: Path, ssh_keygen: str) -> None:
    key = tmp_path / "key"
    subprocess.run([ssh_keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    out = tmp_path / "out"
    publish(out, "--base-url", ADDRESS, "--sign", str(key))
    archive = out / f"amda-{appliance.__version__}.tar.gz"
    installer = (out / "install.sh").read_text()
    assert f"RELEASE_URL='{ADDRESS}/{archive.name}'" in installer
    assert f"RELEASE_SHA256='{digest(archive)}'" in installer
    user_data = (out / "cloud-init.yaml").read_text()
    assert f"{ADDRESS}/install.sh" in user_data
    assert digest(out / "install.sh") in user_data
    assert yaml.safe_load(user_data)["runcmd"]
    sums = dict(reversed(line.split()) for line in (out / "SHA256SUMS").read_text().splitlines())
    assert sums == {path.name: digest(path) for path in out.iterdir() if not path.name.startswith("SHA256SUMS")}
    publish(tmp_path / "again")
    assert digest(tmp_path / "again" / archive.name) == digest(archive), "the same checkout gives the same bytes"
    allowed = tmp_path / "allowed"
    allowed.write_text(f"amda {key.with_suffix('.pub').read_text()}")
    verify = [
        "ssh-keygen",
        "-Y",
        "verify",
        "-f",
        str(allowed),
        "-I",
        "amda",
        "-n",
        "file",
        "-s",
        f"{out}/SHA256SUMS.sig",
    ]
    content = (out / "SHA256SUMS").read_bytes()
    assert subprocess.run(verify, input=content, capture_output=True, check=False).returncode == 0
    assert subprocess.run(verify, input=content + b"\n", capture_output=True, check=False).returncode != 0
