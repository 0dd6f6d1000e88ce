"""A bare Debian with real systemd, in a container of its own without a network: what install.sh is tried on.

The root is made once by debootstrap from the mirror that this machine's apt is set to, and kept in the cache, as are
copies of it with more packages; each machine works on a layer of its own above it. Needs root, systemd-nspawn and
debootstrap.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = ("systemd", "systemd-sysv", "dbus", "libpam-systemd", "ca-certificates", "curl", "python3")
"""What Debian's images for servers have; everything else is the installer's affair."""
DEFAULT_MIRROR: Final = "http://deb.debian.org/debian"
BOOT_S: Final = 60.0
"""Measured: one to three seconds."""
HALT_S: Final = 60.0
"""Sessions say goodbye within 15 s at the very most."""
COMMAND_S: Final = 300.0
PAUSE_S: Final = 0.2
"""Between two looks at something inside a machine that tells nobody when it changes."""


class MachineError(Exception):
    """The test bed itself does not work; one line with the remedy."""


def cache_folder() -> Path:
    """Outside the checkout, for all runs: `XDG_CACHE_HOME`, otherwise ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    folder = (Path(base) if base.startswith("/") else Path.home() / ".cache") / "amda-test"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def check_host() -> None:
    """Raises MachineError that names what is missing."""
    if os.geteuid() != 0:
        raise MachineError("the system tests boot containers: run them as root (sudo ./run-tests system)")
    for program, package in (("systemd-nspawn", "systemd-container"), ("debootstrap", "debootstrap")):
        if shutil.which(program) is None:
            raise MachineError(f"there is no {program}: apt-get install {package}")


