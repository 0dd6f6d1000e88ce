"""An appliance on a machine, with a WhatsApp of our own beside it: what the tests do with them, in one line each."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

from appliance.worker.sandbox import OOM_SCORE_ADJ
from tests.system.machine import Machine, eventually

STAGING: Final = "/var/lib/staging"
STAGING_COMMAND: Final = ("/opt/staging/.venv/bin/python", "-P", "-m", "appliance", "staging")
STAGING_UNIT: Final = f"""\
[Unit]
Description=WhatsApp for the test
Before=amda-sessions.service
[Service]
Environment=HOME={STAGING} PYTHONPATH=/opt/staging
ExecStart=/usr/bin/setpriv --reuid=OWNER --regid=OWNER --clear-groups {" ".join(STAGING_COMMAND)} run --folder {STAGING}
Restart=always
[Install]
WantedBy=multi-user.target
"""
"""OWNER is the number of the appliance's user, who must be able to read the folder: there may be no such user yet."""
PUBLISHED: Final = "http://127.0.0.1:8000"
"""What provisioning/release wrote into install.sh: see conftest.py."""
UNITS: Final = ("amda-redis.service", "amda-sessions.service", "amda.service")
ORDER_OF_DEATHS: Final = ("amda-minio.service", "amda.service", "amda-redis.service")
"""After the workers."""
FIRST_NUMBER: Final = 221_771_234_500
ONLINE_S: Final = 60.0
"""All are back within 30 s (design); twice that on a busy machine."""


