"""User data for a new server; that cloud-init accepts it and that it works is tried in tests/system."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SHA256 = "ab" * 32
SOURCE = ("--install-url", "https://example.org/v1/install.sh", "--install-sha256", SHA256)


def run(*options: str) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(ROOT / "provisioning" / "cloud-init"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def user_data(*options: str) -> dict[str, Any]:
    done = run(*options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("#cloud-config\n")
    parsed: dict[str, Any] = yaml.safe_load(done.stdout)
    return parsed


def files(data: dict[str, Any]) -> dict[str, str]:
    return {file["path"]: file["content"] for file in data["write_files"]}


def opened(data: dict[str, Any]) -> list[str]:
    return [command[2] for command in data["runcmd"] if command[:2] == ["ufw", "allow"]]


def test_only_ssh_is_let_in_and_with_a_domain_the_proxy() -> None:
    plain = user_data(*SOURCE)
    assert opened(plain) == ["22/tcp"]
    assert ["ufw", "default", "deny", "incoming"] in plain["runcmd"]
    assert plain["runcmd"].index(["ufw", "--force", "enable"]) > plain["runcmd"].index(["ufw", "allow", "22/tcp"])
    assert plain["ssh_pwauth"] is False
    proxied = user_data(*SOURCE, "--domain", "amda.example.org")
    assert opened(proxied) == ["22/tcp", "80/tcp", "443/tcp"]
    assert "--domain amda.example.org" in files(proxied)["/usr/local/sbin/amda-first-boot"]


def test_the_installer_is_run_only_if_it_is_what_was_promised(tmp_path: Path) -> None:
    data = user_data(*SOURCE, "--", "--no-minio")
    assert data["runcmd"][-1] == ["/usr/local/sbin/amda-first-boot"]
    script = tmp_path / "first-boot"
    script.write_text(files(data)["/usr/local/sbin/amda-first-boot"])
    assert subprocess.run(["shellcheck", str(script)], check=False).returncode == 0
    tools = tmp_path / "bin"
    tools.mkdir()
    log = tmp_path / "log"
    (tools / "curl").write_text(f'#!/bin/sh\nwhile [ $# -gt 1 ]; do last=$1; shift; [ "$last" != --output ] ||\n'
                                f'printf \'echo "ran $*" >>{log}\' >"$1"; done\n')  # fmt: skip
    (tools / "curl").chmod(0o755)
    environment = {"PATH": f"{tools}:/usr/bin:/bin"}
    assert subprocess.run(["sh", str(script)], env=environment, capture_output=True, check=False).returncode != 0
    assert not log.exists(), "another file than the one that was promised"
    content = f'echo "ran $*" >>{log}'.encode()
    script.write_text(script.read_text().replace(SHA256, hashlib.sha256(content).hexdigest()))
    assert subprocess.run(["sh", str(script)], env=environment, capture_output=True, check=False).returncode == 0
    assert log.read_text() == "ran --yes --no-minio\n"


def test_upgrades_swap_and_a_machine_without_the_appliance() -> None:
    data = user_data(*SOURCE)
    assert data["swap"]["size"] == data["swap"]["maxsize"] == 1 << 30
    upgrades = files(data)["/etc/apt/apt.conf.d/52amda"]
    assert 'APT::Periodic::Unattended-Upgrade "1";' in upgrades
    assert 'Automatic-Reboot-Time "04:30";' in upgrades
    other = user_data("--bare", "--swap", "512M", "--reboot", "never")
    assert other["swap"]["size"] == 512 << 20
    assert 'Automatic-Reboot "false";' in files(other)["/etc/apt/apt.conf.d/52amda"]
    assert "/usr/local/sbin/amda-first-boot" not in files(other)
    assert "swap" not in user_data("--bare", "--swap", "0")


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--install-url", "https://example.org/install.sh"),
        ("--install-url", "http://example.org/install.sh", "--install-sha256", SHA256),
        ("--install-url", "https://example.org/'; reboot; '", "--install-sha256", SHA256),
        (*SOURCE, "--domain", "a b"),
        (*SOURCE, "--swap", "much"),
        (*SOURCE, "--reboot", "25:00"),
        (*SOURCE, "--", "--no-minio; reboot"),
        (*SOURCE, "--", "--no-minio\nreboot"),
        ("--dmoain", "x"),
        ("--swap",),
    ],
)
def test_what_cannot_be_used_is_named(options: tuple[str, ...]) -> None:
    done = run(*options)
    assert (done.returncode, done.stdout) == (2, "")
    assert "what to do: " in done.stderr
