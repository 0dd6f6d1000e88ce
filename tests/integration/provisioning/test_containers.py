"""What runs inside the containers: the parts of compose.yaml, started by entry.sh as their containers start them.

The containers themselves need a Docker daemon; their file is validated in tests/system.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from minio import Minio
from minio.error import S3Error

from appliance.minio_server import find_minio, free_port

ROOT = Path(__file__).resolve().parents[3]
ENTRY = ROOT / "provisioning" / "container" / "entry.sh"
COMPOSE = ROOT / "provisioning" / "container" / "compose.yaml"
READY_S = 60.0
STOP_S = 30.0
"""compose.yaml's stop_grace_period."""
PAUSE_S = 0.2


class Host:
    """Volumes as folders, a network that is loopback, and the parts that run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shared = folder / "shared"
        self.shared.mkdir(mode=0o700)
        self.port = free_port()
        self.compose = yaml.safe_load(COMPOSE.read_text())["services"]
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._setup_port = free_port()

    def environment(self, part: str) -> dict[str, str]:
        data = self.folder / part
        data.mkdir(mode=0o700, exist_ok=True)
        places = {"/shared": str(self.shared), "/data": str(data), "http://store:9000": f"http://127.0.0.1:{self.port}"}
        chosen = {}
        for name, value in self.compose[part].get("environment", {}).items():
            for inside, here in places.items():
                value = value.replace(inside, here)
            chosen[name] = value if "${" not in value else "8000000000"
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(data),
            "CONTAINER_RELEASE": str(ROOT),
            "CONTAINER_SHARED": str(self.shared),
            "CONTAINER_DATA": str(data),
            "CONTAINER_STORE": str(find_minio()),
            "CONTAINER_STORE_ADDRESS": f"127.0.0.1:{self.port}",
            "CONTAINER_SETUP_ADDRESS": f"127.0.0.1:{self._setup_port}",
            # Whatever happens, nobody of us reaches beyond this machine.
            "AMDA_NETWORK_PROXY": "http://127.0.0.1:1",
            **chosen,
        }

    def start(self, part: str) -> None:
        """As `docker compose up` does: after those that it depends on, until its health check succeeds."""
        for other in self.compose[part].get("depends_on", {}):
            assert self.health(other), f"{part} would wait for {other}"
        command = [str(ENTRY), *self.compose[part]["command"]]
        with (self.folder / f"{part}.log").open("ab") as log:
            self.running[part] = subprocess.Popen(
                command, env=self.environment(part), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + READY_S
        while not self.health(part):
            assert self.running[part].poll() is None, (self.folder / f"{part}.log").read_text()[-2000:]
            assert time.monotonic() < deadline, (
                f"{part} is not well: {(self.folder / f'{part}.log').read_text()[-2000:]}"
            )
            time.sleep(PAUSE_S)

    def health(self, part: str) -> bool:
        test = self.compose[part]["healthcheck"]["test"]
        assert test[:2] == ["CMD", "/opt/amda/current/provisioning/container/entry.sh"]
        command = [str(ENTRY), *test[2:]]
        return subprocess.run(command, env=self.environment(part), capture_output=True, check=False).returncode == 0

    def stop(self, part: str) -> int:
        process = self.running.pop(part)
        process.terminate()
        return process.wait(STOP_S)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    for process in made.running.values():
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        process.kill()


@pytest.mark.minio
def test_the_parts_find_each_other_and_make_each_secret_once(host: Host) -> None:
    for part in ("redis", "store", "appliance"):
        host.start(part)
    secrets = {path.name: path.read_text() for path in (host.shared / "secrets").iterdir()}
    assert set(secrets) == {"redis-password", "minio-root", "s3.toml"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (host.shared / "secrets").iterdir()} == {0o600}
    amda = [str(ROOT / ".venv" / "bin" / "amda"), "status", "--json"]
    said = subprocess.run(amda, env=host.environment("appliance"), capture_output=True, check=False)
    assert json.loads(said.stdout)["degraded"] == [], said
    root = Minio(
        endpoint=f"127.0.0.1:{host.port}", access_key="amda-root", secret_key=secrets["minio-root"], secure=False
    )
    with pytest.raises(S3Error):
        list(root.list_buckets())
    assert host.stop("appliance") == 0
    for part in ("store", "redis"):
        host.stop(part)
    for part in ("redis", "store", "appliance"):
        host.start(part)
    assert {path.name: path.read_text() for path in (host.shared / "secrets").iterdir()} == secrets


def test_what_the_image_is_built_of_is_there_and_nothing_else_is_sent() -> None:
    lines = (ROOT / "provisioning" / "container" / "Dockerfile").read_text().splitlines()
    copied = [source for line in lines if line.startswith("COPY ") for source in line.split()[1:-1]]
    assert {"appliance", "install.sh"} <= set(copied)
    for source in copied:
        assert (ROOT / source).exists(), source
    ignored = {line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")}
    assert not ignored & set(copied)
    assert {".git", ".venv", "demo"} <= ignored, "they hold half a gigabyte, and the demo's logins"


def test_an_unknown_part_is_told_what_there_is() -> None:
    done = subprocess.run([str(ENTRY), "everything"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "entry.sh appliance" in done.stderr