class Server:
    def __init__(self, machine: Machine, published: Path) -> None:
        self.machine = machine
        target = machine.path("/srv/amda")
        target.mkdir(parents=True)
        for file in published.iterdir():
            shutil.copy(file, target)
        self.bundle = f"/srv/amda/{next(published.glob('*-offline-*.tar')).name}"
        self.phones: dict[str, str] = {}

    def install(self, *options: str, staging: bool = True) -> subprocess.CompletedProcess[str]:
        """install.sh as on a server without a network; with `staging`, for the WhatsApp of `start_whatsapp`."""
        command = ("sh", "/srv/amda/install.sh", "--offline", self.bundle, *options)
        return self.machine.run(*command, environment={"AMDA_NETWORK_STAGING": STAGING} if staging else {})

    def install_by_pipe(
        self, options: str | None = None, wheels: str = "", *, check: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Literally what a newcomer types; only the address is this machine's own, and pip is given a folder.

        `options`: instead of naming the bundle's MinIO; `wheels`: another folder for pip.
        """
        bundle = self.machine.path("/srv/bundle")
        if not bundle.exists():
            bundle.mkdir()
            self.machine.run("tar", "-C", "/srv/bundle", "-xf", self.bundle)
        serve = ("python3", "-m", "http.server", "--bind", "127.0.0.1", "--directory", "/srv/amda", "8000")
        self.machine.run("systemd-run", "--quiet", "--collect", "--unit=files", *serve)
        eventually("the files are served", lambda: self._fetch().returncode == 0, 10)
        if options is None:
            options = "--minio-binary /srv/bundle/minio" if (bundle / "minio").exists() else "--no-minio"
        piped = f"curl -fsSL {PUBLISHED}/install.sh | bash -s -- {options}"
        packages = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": f"/srv/bundle/wheels {wheels}"}
        environment = {"AMDA_NETWORK_STAGING": STAGING, **packages, **environment}
        done = self.machine.run("bash", "-o", "pipefail", "-c", piped, environment=environment, check=check)
        self.machine.run("systemctl", "stop", "files.service")
        return done

    def _fetch(self) -> subprocess.CompletedProcess[str]:
        return self.machine.run("curl", "-fsS", f"{PUBLISHED}/SHA256SUMS", check=False)

    def start_whatsapp(self, *, bare: bool = False) -> None:
        """The staging network, from a copy of the release that uninstalling does not touch.

        `bare`: nothing of the appliance stays beside it, no release, environment, user, folder or log. The user that is
        made later gets the same number, the first that is free.
        """
        release = self.install("stage").stdout.strip()
        self.machine.run("cp", "-a", release, "/opt/staging")
        owner = self.machine.run("id", "--user", "amda").stdout.strip()
        assert self.machine.run("id", "--group", "amda").stdout.strip() == owner
        if bare:
            self.machine.run("sh", "/opt/staging/install.sh", "uninstall", "--purge", "--yes")
        self.machine.run("mkdir", "--parents", STAGING)
        self.machine.run("chown", "--recursive", f"{owner}:{owner}", STAGING)
        unit = STAGING_UNIT.replace("OWNER", owner)
        self.machine.path("/etc/systemd/system/staging.service").write_text(unit)
        self.machine.run("systemctl", "daemon-reload")
        self.machine.run("systemctl", "enable", "--now", "staging.service")
        eventually("the staging network", lambda: self.staging("info", check=False), 30)

    def amda(self, *arguments: str, check: bool = True) -> Any:
        """The answer of a command as JSON; None if it failed."""
        done = self.machine.run("amda", *arguments, "--json", check=check)
        return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None

    def staging(self, *arguments: str, check: bool = True) -> Any:
        command = (*STAGING_COMMAND, *arguments, "--folder", STAGING, "--json")
        done = self.machine.run(*command, check=check, environment={"PYTHONPATH": "/opt/staging"})
        return json.loads(done.stdout) if done.returncode == 0 and done.stdout else done.returncode == 0

    def journal(self, kind: str) -> list[dict[str, Any]]:
        """What WhatsApp has noted of one kind, oldest first."""
        command = (*STAGING_COMMAND, "journal", "--last", "100000", "--kind", kind, "--folder", STAGING, "--json")
        said = self.machine.run(*command, environment={"PYTHONPATH": "/opt/staging"}).stdout
        return [json.loads(line) for line in said.splitlines()]

    def link(self, session: str) -> None:
        """One person's way: ask for a code, type it on the phone, be online."""
        phone = str(FIRST_NUMBER + len(self.phones) + 1)
        self.staging("add-account", phone, "--name", session)
        self.machine.run("amda", "session", "add", session)
        pairing = self.machine.start("amda", "pair", session, "--phone", f"+{phone}", "--json")
        assert pairing.stdout is not None
        code = next(view["code"] for line in pairing.stdout if (view := json.loads(line))["code"])
        self.staging("type-code", phone, code, "--now")
        out, err = pairing.communicate(timeout=ONLINE_S)
        assert pairing.returncode == 0, out + err
        self.phones[session] = phone

    def states(self) -> dict[str, str]:
        """Of each session, as the appliance sees it; empty while it does not answer."""
        answer = self.amda("session", "list", check=False) or []
        return {view["id"]: view["state"] for view in answer}

    def connections(self) -> dict[str, int | None]:
        """The number of each account's connection, as WhatsApp sees it; None: not connected."""
        found = self.staging("accounts")
        return {account["phone"]: account["devices"][0]["connection"] for account in found}

    def all_online(self) -> bool:
        """Both sides agree."""
        states = self.states()
        linked = set(states) == set(self.phones) and set(states.values()) == {"online"}
        return linked and None not in self.connections().values()

    def await_online(self, within_s: float = ONLINE_S) -> float:
        return eventually(f"all online ({self.states()})", self.all_online, within_s)

    def send_status(self, session: str) -> None:
        """A contact posts a picture, which the appliance is to keep."""
        self.staging("send", self.phones[session], "221779876543", "--kind", "image", "--where", "status")

    def media(self) -> int:
        status = self.amda("status", check=False)
        return 0 if status is None else int(status["media_count"])

    def main_pids(self) -> dict[str, str]:
        return {unit: self.machine.unit(unit, "MainPID") for unit in self.units()}

    def check_order_of_deaths(self, sessions: int) -> str:
        """Workers go first when memory runs out, then the object store, the daemon, Redis: so systemd was told, and so
        the kernel knows it as far as this host lets anybody be spared. Returns the scores, for people."""
        pids, lowest = self.main_pids(), self.machine.lowest_oom_score()
        told = {unit: int(self.machine.unit(unit, "OOMScoreAdjust")) for unit in pids}
        known = {unit: self._oom_score(pid) for unit, pid in pids.items()}
        assert known == {unit: max(score, lowest) for unit, score in told.items()}
        fork_server = pids["amda-sessions.service"]
        workers = self.machine.run("cat", f"/proc/{fork_server}/task/{fork_server}/children").stdout.split()
        assert len(workers) == sessions
        assert {self._oom_score(pid) for pid in workers} == {OOM_SCORE_ADJ}
        order = [OOM_SCORE_ADJ, *(told[unit] for unit in ORDER_OF_DEATHS if unit in told)]
        assert order == sorted(set(order), reverse=True)
        return f"workers {OOM_SCORE_ADJ}, {known}; none can be below {lowest} here"

    def _oom_score(self, pid: str) -> int:
        return int(self.machine.run("cat", f"/proc/{pid}/oom_score_adj").stdout)

    def units(self) -> tuple[str, ...]:
        minio = "amda-minio.service"
        there = self.machine.run("systemctl", "is-enabled", minio, check=False).returncode == 0
        return (*UNITS, minio) if there else UNITS
