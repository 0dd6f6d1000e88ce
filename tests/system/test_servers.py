"""Servers by cloud-init and containers by compose: what is written for them is accepted by their own programs, and a
first boot with the user data really ends with an appliance."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.system.machine import ROOT, Machine, bare_root, eventually, run_in, step
from tests.system.server import PUBLISHED, Server

pytestmark = pytest.mark.timeout(900)
CLOUD = ("cloud-init", "docker-compose", "procps", "ufw", "unattended-upgrades")
"""On top of the bare root: the validators, and the packages of the user data, for a machine without a network."""
ROOTS = {"bookworm": ("cloud-init",), "trixie": CLOUD}
SHA256 = "0" * 64
FIRST_BOOT_S = 240.0
COMPOSE = ROOT / "provisioning" / "container" / "compose.yaml"
FILES_UNIT = """\
[Unit]
Description=The published release, for a machine without a network
Before=cloud-final.service
[Service]
ExecStart=python3 -m http.server --bind 127.0.0.1 --directory /srv/amda 8000
[Install]
WantedBy=multi-user.target
"""


def user_data(*options: str) -> str:
    command = [str(ROOT / "provisioning" / "cloud-init"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("suite", list(ROOTS))
def test_user_data_fits_the_schema_of_cloud_init(tmp_path: Path, suite: str) -> None:
    """The one of each Debian: 22.4 and 25.1. What is wrong is refused, so the check can fail."""
    root = bare_root(suite, ROOTS[suite])
    published = ("--install-url", "https://example.org/install.sh", "--install-sha256", SHA256)
    variants = {
        "defaults": user_data(*published),
        "domain": user_data(*published, "--domain", "amda.example.org", "--", "--no-minio"),
        "spartan": user_data(*published, "--swap", "0", "--reboot", "never"),
        "bare": user_data("--bare"),
    }
    for name, content in variants.items():
        (tmp_path / f"{name}.yaml").write_text(content)
        done = run_in(root, "cloud-init", "schema", "--config-file", str(tmp_path / f"{name}.yaml"), bind=tmp_path)
        assert done.returncode == 0, done.stdout
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(variants["defaults"].replace("ssh_pwauth: false", "ssh_pwauth: [never]"))
    done = run_in(root, "cloud-init", "schema", "--config-file", str(wrong), bind=tmp_path)
    assert done.returncode == 1
    assert "ssh_pwauth" in done.stdout


def test_compose_file_is_accepted_by_compose(tmp_path: Path) -> None:
    root = bare_root("trixie", CLOUD)
    checked = ("docker-compose", "-f", str(COMPOSE), "config", "--format", "json")
    done = run_in(root, *checked, bind=ROOT)
    assert done.returncode == 0, done.stdout
    composed = json.loads(done.stdout[done.stdout.index("{") : done.stdout.rindex("}") + 1])
    assert set(composed["services"]) == {"redis", "store", "appliance"}
    for name, service in composed["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["read_only"], name
        assert "ports" not in service, f"{name} is reached from outside"
    assert composed["networks"]["inside"]["internal"]
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(COMPOSE.read_text().replace("init: true", "init: perhaps"))
    assert run_in(root, "docker-compose", "-f", str(wrong), "config", bind=tmp_path).returncode != 0


def test_a_first_boot_with_the_user_data_ends_with_an_appliance(published: Path, tmp_path: Path) -> None:
    with Machine("trixie", tmp_path / "machine", more=CLOUD) as machine:
        server = Server(machine, published)
        sums = dict(reversed(line.split()) for line in (published / "SHA256SUMS").read_text().splitlines())
        seed = machine.path("/var/lib/cloud/seed/nocloud")
        seed.mkdir(parents=True)
        (seed / "meta-data").write_text("instance-id: first\n")
        # A container has no swap of its own.
        source = ("--install-url", f"{PUBLISHED}/install.sh", "--install-sha256", sums["install.sh"], "--swap", "0")
        (seed / "user-data").write_text(user_data(*source, "--", "--offline", server.bundle, "--no-minio"))
        machine.path("/etc/systemd/system/files.service").write_text(FILES_UNIT)
        machine.run("systemctl", "enable", "files.service")
        with step("first boot"):
            machine.reboot()
            eventually("the first boot is over", lambda: not _works(machine), FIRST_BOOT_S)
        said = machine.path("/var/log/cloud-init-output.log").read_text()
        assert "installed in" in said, said[-3000:]
        assert server.amda("status")["degraded"] == []
        rules = machine.run("ufw", "status", "verbose").stdout
        assert "Status: active" in rules
        assert "deny (incoming)" in rules
        assert {line.split()[0] for line in rules.splitlines() if "ALLOW IN" in line} == {"22/tcp"}
        upgrades = machine.run("apt-config", "dump", "Unattended-Upgrade").stdout
        assert 'Unattended-Upgrade::Automatic-Reboot "true";' in upgrades
        with step("second boot: nothing is installed again"):
            before = machine.path("/var/log/amda/install.log").read_text()
            machine.reboot()
            eventually("it is up", lambda: server.amda("status", check=False), 60)
            eventually("cloud-init is done", lambda: not _works(machine), 60)
            assert machine.path("/var/log/amda/install.log").read_text() == before
            assert "Status: active" in machine.run("ufw", "status").stdout


def _works(machine: Machine) -> bool:
    """Whether cloud-init still does."""
    said = machine.run("cloud-init", "status", check=False).stdout
    return not any(word in said for word in ("done", "error", "degraded"))