def mirror() -> str:
    """The Debian mirror that apt on this machine is set to."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(CREATED_BY)|$(ORIGIN)|$(COMPONENT)|$(REPO_URI)"],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    uris = [line.rsplit("|", 1)[1] for line in listed.splitlines() if line.startswith("Packages|Debian|main|")]
    if not uris:
        sources = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
        text = "\n".join(path.read_text() for path in sources if path.is_file())
        uris = re.findall(r"https?://\S+", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    plain = [uri.rstrip("/") for uri in uris if uri.rstrip("/").endswith("/debian")]
    return plain[0] if plain else DEFAULT_MIRROR


def bare_root(suite: str, more: Sequence[str] = ()) -> Path:
    """The unpacked root of a Debian suite with `more` packages, from the cache or made now (a minute or two)."""
    packages = (*PACKAGES, *more)
    key = hashlib.sha256(" ".join(packages).encode()).hexdigest()[:12]
    folder = cache_folder() / f"root-{suite}-{key}"
    if folder.is_dir():
        return folder
    partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        if more:
            subprocess.run(["cp", "--archive", f"{bare_root(suite)}/.", str(partial)], check=True)
            _add_packages(partial, more)
        else:
            _unpack(suite, partial)
        with contextlib.suppress(OSError):  # another run was faster
            partial.rename(folder)
    finally:
        if partial.exists():
            shutil.rmtree(partial)
    return folder


def _unpack(suite: str, root: Path) -> None:
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", suite, str(root), mirror()]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise MachineError(f"debootstrap cannot make {suite}: {made.stdout.strip().splitlines()[-1:]}")
    root.chmod(0o755)
    (root / "etc" / "machine-id").write_text("")


def _add_packages(root: Path, packages: Sequence[str]) -> None:
    """By its own apt, on this machine's network; nothing is started."""
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        done = run_in(root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", *command)
        if done.returncode != 0:
            raise MachineError(f"{packages} cannot be installed in {root}: {done.stdout[-500:]}")


def run_in(root: Path, *command: str, bind: Path | None = None) -> subprocess.CompletedProcess[str]:
    """One program of a root that is not booted; `bind` is a folder that it can read at the same path."""
    nspawn = ["systemd-nspawn", "--quiet", "--directory", str(root), "--register=no", "--keep-unit", "--pipe"]
    if bind is not None:
        nspawn += ["--volatile=overlay", f"--bind-ro={bind}"]
    return subprocess.run(
        [*nspawn, *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False, timeout=COMMAND_S, env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
    )  # fmt: skip


class Machine:
    """One container; a context manager that leaves nothing behind. Its files are a layer above the bare root."""

    def __init__(self, suite: str, folder: Path, more: Sequence[str] = ()) -> None:
        self.suite = suite
        self._folder = folder
        self._layer = folder / "layer"
        self.bare = bare_root(suite, more)
        self.root = folder / "root"
        self._mounted = False
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def __enter__(self) -> Machine:
        for path in (self._layer, self.root, self._folder / "work"):
            path.mkdir(parents=True)
        options = f"lowerdir={self.bare},upperdir={self._layer},workdir={self._folder / 'work'}"
        mounted = subprocess.run(["mount", "-t", "overlay", "amda-test", "-o", options, str(self.root)], check=False)
        self._mounted = mounted.returncode == 0
        if not self._mounted:  # not every file system can be a layer
            subprocess.run(["cp", "--archive", f"{self.bare}/.", str(self.root)], check=True)
        try:
            self.boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.cut_power()
        if self._mounted:
            subprocess.run(["umount", "--recursive", str(self.root)], check=True)
            self._mounted = False
        shutil.rmtree(self._folder)

    def boot(self) -> None:
        """Until its systemd says that it is up. Raises MachineError."""
        address = str(self._folder / "notify")
        Path(address).unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, (self._folder / "console").open("ab") as log:
            notify.bind(address)
            notify.settimeout(BOOT_S)
            self._process = subprocess.Popen(
                ["systemd-nspawn", "--quiet", "--directory", str(self.root), "--boot", "--register=no", "--keep-unit",
                 "--console=read-only", "--private-network", "--notify-ready=yes", "--hostname=server"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                # Debian 13's systemd knows only this layout, whatever the host has.
                env={**os.environ, "NOTIFY_SOCKET": address, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            )  # fmt: skip
            try:
                self._await_ready(notify)
            except TimeoutError:
                raise MachineError(f"{self.suite} did not boot within {BOOT_S:.0f} s: {self.console()}") from None

    def _await_ready(self, notify: socket.socket) -> None:
        deadline = time.monotonic() + BOOT_S
        while time.monotonic() < deadline:
            lines = notify.recv(4096).decode().splitlines()
            for line in lines:
                if line.startswith("X_NSPAWN_LEADER_PID="):
                    self._leader = int(line.partition("=")[2])
            if "READY=1" in lines:
                return
        raise TimeoutError

    def console(self) -> str:
        """The end of what the machine has printed while it booted."""
        return (self._folder / "console").read_text("utf-8", "replace")[-2000:]

    def cut_power(self) -> None:
        """Everything in it ends at once, and nobody is told."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if self._leader:
                os.kill(self._leader, signal.SIGKILL)  # the kernel kills the rest of its process namespace
            else:
                self._process.kill()
        self._process.wait(HALT_S)
        self._process, self._leader = None, 0

    def reboot(self) -> None:
        """In order: services are stopped; then it boots again."""
        assert self._process is not None
        self.run("systemctl", "reboot", check=False)
        self._process.wait(HALT_S)
        self._process, self._leader = None, 0
        self.boot()

    def start(
        self, *command: str, environment: dict[str, str] | None = None, stdin: int = subprocess.DEVNULL
    ) -> subprocess.Popen[str]:
        """A command inside, as root, with none of our variables."""
        entered = ["nsenter", "--target", str(self._leader), "--mount", "--uts", "--ipc", "--net", "--pid",
                   "--root", "--wd", "--"]  # fmt: skip
        return subprocess.Popen(
            [*entered, *command], stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root",
                 "LANG": "C.UTF-8", **(environment or {})},
        )  # fmt: skip

    def run(
        self,
        *command: str,
        check: bool = True,
        timeout_s: float = COMMAND_S,
        environment: dict[str, str] | None = None,
        stdin: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run it to the end. Raises AssertionError with its words unless it succeeds or `check` is off."""
        process = self.start(
            *command, environment=environment, stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE
        )
        try:
            out, err = process.communicate(stdin, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        assert not check or process.returncode == 0, f"{command} ended with {process.returncode}:\n{out}\n{err}"
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def path(self, inside: str) -> Path:
        """A path of the machine, seen from here."""
        return self.root / inside.lstrip("/")

    def added(self) -> set[str]:
        """Everything that is there and was not in the bare root."""
        there = {str(path.relative_to(self.root)) for path in self.root.rglob("*")}
        return {name for name in there if not os.path.lexists(self.bare / name)}

    def lowest_oom_score(self) -> int:
        """That its systemd can give a unit: -1000 as on a server; what everything here has where this host itself may
        not lower it (CAP_SYS_RESOURCE)."""
        asked = ("systemd-run", "--quiet", "--pipe", "--wait", "--property=OOMScoreAdjust=-1000")
        return int(self.run(*asked, "cat", "/proc/self/oom_score_adj").stdout)

    def unit(self, name: str, what: str) -> str:
        """One property of a unit."""
        return self.run("systemctl", "show", "--value", f"--property={what}", name).stdout.strip()


def eventually(what: str, check: Callable[[], object], within_s: float) -> float:
    """Look until it is so; the seconds that it took. Raises AssertionError with the last answer."""
    started = time.monotonic()
    while not (seen := check()):
        assert time.monotonic() - started < within_s, f"{what}: not within {within_s:.0f} s (last seen: {seen!r})"
        time.sleep(PAUSE_S)
    return time.monotonic() - started


@contextlib.contextmanager
def step(name: str) -> Iterator[None]:
    """Print what a part of a long test took; pytest shows it at once with -s, and always in its summary."""
    started = time.monotonic()
    sys.stderr.write(f"    {name} … ")
    sys.stderr.flush()
    try:
        yield
    finally:
        sys.stderr.write(f"{time.monotonic() - started:.1f} s\n")


def build_release(out: Path, options: Sequence[str] = ()) -> None:
    """provisioning/release, as a maintainer runs it; wheels are kept in the cache."""
    command = [str(ROOT / "provisioning" / "release"), "--out", str(out), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
