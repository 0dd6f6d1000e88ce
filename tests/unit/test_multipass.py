"""provisioning/multipass with a stand-in for multipass that logs its calls; a real one needs virtual machines."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STAND_IN = """\
#!/bin/sh
echo "$*" >>"$CALLS"
if [ -n "${FAKE_INTERRUPT-}" ] && [ "$1" = "$FAKE_INTERRUPT" ]; then kill -INT $PPID; exit 130; fi
case $* in
    info*) [ -e "$MACHINE" ] ;;
    launch*) [ -z "${FAKE_NO_LAUNCH-}" ] || exit 2; shift; cp "${11}" "$MACHINE" ;;
    *"cloud-init status"*) exit "${FAKE_FIRST_BOOT-0}" ;;
    transfer*) [ -s "$2" ] && [ -s "$3" ] ;;
    *"sh ./install.sh"*)
        [ -z "${FAKE_NO_INSTALL-}" ] || { echo "error E33: the appliance runs and is not well" >&2; exit 33; }
        if [ -e "$MACHINE.installed" ] && [ -z "${FAKE_CHANGES-}" ]; then echo "nothing changed (2 s)" >&2; fi
        : >"$MACHINE.installed"
        ;;
    *"ufw status"*) echo "Status: ${FAKE_FIREWALL-active}" ;;
    delete*) rm "$MACHINE" ;;
esac
"""


@dataclass
class Host:
    """A machine with something that answers to `multipass`."""

    folder: Path

    @property
    def calls(self) -> list[str]:
        log = self.folder / "calls"
        return log.read_text().splitlines() if log.exists() else []

    def run(self, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        kept = {"PATH": f"{self.folder}/bin:{os.environ['PATH']}", "HOME": str(self.folder)}
        places = {
            "CALLS": str(self.folder / "calls"),
            "MACHINE": str(self.folder / "machine"),
            "TMPDIR": str(self.folder),
        }
        return subprocess.run(
            ["sh", str(ROOT / "provisioning" / "multipass"), *options],
            env={**kept, **places, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )


@pytest.fixture
def host(tmp_path: Path) -> Host:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "multipass"
    program.write_text(STAND_IN)
    program.chmod(0o755)
    archive = tmp_path / "amda.tar.gz"
    archive.write_text("a release")
    return Host(tmp_path)


def test_it_creates_installs_checks_and_leaves_the_machine(host: Host) -> None:
    done = host.run("box", "--archive", str(host.folder / "amda.tar.gz"), "--memory", "4G", "--", "--no-minio")
    assert done.returncode == 0, done.stderr
    calls = [re.sub(r"/\S*/", "…/", call) for call in host.calls]
    install = "exec box -- sudo sh ./install.sh --from ./release.tar.gz --yes --no-minio"
    assert calls == [
        "info box",
        "launch 24.04 --name box --cpus 2 --memory 4G --disk 20G --cloud-init …/user-data.yaml --timeout 1200",
        "exec box -- sudo cloud-init status --wait",
        "transfer …/release.tar.gz …/install.sh box:",
        install,
        "exec box -- sudo amda status",
        install,
        "exec box -- sudo ufw status",
        "restart box",
        "exec box -- sudo amda status",
    ]
    assert (host.folder / "machine").read_text().startswith("#cloud-config\n")
    assert "multipass delete --purge box" in done.stderr, "how to get rid of it"
    assert sorted(path.name for path in host.folder.glob("tmp.*")) == []


def test_the_machine_is_deleted_if_that_was_asked_for(host: Host) -> None:
    done = host.run("--archive", str(host.folder / "amda.tar.gz"), "--delete", "--no-reboot")
    assert done.returncode == 0, done.stderr
    assert "restart amda" not in host.calls
    assert host.calls[-1] == "delete --purge amda"


@pytest.mark.slow
def test_the_checkout_is_what_is_installed(host: Host) -> None:
    assert host.run().returncode == 0
    assert any(call.startswith("transfer") for call in host.calls)


@pytest.mark.parametrize(
    ("what", "status"),
    [
        ({"FAKE_NO_LAUNCH": "1"}, 42),
        ({"FAKE_FIRST_BOOT": "1"}, 43),
        ({"FAKE_NO_INSTALL": "1"}, 44),
        ({"FAKE_CHANGES": "1"}, 45),
        ({"FAKE_FIREWALL": "inactive"}, 45),
        ({"FAKE_INTERRUPT": "transfer"}, 130),
    ],
)
def test_a_failure_is_named_and_the_machine_stays_to_be_looked_at(
    host: Host, what: dict[str, str], status: int
) -> None:
    done = host.run("--archive", str(host.folder / "amda.tar.gz"), **what)
    assert done.returncode == status, done.stderr
    assert "multipass delete --purge amda" in done.stderr
    if status != 130:
        assert f"error E{status}: " in done.stderr
        assert "what to do: " in done.stderr
    assert not any(call.startswith("delete") for call in host.calls)


def test_warnings_of_the_first_boot_do_not_matter(host: Host) -> None:
    assert host.run("--archive", str(host.folder / "amda.tar.gz"), FAKE_FIRST_BOOT="2").returncode == 0


def test_a_machine_that_exists_is_not_touched(host: Host) -> None:
    (host.folder / "machine").touch()
    done = host.run("--archive", str(host.folder / "amda.tar.gz"))
    assert done.returncode == 41
    assert host.calls == ["info amda"]


def test_without_multipass_it_says_where_it_is_had(host: Host) -> None:
    (host.folder / "bin" / "multipass").unlink()
    done = host.run()
    assert done.returncode == 40
    assert "https://multipass.run" in done.stderr


@pytest.mark.parametrize("options", [("a b",), ("one", "two"), ("--cpus",), ("--cups", "2"), ("--archive", "/nowhere")])
def test_wrong_use_is_named(host: Host, options: tuple[str, ...]) -> None:
    done = host.run(*options)
    assert done.returncode == 2
    assert "provisioning/multipass --help" in done.stderr
    assert host.calls == []
